"""Windowed operators against the oracle of the chaos tests: any declarations, any records, any cuts.

    records    r0 r1 r2 │ r3 │ r4 r5 r6 r7 │ r8            r0 … are of any time: out of order, equal, late
    pipeline      new   same  other │tick│ same            same: goes on with what it has in memory; new: from what
                                                           was stored; other: it has what it had some batches ago

The oracle knows the records and where the ticks were, and nothing of cuts: rows that equal its rows do not depend on
them.
"""

import itertools
import json
from collections import Counter
from contextlib import contextmanager
from functools import cache

import pytest
from chaos.operators import topology
from chaos.oracle.partition import expected
from chaos.oracle.rules import (
    Calendar,
    Change,
    Column,
    Declared,
    FirstTimes,
    Hopping,
    Logged,
    News,
    Rules,
    Sessions,
    Share,
    Silence,
    Sliding,
    Top,
    Tumbling,
)
from chaos.verdict import file_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NOON_MS, lambda_event

from headrace import state
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


ZONES = ("Europe/Berlin", "America/Sao_Paulo", "UTC", "Asia/Kathmandu")
LENGTHS = (3, 5, 10, 15, 20)
STEPS = (1, 3, 0, 5, 10, 2, 7, -3, -5, -10, -18, 25)
"""From one event to the next, in units of time: many are exactly a length apart."""


@cache
def windows(unit_ms):
    lengths = st.sampled_from(LENGTHS)
    offsets = st.sampled_from([0, 0, 1, -2])
    return st.one_of(
        st.builds(lambda size, offset: Tumbling(size * unit_ms, offset * unit_ms), lengths, offsets),
        st.builds(
            lambda size, advance, offset: Hopping(size * unit_ms, advance * unit_ms, offset * unit_ms),
            *(lengths, lengths, offsets),
        ),
        st.sampled_from(ZONES).map(Calendar),
        lengths.map(lambda size: Sliding(size * unit_ms)),
        lengths.map(lambda gap: Sessions(gap * unit_ms)),
        lengths.map(lambda gap: Sessions(gap * unit_ms)),
    )


@cache
def first_times(unit_ms):
    return st.builds(
        lambda length, capacity, samples: FirstTimes(length * unit_ms, capacity, samples),
        *(st.sampled_from((*LENGTHS, 50)), st.integers(1, 5), st.sampled_from([(), ("value",)])),
    )


def watched(declared):
    """Watched by rules, if it can be."""
    window = declared.window
    if isinstance(window, FirstTimes):
        return declared._replace(alerts=(News("news", declared.key[0], ("ann", "a")),))
    if isinstance(window, Sliding) or (isinstance(window, Hopping) and window.size_ms % window.advance_ms):
        return declared
    columns = (COLUMNS[0], Column("sum", "sum", "value"), Column("samples", "samples", "user"))
    rules = (
        *(Share("share", "sum", "events", 0.5, at_least=1), Silence("silence", at_least=2)),
        *(Change("surge", "sum", 1.5, at_least=1), Change("slump", "events", 0.5, at_least=1)),
    )
    if isinstance(window, Sessions):
        columns, rules = columns[:1], (rules[1],)
    else:
        rules = (rules[0], *rules[2:])
    return declared._replace(columns=columns, early=False, top=None, alerts=rules)


@st.composite
def declarations(draw, table, unit_ms):
    if draw(st.sampled_from([False, False, False, True])):
        key = draw(st.sampled_from([("user",), ("page",), ("user", "page")]))
        return Declared(table, draw(first_times(unit_ms)), key, (), complete=draw(st.booleans()))
    window = draw(windows(unit_ms))
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3, unique=True))
    early = draw(st.booleans()) and not isinstance(window, Sliding)
    lateness_ms = draw(st.sampled_from([30, 10, 60, 0] if early else [0, 0, 7, 30])) * unit_ms
    top = None
    if not early and not isinstance(window, Sliding | Sessions) and columns[0].what in {"count", "sum", "mean", "max"}:
        top = draw(st.none() | st.integers(1, 2).map(lambda keys: Top(keys, columns[0].name)))
    key = draw(st.sampled_from([("user",), ("page",), ("user", "page"), ()]))
    # What a partial row carries of a Fold is the library's own form, and compared in its tests.
    complete = draw(st.booleans()) or any(column.what == "values" for column in columns)
    return Declared(table, window, key, tuple(columns), lateness_ms, early, top, complete)


@st.composite
def pipelines(draw):
    """The rules, and records of about the same time."""
    unit_ms = draw(st.sampled_from([1, 1, 1, QUARTER_MS]))
    operators = [draw(declarations(f"t{number}", unit_ms)) for number in range(draw(st.sampled_from([2, 1, 3])))]
    operators = [watched(each) if draw(st.sampled_from([False, False, True])) else each for each in operators]
    disorder_ms = draw(st.sampled_from([0, 5, 20])) * unit_ms
    rules = Rules(tuple(operators), disorder_ms, MAX_SKEW_MS, landing=draw(st.booleans()))
    steps = draw(st.lists(st.sampled_from(STEPS), min_size=draw(st.sampled_from([0, 12, 25])), max_size=40))
    start_ms = draw(st.sampled_from(STARTS_MS[unit_ms]))
    times_ms = itertools.accumulate((step * unit_ms for step in steps), initial=start_ms)
    return rules, [draw(logged(offset, time_ms)) for offset, time_ms in enumerate(times_ms)]


VALUES = (None, -0.5, 0.25, 1.0, 2.75)
"""Sums of these are exact in any order."""
PAYLOADS = [(user, page, value) for user in ("ann", "bob", "eve", "joe") for page in "abc" for value in VALUES]
ODD = ("tombstone", "poison", "from the future")
payloads = st.sampled_from([*PAYLOADS, *ODD, *ODD])


@st.composite
def logged(draw, offset, at_ms):
    drawn = draw(payloads)
    timestamp_ms = NOON_MS + offset
    if drawn == "from the future":
        at_ms = timestamp_ms + MAX_SKEW_MS + 1
    user, page, value = PAYLOADS[0] if drawn in ODD else drawn
    payload = json.dumps({"user": user, "page": page, "at": at_ms, "value": value}).encode()
    return Logged("hits", 0, offset, timestamp_ms, b"k", {"tombstone": None, "poison": b"{"}.get(drawn, payload))


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
        """Whether anything was open."""
        before = len(self.ticks)
        for checkpoint in self.checkpoints.checkpoints("headrace"):
            if pipeline.tick(pipeline.recover(checkpoint)):
                self.ticks.append(checkpoint.next_offset)
        return len(self.ticks) > before

    def tables(self):
        tables = {}
        for key in self.outbox.keys("lake/"):
            tables.setdefault(key.split("/")[2], Counter()).update(file_rows(self.outbox.read(key)))
        return tables


def run(store, records, cuts):
    """Deliver the records, cut so; answer when everything was closed by the last ticks."""
    environments, left = [store.pipeline(), store.pipeline()], list(records)
    for size, environment, tick in [*cuts, (len(records), "new", False)]:
        environments.append(
            {"new": store.pipeline, "same": environments.pop, "other": lambda: environments.pop(0)}[environment]()
        )
        del environments[:-2]
        if tick:
            store.tick(environments[-1])
        batch, left = left[:size], left[size:]
        if batch:
            environments[-1].handle(lambda_event([record(each) for each in batch]))
    while store.tick(environments[-1]):
        pass


def record(each):
    return Record(each.topic, each.partition, each.offset, each.timestamp_ms, "CREATE_TIME", each.key, each.value)


def not_empty(tables):
    return {name: rows for name, rows in tables.items() if rows}


cut = st.tuples(
    st.sampled_from([3, 1, 2, 1, 6, 12, 0]),
    st.sampled_from(["same", "new", "other"]),
    st.sampled_from([False] * 5 + [True]),
)
cuts = st.sampled_from([0, 8]).flatmap(lambda least: st.lists(cut, min_size=least, max_size=14))


@contextmanager
def little_room(wanted):
    """Columns that grow row by row, and are made anew as soon as one is free: else it takes thousands of rows."""
    with pytest.MonkeyPatch.context() as patch:
        if wanted:
            patch.setattr(state, "_GROWTH", 1)
            patch.setattr(state, "_SPARSE", 1)
        yield


@settings(max_examples=400)
@given(pipelines(), cuts, st.sampled_from([0, 0, 0, 4096]), st.sampled_from([50, 50, 2, 0]), st.booleans())
def test_rows_are_those_of_the_oracle_however_batches_are_cut(
    pipeline, cuts, inline_bytes, max_deltas, with_little_room
):
    rules, records = pipeline
    store = Store(rules, inline_bytes, max_deltas)
    with little_room(with_little_room):
        run(store, records, cuts)
    assert store.tables() == not_empty(expected(records, store.ticks, rules).tables)
