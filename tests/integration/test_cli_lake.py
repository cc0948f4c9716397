"""`headrace lake` on a bucket, at a real endpoint."""

import io
import json

import pyarrow.parquet
import pytest
from arro3.core import Array, DataType, RecordBatch, Table
from arro3.io import write_parquet

from headrace.checkpoint import OutboxEntry
from headrace.objects import open_lake
from headrace_cli.local.aws_server import LocalAws
from headrace_cli.main import run


@pytest.fixture(scope="module")
def aws():
    with LocalAws() as server:
        yield server


@pytest.fixture
def location(aws, monkeypatch):
    """A lake below a prefix, with one published file and one that is still staged."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    location = f"s3://{aws.bucket}/team"
    buffer = io.BytesIO()
    users = RecordBatch.from_arrays([Array(["a", "b"], DataType.string())], names=["user_id"])
    write_parquet(Table.from_batches([users]), buffer)
    lake = open_lake(location)
    lake.stage({"staging/u/0": buffer.getvalue(), "staging/u/1": buffer.getvalue()})
    published = "lake/landing/clicks.v-1/date=2024-03-13/hour=10/1-clicks.v-1-0-1-0.parquet"
    lake.publish([OutboxEntry("staging/u/0", published)])
    return location


def test_tables_show_and_copy(location, tmp_path, capsys):
    assert run(["lake", "tables", location, "--json"]) == 0
    (listed,) = capsys.readouterr().out.splitlines()
    assert json.loads(listed).items() >= {"table": "landing/clicks.v-1", "files": 1, "rows": 2}.items()
    assert run(["lake", "show", location, "clicks.v-1", "--limit", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"user_id": "a"}
    out = tmp_path / "out.parquet"
    assert run(["lake", "copy", location, "clicks.v-1", "--out", str(out)]) == 0
    assert pyarrow.parquet.read_table(out).to_pydict() == {"user_id": ["a", "b"]}


@pytest.mark.usefixtures("location")
def test_a_bucket_that_does_not_exist_is_one_line(capsys):
    assert run(["lake", "tables", "s3://no-such-bucket-of-ours"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no-such-bucket-of-ours" in line
