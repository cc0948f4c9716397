"""Subscription messages of CloudWatch Logs: events out of an archive, all counted, none without bound."""

import gzip
import io
import json
import re
import tracemalloc
import zlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from samples import NOON_MS, lambda_event, record

from headrace import schema
from headrace.aggregates import Count
from headrace.checkpoint import MemoryCheckpointStore
from headrace.codec import LogCodec
from headrace.errors import PoisonError
from headrace.land_logs import LandLogs
from headrace.log_formats import cloudwatch
from headrace.logs import Lines
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.topology import Topology
from headrace.windowed import Windowed
from headrace.windows import TumblingWindows

CODEC = LogCodec(schema.load(Path(__file__).resolve().parents[3] / "functions" / "schemas" / "log_event.avsc"))
MINUTES = Windowed(
    table="minutes", window=TumblingWindows(60_000), key=("service",), aggregates={"events": Count()}, complete=True
)


def message(*lines, kind="DATA_MESSAGE", group="/aws/lambda/checkout", timestamp_ms=NOON_MS):
    events = [{"id": str(n), "timestamp": timestamp_ms + n, "message": line} for n, line in enumerate(lines)]
    envelope = {"messageType": kind, "owner": "1", "logGroup": group, "logStream": "s", "subscriptionFilters": ["f"]}
    return json.dumps(envelope | {"logEvents": events}).encode()


def archive(*lines, **more):
    return gzip.compress(message(*lines, **more))


def read(value):
    return Lines().read(value, NOON_MS)


def test_the_documented_example_has_its_documented_values(shared_data):
    path = shared_data / "logs" / "vrl" / "parse_aws_cloudwatch_log_subscription_message.json"
    (example,) = json.loads(path.read_text())["examples"]
    documented = example["return"]
    (event,) = read(re.search(r"s'(.*)'", example["source"], re.DOTALL)[1].encode()).events
    attributes = json.loads(event.attributes)
    envelope = attributes.pop("cloudwatch")
    assert documented.pop("message_type") == "DATA_MESSAGE"
    (line,) = documented.pop("log_events")
    written_ms = envelope.pop("timestamp")
    assert datetime.fromtimestamp(written_ms / 1000, UTC) == datetime.fromisoformat(line["timestamp"])
    assert envelope == {"id": line["id"], **documented}
    assert (event.service, event.host) == (documented["log_group"], "157.130.216.193")
    inner = json.loads(line["message"])
    assert (event.status, event.bytes, event.method) == (inner["status"], inner["bytes"], inner["method"])


def test_a_line_counts_before_its_envelope():
    own, none = json.dumps({"time": NOON_MS - 5, "service": "pay", "host": "h", "a": 1}), "INFO hello"
    first, second = read(archive(own, none)).events
    assert (first.timestamp, first.service, first.host, first.format) == (NOON_MS - 5, "pay", "h", "json")
    assert (second.timestamp, second.service, second.host) == (NOON_MS + 1, "checkout", "s")
    envelope = {"owner": "1", "log_group": "/aws/lambda/checkout", "log_stream": "s", "subscription_filters": ["f"]}
    assert json.loads(first.attributes) == {"a": 1, "cloudwatch": {"id": "0", "timestamp": NOON_MS, **envelope}}


def test_a_line_that_says_cloudwatch_itself_keeps_it():
    (event,) = read(archive('{"cloudwatch": 1}')).events
    attributes = json.loads(event.attributes, object_pairs_hook=list)
    assert dict(attributes)["line"] == [("cloudwatch", 1)]
    assert [name for name, _ in attributes] == ["cloudwatch", "line"]


def test_lines_that_continue_others_are_their_stack_traces():
    batch = read(archive("\tat a.B", '{"message":"x"}', "\tat c.D", "\tat e.F", '{"message":"y"}'))
    assert batch.continued == "\tat a.B"
    assert [(event.message, event.stack_trace) for event in batch.events] == [("x", "\tat c.D\n\tat e.F"), ("y", None)]


def test_lines_that_cannot_be_read_do_not_take_the_others_with_them():
    empty, long, fine = read(archive("", "x" * (1 << 20) + "y", "a=1 b=2")).events
    assert (empty.unparsed, empty.is_unparsed, empty.timestamp) == ("empty: nothing but white space", 1, NOON_MS)
    assert long.unparsed.startswith("too_long: ")
    assert (fine.format, fine.is_unparsed) == ("logfmt", 0)


def test_a_control_message_says_nothing():
    assert read(archive("CWL CONTROL MESSAGE: Checking health", kind="CONTROL_MESSAGE")) == (None, [])


def bomb(size):
    """So many zeros, as the message of an event."""
    return gzip.compress(message("0" * size), compresslevel=9)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x1f\x8b", "damaged_gzip"),
        (archive("x")[:-1], "damaged_gzip"),
        (archive("x") + b"rest", "damaged_gzip"),
        (archive("x")[:20] + bytes(20), "damaged_gzip"),
        (gzip.compress(b"a line"), "no_subscription"),
        (gzip.compress(b"{}"), "no_subscription"),
        (gzip.compress(b'{"a":' * 100_000), "no_subscription"),
        (archive("x", kind="OTHER"), "no_subscription"),
        (gzip.compress(b'{"messageType":"DATA_MESSAGE","logEvents":[{"timestamp":"x"}]}'), "no_subscription"),
        (bomb(16 << 20), "too_large"),
        (bomb(8 << 20) + bomb(9 << 20), "too_large"),
    ],
)
def test_what_is_no_message_is_a_dead_letter(value, reason):
    with pytest.raises(PoisonError) as caught:
        read(value)
    assert caught.value.reason == reason


def test_events_and_their_hours_are_bounded(monkeypatch):
    monkeypatch.setattr(cloudwatch, "MAX_EVENTS", 3)
    monkeypatch.setattr(cloudwatch, "MAX_HOURS", 2)
    hours = [json.dumps({"time": NOON_MS + hour * 3_600_000}) for hour in range(3)]
    assert len(read(archive(*hours[:2], hours[0])).events) == 3
    with pytest.raises(PoisonError, match="too_many_hours"):
        read(archive(*hours))
    with pytest.raises(PoisonError, match="too_many_events"):
        read(archive(*hours[:1] * 4))


def test_a_bomb_is_not_unpacked_beyond_the_bound():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    value = b"".join(packer.compress(zeros) for _ in range(1024)) + packer.flush()  # a GiB in a MB
    tracemalloc.start()
    with pytest.raises(PoisonError, match="too_large"):
        cloudwatch.unpacked(value)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_the_books_balance_over_records_with_several_events_one_or_none():
    """Every record is counted once, every event of its own has a window, and nothing is a gap."""
    values = [
        archive('{"message":"a"}', '{"message":"b"}', "\tat x"),
        archive("CWL", kind="CONTROL_MESSAGE"),
        b"\tat y",
        b'{"message":"c","service":"checkout"}',
        b"\x1f\x8b broken",
        archive(json.dumps({"message": "from the future", "time": NOON_MS + 10**9}), '{"message":"d"}'),
        archive(*[f'{{"message":"{n}"}}' for n in range(50)]),
    ]
    log = [record(n, value, topic="logs", timestamp_ms=NOON_MS + 1000) for n, value in enumerate(values)]
    checkpoints, outbox = MemoryCheckpointStore(), MemoryOutbox()
    topology = Topology(CODEC, (MINUTES,), "timestamp", out_of_orderness_ms=1000)
    pipeline = Pipeline("logs", lambda _topic: topology, checkpoints, outbox, gaps="forbid")
    for cut in (log[:2], log[1:4], log[2:]):
        pipeline.handle(lambda_event(cut))
    (checkpoint,) = checkpoints.checkpoints("headrace")
    pipeline.tick(checkpoint)
    (checkpoint,) = checkpoints.checkpoints("headrace")
    assert checkpoint.imbalances() == []
    assert {name: checkpoint.totals[name] for name in ("applied", "dead")} == {"applied": 5, "dead": 2}
    rows = [row for key in outbox.keys("lake") for row in pq.read_table(io.BytesIO(outbox.read(key))).to_pylist()]
    assert Counter(row["reason"] for row in rows if "reason" in row) == {"damaged_gzip": 1, "from_the_future": 1}
    assert [row["events"] for row in rows if "events" in row] == [2 + 1 + 50]


@pytest.mark.parametrize("max_buckets", [1, 2, 2000])
def test_a_commit_is_never_cut_within_a_record(max_buckets):
    """The first record has events of three hours, which is more than a commit shall take: it is one all the same."""
    hours = [json.dumps({"message": "x", "time": NOON_MS - hour * 3_600_000}) for hour in range(3)]
    values = [
        archive(*hours),
        archive(hours[0], hours[2]),
        hours[1].encode(),
        b"\tat x",
        archive("", kind="CONTROL_MESSAGE"),
    ]
    log = [record(n, value, topic="logs", timestamp_ms=NOON_MS) for n, value in enumerate(values)]
    checkpoints, outbox = MemoryCheckpointStore(), MemoryOutbox()
    topology = Topology(CODEC, (LandLogs(),), "timestamp", max_buckets=max_buckets)
    pipeline = Pipeline("landing", lambda _topic: topology, checkpoints, outbox)
    assert pipeline.handle(lambda_event(log))["applied"] == len(values)
    pipeline.tick(next(checkpoints.checkpoints("headrace")))
    (checkpoint,) = checkpoints.checkpoints("headrace")
    assert (checkpoint.imbalances(), checkpoint.next_offset) == ([], len(values))
    rows = [row for key in outbox.keys("lake") for row in pq.read_table(io.BytesIO(outbox.read(key))).to_pylist()]
    assert Counter(row["_offset"] for row in rows) == {0: 3, 1: 2, 2: 1}
    assert [row["stack_trace"] for row in rows if row["_offset"] == 2] == ["\tat x"]
