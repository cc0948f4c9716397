"""Small runs of the benchmark's contests: both sides write the same rows, or nothing is measured."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace_cli.local.deployment import build_for_runtime

RUN = Path(__file__).resolve().parents[2] / "benchmark" / "run.py"


@pytest.fixture
def contest(monkeypatch):
    monkeypatch.syspath_prepend(RUN.parent)
    return importlib.import_module("contest")


def run(*arguments, env=None):
    command = [sys.executable, RUN, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)


def test_parts_are_chosen_by_a_word_of_their_name():
    listed = run("--list", "--only", "q11", "--only", "1,000 sessions").stdout.splitlines()
    assert listed == ["nexmark q11, 1 partition, against q11 by orjson+dicts", "state, 1,000 sessions open"]


def test_a_word_that_is_in_no_name_is_refused():
    refused = run("--only", "nothing")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--only nothing: no part is called so" in refused.stderr


def test_without_java_the_other_parts_are_measured_and_the_status_says_that_one_was_not(tmp_path):
    done = run("--quick", "--only", "quix", "--only", "1,000 sessions", env=os.environ | {"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "NOT MEASURED page_minutes from Kafka, 1 partition, against quix: " in done.stderr
    assert len(done.stdout.splitlines()) == 6


@pytest.mark.parametrize(
    ("function", "counterpart", "input_name", "warm_up", "tables"),
    [
        ("clickstream", "orjson+dicts", "clicks", 6, {"page_minutes", "sessions"}),
        ("logs", "json+re", "logs", 2, {"severity_minutes", "service_minutes"}),
        ("landing", "json+pyarrow", "clicks", 0, {"clicks"}),
        ("landing of orders", "orjson+pyarrow", "orders", 0, {"orders"}),
        ("landing of orders (Avro)", "fastavro+pyarrow of orders", "avro orders", 0, {"orders"}),
    ],
)
def test_both_sides_write_the_same_rows(contest, function, counterpart, input_name, warm_up, tables):
    """Else there is no measurement. Sessions close after six batches, minutes after two."""
    measured = contest.Contest(function, counterpart, input_name, 1, warm_up=warm_up).measure(1)
    assert set(measured.details["rows_equal"]) == tables
    assert measured.ours_value > 0


@pytest.mark.runtime
@pytest.mark.usefixtures("contest")
def test_the_same_rows_come_out_of_the_real_runtime_of_bytes_and_of_dicts():
    """And bytes cost less: the runtime's parser has nothing to do."""
    build_for_runtime(lambda _line: None)
    runtime = importlib.import_module("runtime_contest").RuntimeContest
    measured = runtime("landing", "json+pyarrow", "clicks", 1, warm_up=1).measure(2)
    assert measured.details["rows_equal"] == {"clicks": 30_000}
    assert measured.ours_value > measured.details["parsed_value"] > 0


@pytest.mark.usefixtures("contest")
def test_where_the_time_goes_is_told_of_small_and_large_records():
    lines = list(importlib.import_module("phases").measurements(1))
    assert [line.details["records"] for line in lines] == [10_000, 3_000, 10_000, 3_000]
    assert all("write Parquet" in line.details["phases"] for line in lines)


def test_other_rows_are_no_measurement(contest):
    with pytest.raises(SystemExit, match="wrote other rows"):
        contest.Contest("landing", "orjson+dicts", "clicks", 1, warm_up=1).measure(1)


def test_the_cost_of_a_commit_is_told_apart_warm_cold_and_worst():
    done = run("--quick", "--only", "state, 1,000 sessions")
    lines = list(map(json.loads, done.stdout.splitlines()))
    names = [line["name"].removeprefix("state, 1,000 sessions open, ") for line in lines]
    assert names == ["warm batch", "mean batch", "worst batch", "cold batch", "cold load", "written by a commit"]
    written = lines[-1]
    assert written["ours_value"] > 50_000, "1,000 sessions of some 75 bytes are touched by every batch"
    assert written["worst"] >= written["mean"]
