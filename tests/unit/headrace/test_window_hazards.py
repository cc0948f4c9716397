"""What goes wrong with windows in rare inputs: rounding, the ends of the calendar, very many windows at once."""

import json
import random
import time
from typing import Any

import pytest
from samples import NOON_MS, topology

from headrace.aggregates import Count, Mean, Sum
from headrace.records import Record, TopicPartition
from headrace.topology import Logic, Topology
from headrace.windowed import Windowed
from headrace.windows import HoppingWindows, SessionWindows, SlidingWindows, TumblingWindows, Windows

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
