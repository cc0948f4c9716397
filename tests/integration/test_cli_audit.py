"""`headrace audit` where deployments are: a bucket, a table, a broker, and what `headrace demo --out` leaves."""

import io
import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from samples import NOON_MS, hit, lambda_event, record, topology

from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.folder import FolderCheckpointStore
from headrace.lake import read_final_key
from headrace.objects import open_lake
from headrace.operators import Land
from headrace.pipeline import Pipeline
from headrace_cli.local.aws_server import LocalAws
from headrace_cli.main import run
from kafka_esm import EmbeddedBroker

HEADRACE = [sys.executable, "-c", "from headrace_cli.main import main; main()"]


def audited(capsys, *arguments):
    """Exit status and the JSON object."""
    status = run(["audit", *map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def named(found, table):
    """The offsets that the findings name for a table."""
    pairs = [pair for finding in found["findings"] if finding["table"] == table for pair in finding["offsets"]]
    return {offset for first, end in pairs for offset in range(first, end)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What a small real run leaves."""
    folder = tmp_path_factory.mktemp("demo") / "shop"
    command = [*HEADRACE, "demo", "--records", "4000", "--seed", "5", "--out", str(folder), "--json"]
    subprocess.run(command, capture_output=True, timeout=300, check=True)
    return folder


@pytest.fixture(scope="module")
def aws():
    with LocalAws() as server:
        yield server


class TestDemo:
    def test_balances(self, demo, capsys):
        status, found = audited(capsys, demo)
        assert (status, found["balanced"], found["findings"]) == (0, True, [])
        assert found["files_read"] == len(list(demo.glob("lake/**/*.parquet")))
        assert {each["pipeline"] for each in found["partitions"]} == {"clickstream", "logs", "landing"}

    def test_an_object_of_any_table_that_is_deleted_is_missed_with_its_offsets(self, demo, capsys):
        tables = {}
        for path in sorted(demo.glob("lake/**/*.parquet")):
            name = read_final_key(str(path.relative_to(demo)))
            tables.setdefault((name.pipeline, name.table), (path, name))
        assert len(tables) >= 11
        for path, name in tables.values():
            content = path.read_bytes()
            path.unlink()
            status, found = audited(capsys, demo)
            path.write_bytes(content)
            assert (status, found["balanced"], len(found["findings"])) == (1, False, 1)
            (finding,) = found["findings"]
            where = (finding["kind"], finding["place"]["pipeline"], finding["table"])
            assert where == ("missing", name.pipeline, name.table)
            assert finding["versions"][0] <= name.version <= finding["versions"][1]
            rows = pq.read_table(io.BytesIO(content))
            assert finding["rows"] == rows.num_rows
            if "_offset" in rows.column_names:
                true_offsets = set(rows.column("_offset").to_pylist())
                assert true_offsets <= named(found, name.table)
                # Lines that were held are rows of later commits: which offsets a commit's own are, nobody can tell.
                if name.pipeline == "landing" and name.topic != "logs":
                    assert (finding["exact"], named(found, name.table)) == (True, true_offsets)
        assert audited(capsys, demo)[0] == 0


class TestAws:
    def test_a_bucket_and_a_table(self, aws, monkeypatch, capsys):
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        location, lake = f"s3://{aws.bucket}/team", open_lake(f"s3://{aws.bucket}/team")
        checkpoints = DynamoDBCheckpointStore(aws.table)
        arguments = (location, "--checkpoints", f"dynamodb:{aws.table}")
        for application in ("headrace", "headrace-2"):
            for records in ([hit(0, NOON_MS), record(1, b"x")], [hit(2, NOON_MS), hit(3, NOON_MS + 3_600_000)]):
                if application == "headrace":
                    pipeline(lake, checkpoints).handle(lambda_event(records))
                else:
                    # Another application of the same table has a lake of its own.
                    other = open_lake(f"s3://{aws.bucket}/other")
                    pipeline(other, checkpoints, application=application).handle(lambda_event(records))
        assert audited(capsys, *arguments)[0] == 0
        other = (f"s3://{aws.bucket}/other", *arguments[1:])
        assert audited(capsys, *other, "--application", "headrace-2")[0] == 0
        (key,) = [key for key in lake.keys("lake") if key.endswith("/hour=13/1-hits-0-2-1.parquet")]
        lake.stage({key: b""})
        status, found = audited(capsys, *arguments)
        assert (status, [finding["kind"] for finding in found["findings"]]) == (1, ["damaged", "missing"])
        lake.delete([key])
        status, found = audited(capsys, *arguments)
        assert status == 1
        assert (named(found, "hits"), found["findings"][0]["exact"]) == ({3}, True)

    def test_a_table_that_is_not_there_is_one_line(self, aws, monkeypatch, capsys):
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        assert run(["audit", f"s3://{aws.bucket}", "--checkpoints", "dynamodb:no-such-table"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "no-such-table" in line


def pipeline(lake, checkpoints, **settings):
    made = topology(Land())
    return Pipeline("landing", lambda _topic: made, checkpoints, lake, **settings)


class TestKafka:
    @pytest.fixture
    def broker(self):
        with EmbeddedBroker() as broker:
            yield broker

    @pytest.fixture
    def folder(self, tmp_path, broker):
        """Ten records of which eight were applied."""
        self.produce(broker, 10)
        (tmp_path / "checkpoints").mkdir()
        applied = pipeline(open_lake(f"file:{tmp_path}"), FolderCheckpointStore(tmp_path / "checkpoints"))
        applied.handle(lambda_event([hit(n, NOON_MS + n) for n in range(8)]))
        return tmp_path

    @staticmethod
    def produce(broker, count, partition=0):
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        for _ in range(count):
            producer.produce("hits", b"{}", partition=partition)
        assert producer.flush(10) == 0

    def test_what_is_left_to_read_is_no_difference(self, broker, folder, capsys):
        status, found = audited(capsys, folder, "--kafka", broker.bootstrap_servers)
        assert status == 0
        assert [each["log"] for each in found["partitions"]] == [{"low": 0, "high": 10, "behind": 2}]
        assert found["notes"] == []

    def test_a_partition_that_was_never_read_is_noted(self, broker, folder, capsys):
        self.produce(broker, 3, partition=2)
        status, found = audited(capsys, folder, "--kafka", broker.bootstrap_servers)
        assert status == 0
        assert found["notes"] == ["landing, generation 1, hits-2: nothing applied yet, 3 offsets are left to read"]

    def test_a_person_sees_how_far_behind(self, broker, folder, capsys):
        assert run(["audit", str(folder), "--kafka", broker.bootstrap_servers]) == 0
        assert "behind" in capsys.readouterr().out

    def test_a_shorter_log_is_another_one(self, folder, capsys):
        with EmbeddedBroker() as another:
            self.produce(another, 3)
            status, found = audited(capsys, folder, "--kafka", another.bootstrap_servers)
        assert status == 1
        assert "deleted and made again" in found["findings"][0]["what"]

    def test_a_partition_that_the_cluster_does_not_have_is_a_difference(self, broker, folder, capsys):
        gone = pipeline(open_lake(f"file:{folder}"), FolderCheckpointStore(folder / "checkpoints"))
        gone.handle(lambda_event([hit(0, NOON_MS, partition=77)]))
        status, found = audited(capsys, folder, "--kafka", broker.bootstrap_servers)
        assert status == 1
        assert [finding["place"]["partition"] for finding in found["findings"]] == [77]
        assert "has no partition hits-77" in found["findings"][0]["what"]
