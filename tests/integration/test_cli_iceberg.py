"""`headrace lake iceberg` over a folder: commit, compact, expire, and what a person is told."""

import builtins
import json

import pytest
from iceberg_world import HOUR_MS, T0, World, click, once

from headrace_cli.main import run


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.land([click(n, T0 + (n % 2) * HOUR_MS) for n in range(4)])
    world.land([click(4)])
    return world


def headrace(capsys, *arguments):
    status = run(["lake", "iceberg", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_commit_compact_expire(world, capsys):
    status, out, _ = headrace(capsys, "commit", world.root, "--json")
    assert (status, json.loads(out)) == (
        0,
        {"table": "clicks_g1", "files": 3, "rows": 5, "snapshots": 1, "buckets": 2},
    )
    status, out, _ = headrace(capsys, "compact", world.root, "--json")
    assert (status, json.loads(out)["files_before"], json.loads(out)["files_after"]) == (0, 3, 2)
    status, out, _ = headrace(capsys, "expire", world.root, "--keep-hours", 0, "--json")
    assert (status, json.loads(out)["table"], json.loads(out)["snapshots"]) == (0, "clicks_g1", 1)
    assert world.offsets() == once(click(n) for n in range(5))


def test_what_is_missing_is_said_and_can_be_accepted(world, capsys):
    world.objects.delete([next(iter(world.objects.keys("lake/landing")))])
    status, _, err = headrace(capsys, "commit", world.root)
    assert status == 1
    assert "BooksDisagree" in err
    assert "--accept-missing" in err
    assert headrace(capsys, "commit", world.root, "--accept-missing")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("commit", "/nowhere/at/all"), "no such folder"),
        (("compact", "s3://some-lake"), "--catalog glue:DATABASE"),
        (("expire", "."), "no tables yet"),
    ],
)
def test_what_cannot_be_is_said(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in (("AWS_ACCESS_KEY_ID", "none"), ("AWS_SECRET_ACCESS_KEY", "none")):
        monkeypatch.setenv(name, value)
    assert said in headrace(capsys, *arguments)[2]


def test_without_the_extra_it_is_named(world, capsys, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("headrace_iceberg"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    status, _, err = headrace(capsys, "commit", world.root)
    assert status == 1
    assert "headrace-cli[iceberg]" in err
