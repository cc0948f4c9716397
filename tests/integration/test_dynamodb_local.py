"""The launcher of DynamoDB Local: on loopback only, nothing left behind, and why it did not start."""

import socket
from pathlib import Path

import pytest
from java_tools import require_java_tools

from headrace_cli import loopback
from headrace_cli.errors import CommandError
from headrace_cli.local.dynamodb_local import DynamoDBLocal


@pytest.fixture(autouse=True)
def _tools():
    require_java_tools()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where its temporary files are."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def other_address():
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        return probe.getsockname()[0]


def test_it_listens_on_loopback_and_leaves_neither_a_process_nor_a_file(scratch):
    with DynamoDBLocal("positions") as server:
        pid = server.pid
        assert server.client("dynamodb").list_tables()["TableNames"] == ["positions"]
        assert list(scratch.iterdir())
        if address := other_address():
            port = int(server.endpoint.rpartition(":")[2])
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((address, port), timeout=5)
    assert not Path(f"/proc/{pid}").exists()
    assert list(scratch.iterdir()) == []
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.endpoint


def test_its_telemetry_is_off():
    with DynamoDBLocal() as server:
        environment = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
        assert b"DDB_LOCAL_TELEMETRY=0" in environment


def test_a_start_that_fails_says_why_and_leaves_nothing(scratch, monkeypatch):
    with socket.create_server((loopback.HOST, 0)) as taken:
        monkeypatch.setattr(loopback, "free_ports", lambda _: [taken.getsockname()[1]])
        taken.listen()
        # Whoever listens there accepts, and says nothing: our server's process must be noticed to have ended.
        monkeypatch.setattr("headrace_cli.local.dynamodb_local.READY_TIMEOUT_S", 5)
        with pytest.raises(CommandError, match=r"DynamoDB Local ended: .*"):
            DynamoDBLocal().__enter__()
    assert list(scratch.iterdir()) == []


def test_a_missing_java_is_one_line_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=r"^java is not on this machine: install"):
        DynamoDBLocal().__enter__()


def test_each_has_its_own_data():
    with DynamoDBLocal() as one, DynamoDBLocal() as other:
        assert one.endpoint != other.endpoint
        key = {"pk": {"S": "a"}, "partition": {"N": "0"}}
        one.client("dynamodb").put_item(TableName=one.table, Item=key)
        assert other.client("dynamodb").get_item(TableName=other.table, Key=key).get("Item") is None
