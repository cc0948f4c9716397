"""Windowed operators against the oracle of the chaos tests: any declarations, any records, any cuts.

    records    r0 r1 r2 │ r3 │ r4 r5 r6 r7 │ r8            r0 … are of any time: out of order, equal, late
    pipeline      cold   warm    cold        tick          warm: goes on with what it has in memory;
                                                           cold: a new one, from what was stored

The oracle knows the records and where the ticks were, and nothing of cuts: rows that equal its rows do not depend on
them.
"""

import itertools
import json
from collections import Counter

from chaos.operators import topology
from chaos.oracle.partition import expected
from chaos.oracle.rules import (
    Calendar,
    Column,
    Declared,
    Hopping,
    Logged,
    Rules,
    Sessions,
    Sliding,
    Top,
    Tumbling,
)
from chaos.verdict import file_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NOON_MS, lambda_event

from headrace.checkpoint import MemoryCheckpointStore
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.records import Record

MAX_SKEW_MS = 300_000
QUARTER_MS = 900_000
STARTS_MS = {1: (-35, 0), QUARTER_MS: (1_679_774_400_000, 1_698_523_200_000)}
"""Unit of time to when events begin: around the epoch, or in the nights in which Europe changes its clocks."""
COLUMNS = (
    Column("events", "count"),
    *(Column(what, what, "value") for what in ("sum", "min", "max", "mean", "values")),
    *(Column(what, what, "page") for what in ("first", "last")),
)


def windows(unit_ms):
    lengths = st.integers(1, 25).map(lambda n: n * unit_ms)
    offsets = st.integers(-20, 20).map(lambda n: n * unit_ms)
    sizes = st.tuples(lengths, offsets)
    return st.one_of(
        sizes.map(lambda drawn: Tumbling(drawn[0], drawn[1] % drawn[0])),
        st.tuples(st.integers(1, 25), st.integers(1, 25), offsets).map(
            lambda drawn: Hopping(drawn[0] * unit_ms, drawn[1] * unit_ms, -(drawn[2] % (drawn[1] * unit_ms)))
        ),
        st.sampled_from(["Europe/Berlin", "America/Sao_Paulo", "UTC", "Asia/Kathmandu"]).map(Calendar),
        lengths.map(Sliding),
        lengths.map(Sessions),
    )


@st.composite
def declarations(draw, table, unit_ms):
    window = draw(windows(unit_ms))
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4, unique=True))
    early = draw(st.booleans()) and not isinstance(window, Sliding)
    lateness_ms = draw(st.sampled_from([30, 7, 60, 0] if early else [0, 0, 7, 30])) * unit_ms
    top = None
    if not early and not isinstance(window, Sliding | Sessions) and columns[0].what in {"count", "sum", "mean", "max"}:
        top = draw(st.none() | st.integers(1, 2).map(lambda keys: Top(keys, columns[0].name)))
    key = draw(st.sampled_from([("page",), ("user",), ("user", "page"), ()]))
    # What a partial row carries of a Fold is the library's own form, and compared in its tests.
    complete = draw(st.booleans()) or any(column.what == "values" for column in columns)
    return Declared(table, window, key, tuple(columns), lateness_ms, early, top, complete)


@st.composite
def pipelines(draw):
    """The rules, and records of about the same time."""
    unit_ms = draw(st.sampled_from(sorted(STARTS_MS)))
    operators = [draw(declarations(f"t{number}", unit_ms)) for number in range(draw(st.integers(1, 3)))]
    disorder_ms = draw(st.sampled_from([0, 5, 12])) * unit_ms
    rules = Rules(tuple(operators), disorder_ms, MAX_SKEW_MS, landing=draw(st.booleans()))
    steps = draw(st.lists(st.integers(-30, 30) | st.sampled_from([0, 1, 10]), max_size=40))
    times_ms = itertools.accumulate(
        (step * unit_ms for step in steps), initial=draw(st.sampled_from(STARTS_MS[unit_ms]))
    )
    return rules, [draw(logged(offset, time_ms)) for offset, time_ms in enumerate(times_ms)]


@st.composite
def logged(draw, offset, at_ms):
    user, page = draw(st.sampled_from(["ann", "bob"])), draw(st.sampled_from(["/", "/b", "/c"]))
    value = draw(st.none() | st.integers(-8, 8).map(lambda n: n / 4))  # sums of these are exact in any order
    timestamp_ms = NOON_MS + offset
    kind = draw(st.sampled_from(["event"] * 12 + ["tombstone", "poison", "from the future"]))
    if kind == "from the future":
        at_ms = timestamp_ms + MAX_SKEW_MS + 1
    payload = json.dumps({"user": user, "page": page, "at": at_ms, "value": value}).encode()
    values = {"tombstone": None, "poison": b"{"}
    return Logged("hits", 0, offset, timestamp_ms, b"k", values.get(kind, payload))


class Store:
    """What outlives a pipeline, and how it is told of."""

    def __init__(self, rules, inline_state_bytes, max_deltas):
        self.checkpoints, self.outbox = MemoryCheckpointStore(), MemoryOutbox()
        self.ticks = []
        self._made = topology(rules)
        self._state = {"inline_state_bytes": inline_state_bytes, "max_deltas": max_deltas, "warm_rows": 1000}
        self._ids = (f"id-{number}" for number in itertools.count())

    def pipeline(self):
        return Pipeline(
            "p",
            lambda _topic: self._made,
            self.checkpoints,
            self.outbox,
            **self._state,
            clock_ms=lambda: 0,
            new_id=lambda: next(self._ids),
        )

    def tick(self, pipeline):
        for checkpoint in self.checkpoints.checkpoints("headrace"):
            if pipeline.tick(pipeline.recover(checkpoint)):
                self.ticks.append(checkpoint.next_offset)

    def tables(self):
        tables = {}
        for key in self.outbox.keys("lake/"):
            tables.setdefault(key.split("/")[2], Counter()).update(file_rows(self.outbox.read(key)))
        return tables


def run(store, records, cuts):
    """Deliver the records, cut so; answer when everything was closed by a last tick."""
    pipeline, left = store.pipeline(), list(records)
    for size, cold, tick in [*cuts, (len(records), True, False)]:
        pipeline = store.pipeline() if cold else pipeline
        if tick:
            store.tick(pipeline)
        batch, left = left[:size], left[size:]
        if batch:
            pipeline.handle(lambda_event([record(each) for each in batch]))
    store.tick(pipeline)


def record(each):
    return Record(each.topic, each.partition, each.offset, each.timestamp_ms, "CREATE_TIME", each.key, each.value)


def not_empty(tables):
    return {name: rows for name, rows in tables.items() if rows}


cuts = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from([False, False, True])), max_size=8)


@settings(max_examples=400)
@given(pipelines(), cuts, st.sampled_from([0, 0, 4096]), st.sampled_from([0, 2, 50]))
def test_rows_are_those_of_the_oracle_however_batches_are_cut(pipeline, cuts, inline_state_bytes, max_deltas):
    rules, records = pipeline
    store = Store(rules, inline_state_bytes, max_deltas)
    run(store, records, cuts)
    assert store.tables() == not_empty(expected(records, store.ticks, rules).tables)
