"""Log events are landed with the lines that came after them, however their records are batched."""

import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NOON_MS, lambda_event, record

from headrace import schema
from headrace.checkpoint import MemoryCheckpointStore
from headrace.codec import LogCodec
from headrace.errors import ConfigurationError
from headrace.land_logs import LandLogs
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.records import TopicPartition
from headrace.topology import Topology

CODEC = LogCodec(schema.load(Path(__file__).resolve().parents[3] / "functions" / "schemas" / "log_event.avsc"))
OPERATORS = [
    LandLogs(hold_ms=100, max_streams=2, max_lines=3, max_characters=60),
    LandLogs(hold_ms=100),
    LandLogs(max_streams=2),
    LandLogs(max_lines=3),
    LandLogs(max_characters=24),
]


class Said(NamedTuple):
    """What one record says, in the test's words."""

    stream: str
    before: tuple[str, ...] = ()
    """Lines that continue an event of an earlier record."""
    events: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
    """Time after noon, message, and lines that continue it in the same record."""
    dead: bool = False

    def value(self):
        if self.dead:
            return b"\xff"
        if not self.before and len(self.events) == 1 and not self.events[0][2]:
            return _json(*self.events[0][:2])
        if self.before and not self.events:
            return "\n".join(self.before).encode()
        lines = [*self.before]
        for at, message, more in self.events:
            lines += [_json(at, message).decode(), *more]
        message = {"messageType": "DATA_MESSAGE", "logEvents": [{"timestamp": 1, "message": line} for line in lines]}
        if not lines:
            message = {"messageType": "CONTROL_MESSAGE", "logEvents": [{"timestamp": 1, "message": "CWL CONTROL"}]}
        return gzip.compress(json.dumps(message).encode(), mtime=0)


def _json(at, message):
    return json.dumps({"timestamp": NOON_MS + at, "message": message}).encode()


class Landing:
    """A landing pipeline in memory that forgets everything between two batches but its checkpoint."""

    def __init__(self, operator):
        self.outbox, self.checkpoints = MemoryOutbox(), MemoryCheckpointStore()
        topology = Topology(CODEC, (operator,), "timestamp", max_skew_ms=10**12)
        self.pipeline = Pipeline(
            "landing", lambda _topic: topology, self.checkpoints, self.outbox, inline_state_bytes=0, max_deltas=3
        )

    def checkpoint(self):
        return next(self.checkpoints.checkpoints("headrace"))

    def rows(self):
        """Offset, message and stack trace of every row, as often as it was published."""
        tables = [pq.read_table(io.BytesIO(self.outbox.read(key))).to_pylist() for key in self.outbox.keys("lake")]
        return Counter(
            (row["_offset"], row["message"], row["stack_trace"], row["format"] == "continuation")
            for rows in tables
            for row in rows
            if "format" in row
        )


class Oracle:
    """The same rows, worked out one record after the other, with a list of what is held, oldest first."""

    def __init__(self, operator):
        self.rows, self.held, self.watermark, self.bounds = Counter(), [], -(10**18), operator

    def give_out(self, each):
        self.held.remove(each)
        self.rows[(each["offset"], each["message"], "\n".join(each["lines"]) or None, False)] += 1

    def settle(self):
        for each in [each for each in self.held if each["due"] <= self.watermark]:
            self.give_out(each)
        while len(self.held) > self.bounds.max_streams or self.characters() > self.bounds.max_characters:
            self.give_out(self.held[0])

    def characters(self):
        return sum(each["size"] for each in self.held)

    def of(self, stream):
        return [each for each in self.held if each["stream"] == stream]

    def tick(self):
        self.watermark = max([self.watermark, *(each["due"] for each in self.held)])
        self.settle()

    def goes_on(self, offset, stream, lines):
        text = "\n".join(lines)
        mine = self.of(stream)
        if not mine:
            self.rows[(offset, text, None, True)] += 1
        for each in mine:
            each["lines"] += lines
            each["added"] += len(lines)
            each["size"] += len(text)
            if each["added"] >= self.bounds.max_lines:
                self.give_out(each)
        self.settle()

    def happens(self, offset, stream, event, attributes):
        at, message, more = event
        for each in self.of(stream):
            self.give_out(each)
        due, size = max(at, self.watermark) + self.bounds.hold_ms, len(message) + len("\n".join(more)) + attributes
        self.held.append(
            {"offset": offset, "stream": stream, "message": message, "lines": [*more]}
            | {"due": due, "size": size, "added": 0}
        )
        self.settle()
        self.watermark = max(self.watermark, at)
        self.settle()

    def take(self, offset, said):
        if said.before and not said.dead:
            self.goes_on(offset, said.stream, said.before)
        for event in said.events:
            self.happens(offset, said.stream, event, 0 if said.value().startswith(b"{") else ATTRIBUTES)


def expected(said, operator, ticks):
    oracle = Oracle(operator)
    for offset, each in enumerate(said):
        if offset in ticks:
            oracle.tick()
        oracle.take(offset, each)
    oracle.tick()
    return oracle.rows


ATTRIBUTES = len(
    '{"cloudwatch":{"id":null,"timestamp":1,"owner":null,"log_group":"","log_stream":"","subscription_filters":[]}}'
)
"""Of an event in an envelope that says nothing."""

lines = st.lists(st.sampled_from(["\tat a.B.c", " more", "Caused by: x"]), min_size=1, max_size=3).map(tuple)
times = st.integers(0, 400)
one_event = st.tuples(times, st.text("abc", min_size=1, max_size=8), st.just(()))
several = st.lists(st.tuples(times, st.text("abc", min_size=1, max_size=8), st.just(()) | lines), max_size=3).map(tuple)
streams = st.sampled_from("abc")
records = st.one_of(
    st.builds(lambda stream, event: Said(stream, (), (event,)), streams, one_event),
    st.tuples(streams, lines).map(lambda parts: Said(*parts)),
    st.tuples(streams, st.just(()) | lines, several).map(lambda parts: Said(*parts)),
    st.builds(lambda stream: Said(stream, dead=True), streams),
)


@settings(max_examples=200)
@given(
    said=st.lists(records, min_size=1, max_size=30),
    cuts=st.just(range(30)) | st.lists(st.integers(0, 29), max_size=6),
    ticks=st.sets(st.integers(1, 29), max_size=2),
    operator=st.sampled_from(OPERATORS),
    again=st.booleans(),
)
def test_rows_are_those_of_one_record_after_the_other(said, cuts, ticks, operator, again):
    """With batches cut anywhere, repeated with what came before them, and idle partitions' ticks between them."""
    log = [
        record(offset, each.value(), topic="logs", key=each.stream.encode(), timestamp_ms=NOON_MS + 500)
        for offset, each in enumerate(said)
    ]
    ticks = {tick for tick in ticks if tick < len(said)}
    landing, start = Landing(operator), 0
    for end in sorted({*(cut for cut in cuts if 0 < cut < len(log)), *ticks, len(log)}):
        batch = log[0 if again else start : end]
        landing.pipeline.handle(lambda_event(batch))
        if end in ticks:
            landing.pipeline.tick(landing.checkpoint())
        start = end
    landing.pipeline.tick(landing.checkpoint())
    assert landing.rows() == expected(said, operator, ticks)
    checkpoint = landing.checkpoint()
    assert checkpoint.imbalances() == []
    assert checkpoint.totals.get("applied", 0) == sum(not each.dead for each in said)
    assert checkpoint.open_until_ms is None


def landed(*said, **bounds):
    """Each record in a batch of its own."""
    landing = Landing(LandLogs(**bounds))
    for offset, each in enumerate(said):
        one = record(offset, each.value(), topic="logs", key=each.stream.encode(), timestamp_ms=NOON_MS + 500)
        landing.pipeline.handle(lambda_event([one]))
    return landing


def test_a_stack_trace_that_comes_in_later_batches_is_part_of_its_event():
    landing = landed(
        Said("a", events=((1, "no card", ()),)), Said("b", events=((2, "other", ()),)), Said("a", ("\tat x",))
    )
    assert landing.rows() == Counter()  # nothing is sure yet
    landing.pipeline.tick(landing.checkpoint())
    assert landing.rows() == Counter({(0, "no card", "\tat x", False): 1, (1, "other", None, False): 1})


def test_the_last_line_waits_for_the_next_of_its_stream_or_for_the_watermark():
    landing = landed(Said("a", events=((1, "one", ()),)), Said("a", events=((2, "two", ()),)))
    assert landing.rows() == Counter({(0, "one", None, False): 1})
    assert landing.checkpoint().open_until_ms == NOON_MS + 2 + 60_000
    later = record(2, _json(60_002, "three"), topic="logs", key=b"b", timestamp_ms=NOON_MS + 60_000)
    landing.pipeline.handle(lambda_event([later]))
    assert landing.rows().keys() == {(0, "one", None, False), (1, "two", None, False)}


def test_a_stream_whose_clock_is_behind_keeps_its_stack_traces():
    landing = landed(
        Said("a", events=((100_000, "ahead", ()),)), Said("b", events=((1, "x", ()),)), Said("b", ("\tat y",))
    )
    assert (1, "x", "\tat y", False) not in landing.rows()
    landing.pipeline.tick(landing.checkpoint())
    assert landing.rows()[1, "x", "\tat y", False] == 1


def events(*pairs):
    return [Said(stream, events=((at, message, ()),)) for at, (stream, message) in enumerate(pairs)]


def test_lines_are_counted_over_batches():
    landing = landed(*events("ax"), Said("a", ("\tat 1",)), Said("a", ("\tat 2",)), Said("a", ("\tat 3",)), max_lines=2)
    assert landing.rows() == Counter({(0, "x", "\tat 1\n\tat 2", False): 1, (3, "\tat 3", None, True): 1})


def test_characters_are_counted_over_batches():
    landing = landed(*events("ax"), Said("a", ("\tat 1",)), Said("a", ("\tat 2",)), max_characters=10)
    assert landing.rows() == Counter({(0, "x", "\tat 1\n\tat 2", False): 1})


def test_the_stream_that_was_silent_longest_makes_room():
    landing = landed(*events("ax", "by", "az", "cw"), max_streams=2)
    assert landing.rows().keys() == {(0, "x", None, False), (1, "y", None, False)}


def test_headers_and_key_of_a_held_event_are_those_of_its_record():
    landing = Landing(LandLogs())
    one = record(0, _json(1, "x"), topic="logs", key=b"\xff", timestamp_ms=NOON_MS)
    one = msgspec.structs.replace(one, raw_headers=[{"h": [-2]}])
    landing.pipeline.handle(lambda_event([one]))
    landing.pipeline.tick(landing.checkpoint())
    (row,) = [
        r
        for key in landing.outbox.keys("lake")
        for r in pq.read_table(io.BytesIO(landing.outbox.read(key))).to_pylist()
    ]
    assert (row["_key"], row["_headers"], row["_timestamp_ms"]) == (b"\xff", [{"key": "h", "value": b"\xfe"}], NOON_MS)
    assert row["service"] == "logs"


@pytest.mark.parametrize("bound", ["hold_ms", "max_streams", "max_lines", "max_characters"])
def test_every_bound_is_positive(bound):
    topology = Topology(CODEC, (LandLogs(),), "timestamp")
    with pytest.raises(ConfigurationError, match="must be positive"):
        LandLogs(**{bound: 0}).build(topology.codec, TopicPartition("logs", 0), 0, None)
