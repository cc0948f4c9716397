"""Open rows by column: what a base and its deltas bring back, whatever was opened, changed, merged and released."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.aggregates import Count, Last, Sum
from headrace.errors import CheckpointCorrupt
from headrace.state import OpenRows, Part

AGGREGATES: dict[str, Any] = {"n": Count(), "total": Sum("value"), "last": Last("value")}


class Events(NamedTuple):
    """A batch, as aggregates see it."""

    times_ms: list[int]
    values: list[Any]

    def column(self, name: str) -> list[Any]:
        assert name == "value"
        return self.values

    def shared(self, name: str) -> list[Any]:
        return self.column(name)


def open_rows(*parts: Part) -> OpenRows:
    return OpenRows(1, (7,), AGGREGATES, through_store(parts))


def through_store(parts: tuple[Part, ...]) -> list[Part]:
    return [msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=Part) for part in parts]


def picture(state: OpenRows) -> dict[int, tuple[Any, ...]]:
    """Every open row, by its number."""
    return {row: tuple(column[row] for column in state.columns) for row in state.numbers()}


def add(state: OpenRows, rows: list[int], value: float | None = 1.0, time_ms: int = 5) -> None:
    state.add(rows, Events([time_ms] * len(rows), [value] * len(rows)))


def test_a_row_without_events_has_initial_values_and_its_key() -> None:
    state = open_rows()
    row = state.new_row(("ann",))
    assert picture(state) == {row: ("ann", 7, 0, None, None, -(2**63))}
    assert len(state) == 1


def test_a_delta_has_what_changed_and_nothing_else() -> None:
    """Rows 0 1 2 in the base; then 1 gets an event and 3 is new."""
    state = open_rows()
    rows = [state.new_row((name,)) for name in ("ann", "bob", "eve")]
    add(state, rows)
    base = state.base()
    state.written()
    add(state, [rows[1], state.new_row(("joe",))], 2.5)
    delta = state.delta(state.changes())
    assert (delta.new, delta.changed, delta.gone, delta.rows) == ([3], [1], [], 2)
    assert [len(column) for column in delta.changed_columns] == [8, 1, 1, 1, 8], "without the key; integers as bytes"
    assert picture(open_rows(base, delta)) == picture(state)


def test_a_row_that_became_part_of_another_is_gone_and_its_number_is_free_only_when_released() -> None:
    state = open_rows()
    first, second = state.new_row(("ann",)), state.new_row(("ann",))
    add(state, [first, second])
    base = state.base()
    state.written()
    state.merge(first, second)
    assert state.new_row(("bob",)) not in {first, second}
    delta = state.delta(state.changes())
    assert delta.gone == [second]
    restored = open_rows(base, delta)
    assert picture(restored) == picture(state)
    assert restored.new_row(("eve",)) == second, "whoever loads it may use the number"
    state.release([second])
    assert state.new_row(("joe",)) == second


def test_a_removed_row_is_gone_in_the_delta_unless_its_number_has_a_new_owner() -> None:
    state = open_rows()
    rows = [state.new_row((name,)) for name in ("ann", "bob", "eve")]
    base = state.base()
    state.written()
    state.remove(rows[:2])
    assert state.new_row(("zoe",)) in rows[:2]
    delta = state.delta(state.changes())
    assert len(delta.gone) == 1
    assert picture(open_rows(base, delta)) == picture(state)
    assert sorted(name for name, *_ in picture(state).values()) == ["eve", "zoe"]


def test_a_number_that_is_used_again_starts_from_initial_values() -> None:
    state = open_rows()
    row = state.new_row(("ann",))
    add(state, [row])
    state.release([row])
    assert state.new_row(("bob",)) == row
    assert picture(state)[row] == ("bob", 7, 0, None, None, -(2**63))


def test_what_a_free_number_held_in_the_base_is_not_found_by_its_next_owner() -> None:
    """The row that went into another one still has its scalars in the columns when the base is written."""
    state = open_rows()
    first, second, _ = (state.new_row((name,)) for name in ("ann", "ann", "bob"))
    add(state, [first, second])
    state.merge(first, second)
    restored = open_rows(state.base())
    assert restored.new_row(("eve",)) == second
    assert picture(restored)[second] == ("eve", 7, 0, None, None, -(2**63))


def test_small_states_are_small() -> None:
    state = open_rows()
    add(state, [state.new_row(("ann",))])
    assert len(msgspec.msgpack.encode(state.base())) < 100


def test_columns_of_a_busier_time_are_given_up() -> None:
    state = open_rows()
    rows = [state.new_row((str(n),)) for n in range(5000)]
    add(state, rows)
    assert not state.is_sparse
    state.release(rows[:-3])
    assert state.is_sparse
    compact = open_rows(state.compact())
    assert sorted(picture(compact).values()) == sorted(picture(state).values())
    assert compact.numbers() == [0, 1, 2]
    assert not compact.is_sparse


def _base(**members: Any) -> Part:
    state = open_rows()
    add(state, [state.new_row(("ann",)), state.new_row(("bob",))])
    return msgspec.structs.replace(state.base(), **members)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([Part(changed=[0], changed_columns=[b"\0" * 8, [1], [1.0], [1.0], b"\0" * 8])], None),
        ([_base(new=3)], "has not 6 columns of 3 scalars"),
        ([_base(new_columns=[["ann", "bob"]])], "has not 6 columns of 2 scalars"),
        ([_base(), _base()], "a base is not the first part"),
        ([_base(), Part(new=[2], new_columns=[["eve"], b"\0" * 8])], "has not 6 columns of 1 scalars"),
        ([_base(gone=[1]), Part(changed=[1], changed_columns=[[1]] * 5)], "changes a row that no part before it has"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: list[Part], message: str | None) -> None:
    with pytest.raises((CheckpointCorrupt, IndexError), match=message):
        OpenRows(1, (7,), AGGREGATES, parts)


STEPS = st.lists(
    st.tuples(st.sampled_from(["new", "new", "add", "add", "merge", "close", "save", "base"]), st.integers(0, 10**6)),
    max_size=60,
)


@given(STEPS)
def test_base_and_deltas_bring_back_what_is_open(steps: list[tuple[str, int]]) -> None:
    """Closing is left to the watermark: a row that closes is in no part, and whoever loads the chain drops it."""
    state, chain = open_rows(), [open_rows().base()]
    closed: set[int] = set()
    for step, choice in steps:
        rows = state.numbers()
        match step:
            case "new":
                state.new_row((str(choice),))
            case "add" if rows:
                add(state, [rows[choice % len(rows)]], choice / 4, choice)
            case "merge" if len(rows) > 1:
                state.merge(rows[choice % len(rows)], rows[choice % len(rows) - 1])
                state.release([rows[choice % len(rows) - 1]])
            case "close" if rows:
                state.release([rows[choice % len(rows)]])
                closed.add(rows[choice % len(rows)])
            case "save":
                chain.append(state.delta(state.changes()))
                state.written()
            case "base":
                chain, closed = [state.base()], set()
                state.written()
    chain.append(state.delta(state.changes()))
    restored = open_rows(*chain)
    restored.release([row for row in closed if row in restored.numbers() and row not in state.numbers()])
    assert picture(restored) == picture(state)
