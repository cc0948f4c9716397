"""Keys seen for the first time: the rows by hand; any cuts, ticks and capacities are in `test_windowed_exact`."""

import gc
import tracemalloc
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from samples import HIT_AVSC, NOON_MS, hit, topology

from headrace import schema
from headrace.codec import JsonCodec
from headrace.errors import ConfigurationError, SchemaError
from headrace.first_seen import FirstSeen
from headrace.operators import Batch, Restored
from headrace.records import TopicPartition
from headrace.topology import Logic

PLACE = TopicPartition("hits", 0)
NEW_PAGES = FirstSeen("new_pages", ("page",), forget_after_ms=10)


def logic(operator: FirstSeen = NEW_PAGES, **settings: int) -> Logic:
    return topology(operator, **settings).build(PLACE, None)


def first_seen(logic: Logic, *pages: tuple[str, int]) -> list[tuple[str, int]]:
    """Page and time of the rows, of records of these pages and times, each in a batch of its own."""
    rows = []
    for offset, (page, at_ms) in enumerate(pages):
        logic.apply([hit(offset, at_ms, page=page)])
        for given_out in logic.rows:
            names = [field.name for field in given_out.table.fields]
            rows += list(zip(given_out.columns[names.index("page")].to_pylist(), given_out.times_ms, strict=True))
        logic.save(may_extend=False)
        logic.committed()
    return rows


def test_a_key_is_new_once() -> None:
    assert first_seen(logic(), ("a", 0), ("b", 1), ("a", 2), ("b", 9), ("c", 9)) == [("a", 0), ("b", 1), ("c", 9)]


def test_a_key_is_new_again_when_it_was_silent_for_as_long_as_said() -> None:
    """Silent for 9, which is not enough, then for 10."""
    assert first_seen(logic(), ("a", 0), ("a", 9), ("a", 19)) == [("a", 0), ("a", 19)]


def test_an_earlier_event_does_not_make_a_key_silent_longer() -> None:
    assert first_seen(logic(out_of_orderness_ms=100), ("a", 10), ("a", 0), ("a", 12)) == [("a", 10)]


def test_a_late_record_says_that_its_key_is_alive_now() -> None:
    """At a watermark of 50 the page is new; that it says 0 does not make the next one new as well."""
    assert first_seen(logic(), ("b", 50), ("a", 0), ("a", 1), ("a", 55)) == [("b", 50), ("a", 0)]


def test_the_key_that_is_silent_longest_makes_room() -> None:
    """Full with a and b; c takes the place of b, whose last event is earlier, then a is still known and b is new."""
    two = FirstSeen("new_pages", ("page",), forget_after_ms=1000, capacity=2)
    found = first_seen(logic(two), ("a", 0), ("b", 1), ("a", 2), ("c", 3), ("a", 4), ("b", 5), ("c", 6))
    assert found == [("a", 0), ("b", 1), ("c", 3), ("b", 5), ("c", 6)]


def test_of_keys_that_are_silent_equally_long_the_one_that_came_first_makes_room() -> None:
    two = FirstSeen("new_pages", ("page",), forget_after_ms=1000, capacity=2)
    assert first_seen(logic(two), ("b", 0), ("a", 0), ("c", 0), ("a", 0)) == [("b", 0), ("a", 0), ("c", 0)]


def test_a_row_has_the_key_samples_and_the_record() -> None:
    described = FirstSeen("new_pages", ("page", "user"), 10, samples=("value", "at"), complete=True)
    running = logic(described)
    running.apply([hit(7, 5, "eve", "/x", 1.5)])
    (rows,) = running.rows
    row = {field.name: column.to_pylist()[0] for field, column in zip(rows.table.fields, rows.columns, strict=True)}
    place = {"_topic": "hits", "_partition": 0, "_offset": 7, "_timestamp_ms": NOON_MS + 7, "_key": b"k"}
    assert {name: row[name] for name in place} == place
    assert (row["page"], row["user"], row["value"]) == ("/x", "eve", 1.5)
    assert row["first_seen"] == row["at"]
    assert list(row)[:5] == ["first_seen", "page", "user", "value", "at"]
    assert rows.table.complete


def test_an_idle_partition_has_nothing_to_close() -> None:
    """A tick would forget what is known; the state stays."""
    running = logic()
    running.apply([hit(0, 0)])
    assert not running.tick()
    assert running.open_rows == 1
    assert running.save(may_extend=False)


def test_what_the_watermark_forgets_takes_no_room() -> None:
    running = logic()
    running.apply([hit(n, n, page=f"/{n}") for n in range(100)])
    assert running.open_rows == 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FirstSeen("a b", ("page",), 1), "its name may have letters"),
        (lambda: FirstSeen("t", (), 1), "without a key nothing can be new"),
        (lambda: FirstSeen("t", ("page",), 0), "forget_after_ms must be positive, not 0"),
        (lambda: FirstSeen("t", ("page",), 1, capacity=0), "capacity must be positive, not 0"),
        (lambda: topology(FirstSeen("t", ("value",), 1)), "is a double"),
        (lambda: topology(FirstSeen("t", ("nobody",), 1)), "has no field 'nobody'"),
        (lambda: topology(FirstSeen("t", ("page",), 1, samples=("page",))), "two columns 'page'"),
        (lambda: topology(FirstSeen("late", ("page",), 1)), "table 'late' has another use"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused_where_it_is_made(make: Any, message: str) -> None:
    with pytest.raises((ConfigurationError, SchemaError), match=message):
        make()


CAPACITY = 10_000
LONG_KEY = 200
"""Characters: the longest pattern."""
BYTES_A_KEY = 640
"""Measured are 560: of the string 250, of the heap's entry 170, of the dictionary and the columns 140."""


class Page(NamedTuple):
    """A decoded value."""

    page: str


def many(numbers: Sequence[int]) -> Batch:
    """Records of pages of their own."""
    pages = [Page(f"{number:{LONG_KEY}}") for number in numbers]
    return Batch([hit(0, 0)] * len(pages), pages, list(numbers), [0] * (len(pages) + 1))


def test_memory_is_bounded_however_many_keys_there_are() -> None:
    """120,000 keys, six times as many as fit. Of the last 20,000 only 10,000 leave anything behind.

    Only they are traced, because that takes long.
    """
    declared = FirstSeen("new_pages", ("page",), forget_after_ms=10**9, capacity=CAPACITY)
    running = declared.build(JsonCodec(schema.parse(HIT_AVSC)), PLACE, 0, Restored(-(2**63), ()))
    assert running.state is not None
    try:
        for start in range(0, 12 * CAPACITY, 5_000):
            if start == 10 * CAPACITY:
                tracemalloc.start()
            running.apply(many(range(start, start + 5_000)))
            assert sum(len(rows.times_ms) for rows in running.close(0)) == 5_000
            running.state.written()
            assert len(running.state) == min(start + 5_000, CAPACITY)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < CAPACITY * BYTES_A_KEY
    finally:
        tracemalloc.stop()
