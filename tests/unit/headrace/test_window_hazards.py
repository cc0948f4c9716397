"""What goes wrong with windows in rare inputs: rounding, the ends of the calendar, very many windows at once."""

import itertools
import json
import random
import re
import struct
import time
from datetime import datetime
from math import nan
from typing import Any

import pytest
from samples import NOON_MS, topology

from headrace import lake, schema
from headrace.aggregates import Aggregate, Count, Mean, Sum
from headrace.avro import AvroCodec
from headrace.distinct_count import DistinctCount
from headrace.errors import ConfigurationError
from headrace.quantiles import Quantile, Quantiles
from headrace.records import Record, TopicPartition
from headrace.top_k import TopK
from headrace.topology import Logic, Topology
from headrace.window_rows import Top
from headrace.windowed import Windowed
from headrace.windows import (
    CalendarWindows,
    HoppingWindows,
    SessionWindows,
    SlidingWindows,
    TumblingWindows,
    Windows,
)

DAY_MS = 86_400_000
PLACE = TopicPartition("hits", 0)


def windowed(window: Windows, **members: Any) -> Windowed:
    declared: dict[str, Any] = {"table": "t", "key": ("user",), "aggregates": {"n": Count(), "sum": Sum("value")}}
    return Windowed(window=window, **(declared | members))


def event(offset: int, at_ms: int, user: str = "ann", value: float | None = 1.0) -> Record:
    fields = {"user": user, "page": "/", "at": at_ms, "value": value}
    return Record("hits", 0, offset, NOON_MS, "CREATE_TIME", key=b"k", value=json.dumps(fields).encode())


def given_out(logic: Logic) -> list[tuple[Any, ...]]:
    return [row for rows in logic.rows for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]


def rows_of_batches(declared: Topology, records: list[Record], size: int) -> list[tuple[Any, ...]]:
    """What comes out in batches of this size, each by a function that loads the state."""
    found: list[tuple[Any, ...]] = []
    watermark_ms, chain = None, []
    for start in range(0, len(records), size):
        logic = declared.build(PLACE, watermark_ms, chain)
        logic.apply(records[start : start + size])
        found += given_out(logic)
        saved = logic.save(may_extend=False)
        watermark_ms, chain = logic.watermark_ms, [saved.content] if saved else []
    logic = declared.build(PLACE, watermark_ms, chain)
    logic.tick()
    return sorted(found + given_out(logic), key=repr)


@pytest.mark.parametrize("lateness_ms", [0, 15])
@pytest.mark.parametrize(
    "window", [TumblingWindows(20), HoppingWindows(20, 5), SlidingWindows(20), SessionWindows(6)], ids=repr
)
def test_doubles_are_rounded_alike_wherever_batches_are_cut(window: Windows, lateness_ms: int) -> None:
    """(0.1 + 0.2) + 0.3 is not 0.1 + (0.2 + 0.3): what is added first may not depend on what is given out together."""
    draw = random.Random(7)
    aggregates = {"sum": Sum("value"), "mean": Mean("value")}
    declared = topology(windowed(window, aggregates=aggregates), allowed_lateness_ms=lateness_ms)
    times_ms = [n * 2 - draw.choice((0, 0, 0, 7, 19)) for n in range(120)]
    records = [event(n, at_ms, draw.choice("ab"), draw.random()) for n, at_ms in enumerate(times_ms)]
    at_once = rows_of_batches(declared, records, len(records))
    for size in (1, 7, 40):
        assert rows_of_batches(declared, records, size) == at_once


def test_thousands_of_overlapping_windows_cost_no_more_than_their_panes() -> None:
    """A week, every minute: 10,080 panes of 10,080 windows each, of which one closes here."""
    week = windowed(HoppingWindows(size_ms=10_080, advance_ms=1))
    logic = topology(week).build(PLACE, None)
    logic.apply([event(n, n) for n in range(2)])
    logic.committed()
    seconds = time.process_time()
    logic.apply([event(n, 9_000 + n) for n in range(500)])
    logic.apply([event(n, 20 + n % 2) for n in range(500)])  # each missed thousands of windows
    logic.apply([event(n, -1_000) for n in range(500)])  # … and these all of theirs
    assert time.process_time() - seconds < 3


def test_thousands_of_open_sessions_of_one_key_are_found_one_by_one() -> None:
    """Lateness that is much longer than the gap keeps them open: 8,000 start, every second two are joined, all close.

    sessions   [0][4][8][12] …        gap = 1, then one event between two
    """
    logic = topology(windowed(SessionWindows(1), key=()), allowed_lateness_ms=10**9).build(PLACE, None)
    seconds = time.process_time()
    logic.apply([event(n, 4 * n) for n in range(8_000)])
    logic.apply([event(n, 8 * n + step) for n in range(4_000) for step in (1, 2, 3)])
    assert logic.open_rows == 4_000
    logic.committed()
    logic.apply([event(n, 10**10) for n in range(2)])
    assert len(given_out(logic)) == 4_000
    assert time.process_time() - seconds < 2


def test_records_for_windows_that_are_over_cost_what_they_change() -> None:
    """8,000 keys are given out early when their window gets over, and each once more."""
    early = windowed(TumblingWindows(10_000), early_results=True)
    logic = topology(early, allowed_lateness_ms=10**6).build(PLACE, None)
    logic.apply([event(n, n, f"user-{n}") for n in range(8_000)])
    logic.committed()
    seconds = time.process_time()
    logic.apply([event(0, 20_000), *(event(n, n, f"user-{n}") for n in range(8_000))])
    assert len(given_out(logic)) == 16_000
    assert time.process_time() - seconds < 1.5


@pytest.mark.parametrize("at_ms", [lake.MIN_TIME_MS, lake.MIN_TIME_MS + 1, lake.MAX_TIME_MS])
@pytest.mark.parametrize(
    "window",
    [
        TumblingWindows(7 * DAY_MS),
        HoppingWindows(7 * DAY_MS, DAY_MS),
        CalendarWindows("month", "Asia/Tokyo"),
        SlidingWindows(DAY_MS),
        SessionWindows(DAY_MS),
    ],
    ids=repr,
)
def test_windows_that_reach_beyond_the_calendar_are_written_as_far_as_it_goes(window: Windows, at_ms: int) -> None:
    """A producer's zero time can be 0001-01-01: its window may begin the year before, which has no folder."""
    logic = topology(windowed(window)).build(PLACE, None)
    logic.apply([event(0, at_ms)])
    logic.tick()
    logic.apply([event(1, at_ms)])
    files = [lake.encode(part, {}) for rows in logic.rows for part in lake.split(rows)]
    assert {file.table for file in files} == {"t", "late"}
    for file in files:
        named: dict[str, Any] = {"pipeline": "p", "generation": "1", "topic": "t", "partition": 0, "version": 1}
        assert lake.read_final_key(lake.final_key(file, **named, number=0))
    bounds = [row[:2] for row in given_out(logic) if isinstance(row[0], datetime)]  # Python's times reach no further
    assert bounds


def test_a_month_that_begins_in_the_first_year_is_days_whoever_asks_for_it() -> None:
    """Its start, which stands for it in a snapshot, must belong to the same window as the times in it."""
    months = CalendarWindows("month", "Europe/Berlin")
    first_ms = lake.MIN_TIME_MS + 365 * DAY_MS - DAY_MS
    for time_ms in range(first_ms, first_ms + 40 * DAY_MS, DAY_MS // 4):
        (window,) = months.containing(time_ms)
        assert months.containing(window.start_ms) == [window]


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"aggregates": {"user": Count()}}, "two columns 'user'"),
        ({"aggregates": {"window_end": Count()}}, "two columns 'window_end'"),
        ({"aggregates": {"_topic": Count()}}, "two columns '_topic'"),
        ({"aggregates": {"m": Mean("value"), "m__sum": Count()}}, "two columns 'm__sum'"),
        ({"aggregates": {"revision": Count()}, "early_results": True}, "two columns 'revision'"),
        ({"key": ("user", "user")}, "two columns 'user'"),
        ({"key": ("value",)}, "field 'value' is a double: it cannot be part of a key"),
        ({"table": "a table"}, "its name may have letters"),
        ({"table": "a/../b"}, "its name may have letters"),
        ({"aggregates": {"q": Quantiles("value", (0.5,))}, "top": Top(1, by="q")}, "which are better?"),
        ({"aggregates": {"q": TopK("page", 2)}, "top": Top(1, by="q")}, "which are better?"),
    ],
)
def test_what_would_stop_a_partition_later_is_refused_when_it_is_declared(
    members: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        topology(windowed(TumblingWindows(10), **members))


def test_a_table_of_early_results_has_its_name_for_itself() -> None:
    early, other = windowed(TumblingWindows(10), early_results=True), windowed(TumblingWindows(10), table="t_early")
    with pytest.raises(ConfigurationError, match="'t_early' has another use"):
        topology(early, other)


def test_the_best_have_a_value_that_is_a_number() -> None:
    """Infinity and minus infinity add up to NaN, which is neither more nor less than anything."""
    fields = [{"name": "user", "type": "string"}, {"name": "value", "type": "double"}]
    written = schema.parse(json.dumps({"type": "record", "name": "Hit", "fields": fields}))
    best = windowed(TumblingWindows(10), top=Top(2, by="sum"))
    for values in itertools.permutations([("a", 1.0), ("b", 3.0), ("c", nan), ("d", 2.0)]):
        logic = Topology(AvroCodec(written, written), (best,)).build(PLACE, None)
        payloads = [_avro(user, value) for user, value in values]
        logic.apply([Record("hits", 0, n, 5, "CREATE_TIME", key=None, value=p) for n, p in enumerate(payloads)])
        logic.tick()
        assert [(user, total) for _, _, user, _, total, *_ in given_out(logic)] == [("b", 3.0), ("d", 2.0)]


def _avro(user: str, value: float) -> bytes:
    return bytes([2 * len(user)]) + user.encode() + struct.pack("<d", value)


@pytest.mark.parametrize(
    "aggregate", [DistinctCount("page"), Quantile("value", 0.5), TopK("page", 3)], ids=lambda a: type(a).__name__
)
def test_what_stays_in_memory_is_as_small_as_its_snapshot(aggregate: Aggregate) -> None:
    """An object for each window would be several times as large, and memory is planned by rows."""
    logic = topology(windowed(TumblingWindows(10_000), aggregates={"it": aggregate})).build(PLACE, None)
    logic.apply([event(n, n, f"user-{n % 5}") for n in range(100)])
    logic.save(may_extend=False)
    logic.committed()
    (running,) = logic._running
    assert running.state is not None
    ((_, (cells,)),) = running.state.aggregates
    assert {type(cell) for cell in cells} == {bytes}
