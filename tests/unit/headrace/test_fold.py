"""Aggregates of one's own, and what is said of wrong ones."""

import re
from operator import itemgetter
from pathlib import Path

import msgspec
import pytest
from aggregating import partial_of, result_of, state_of, stored
from arro3.core import DataType
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigurationError
from headrace.fold import Folded

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "aggregates.md"


def documented():
    """What the document's example defines."""
    names = {"__name__": "documented"}
    for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        exec(code, names)
    return names


class Journey(msgspec.Struct, frozen=True):
    """The pages in the order of their times, without repetitions: a state that changes in place."""

    longest: int = 3

    def initial(self):
        return []

    def add(self, state, value, time_ms):
        state.append((time_ms, value))
        state.sort(key=itemgetter(0))
        return state

    def merge(self, earlier, later):
        earlier += later
        later.clear()
        return earlier

    def result(self, state):
        return " > ".join(value for _, value in state[: self.longest]) or None

    def snapshot(self, state):
        return state

    def restore(self, snapshot):
        return [tuple(pair) for pair in snapshot]

    def result_type(self, field_type):
        return DataType.string()


JOURNEY = Folded(Journey(), "page")
EVENTS = st.lists(st.tuples(st.integers(0, 9), st.none() | st.text("ab", max_size=2)), max_size=8)


@pytest.mark.parametrize("values", [[], [None], [4.0], [2.0, None, 8.0], [1.0, 10.0, 100.0]])
def test_the_documents_example_works(values):
    geometric_mean = documented()["aggregates"]["typical_value"]
    present = [value for value in values if value is not None]
    expected = None
    if present:
        product = 1.0
        for value in present:
            product *= value
        expected = pytest.approx(product ** (1 / len(present)))
    assert result_of(geometric_mean, *values) == expected
    parts = [state_of(geometric_mean, enumerate(part)) for part in (values[:1], values[1:])]
    assert geometric_mean.result(geometric_mean.merge(*parts)) == expected
    assert geometric_mean.result_type(DataType.float64()) == DataType.float64()


@settings(deadline=None)
@given(events=EVENTS, cuts=st.sets(st.integers(1, 8)), cut=st.integers(0, 8))
def test_where_a_batch_is_cut_changes_nothing(events, cuts, cut):
    """Nor that its parts are merged."""
    whole = state_of(JOURNEY, events)
    present = sorted([event for event in events if event[1] is not None], key=itemgetter(0))
    assert JOURNEY.result(whole) == (" > ".join(value for _, value in present[:3]) or None)
    assert stored(JOURNEY, state_of(JOURNEY, events, cuts=cuts)) == stored(JOURNEY, whole)
    assert stored(JOURNEY, state_of(JOURNEY, events, cuts=range(9))) == stored(JOURNEY, whole)
    events.sort(key=itemgetter(0))
    merged = JOURNEY.merge(state_of(JOURNEY, events[:cut]), state_of(JOURNEY, events[cut:]))
    assert JOURNEY.result(merged) == JOURNEY.result(whole)


def test_whatever_a_merge_does_to_its_arguments_no_other_window_sees_it():
    parts = [state_of(JOURNEY, [(1, "a")]), state_of(JOURNEY, [(2, "b")])]
    merged = JOURNEY.merge(*parts)
    alone = JOURNEY.merge(parts[0], JOURNEY.initial())
    for state in (merged, alone):
        JOURNEY.add([[state[0]]], [0], ["c"], [3])
    assert [JOURNEY.result(state) for state in (*parts, merged)] == ["a", "b", "a > b > c"]


def test_without_a_field_every_event_counts():
    class Busiest(Journey, frozen=True):
        def add(self, state, value, time_ms):
            return super().add(state, repr(value), time_ms)

    assert result_of(Folded(Busiest(longest=2)), "anything", None, 1) == "None > None"


class Restoring(Journey, frozen=True):
    """Counts what it restores."""

    restored: list = msgspec.field(default_factory=list)

    def restore(self, snapshot):
        self.restored.append(snapshot)
        return super().restore(snapshot)


def test_a_turn_restores_only_what_its_events_touch():
    """Of a snapshot of a thousand windows, two are touched; the others are stored as they were."""
    aggregate = Folded(Restoring(), "page")
    (cells,) = aggregate.stored([[state_of(JOURNEY, [(n, "a")])[0] for n in range(1000)]], range(1000))
    columns = aggregate.restored([list(cells)])
    aggregate.fold.restored.clear()
    aggregate.add(columns, [7, 900, 7], ["b", "b", "c"], [2000, 2000, 2001])
    (again,) = aggregate.stored(columns, range(1000))
    assert len(aggregate.fold.restored) == 2
    assert [n for n in range(1000) if cells[n] != again[n]] == [7, 900]


def test_partial_rows_carry_the_state():
    assert JOURNEY.partials("path", DataType.string()) == [("path__sketch", DataType.binary())]
    assert JOURNEY.merged("path") is None
    (partial,) = partial_of(JOURNEY, state_of(JOURNEY, [(5, "a")]))
    assert JOURNEY.result(JOURNEY.merge((partial,), state_of(JOURNEY, [(6, "b")]))) == "a > b"


class Plain:
    """Everything but the settings that a struct has."""

    initial = Journey.initial
    add, merge, result, snapshot = Journey.add, Journey.merge, Journey.result, Journey.snapshot
    restore, result_type = Journey.restore, Journey.result_type


class Halfway(msgspec.Struct, frozen=True):
    def initial(self):
        return 0


class Objects(Journey, frozen=True):
    def snapshot(self, state):
        return {"state": object()}


class TooLarge(Journey, frozen=True):
    def snapshot(self, state):
        return 2**64


class Forgetful(Journey, frozen=True):
    def restore(self, snapshot):
        return [(0, "something else")]


@pytest.mark.parametrize(
    ("fold", "problem"),
    [
        (Halfway(), "Halfway is not a Fold: it has no method add, merge, result, snapshot, restore, result_type"),
        (None, "NoneType is not a Fold: it has no method initial"),
        (Journey, "Journey must be an instance of a frozen msgspec.Struct"),
        (Plain(), "Plain must be an instance of a frozen msgspec.Struct"),
        (Objects(), "Objects.snapshot must give plain data: a object is not"),
        (TooLarge(), "TooLarge.snapshot must give plain data"),
        (Forgetful(), "Forgetful: what restore makes of a snapshot has another snapshot"),
    ],
)
def test_a_wrong_fold_is_refused_by_name_when_it_is_declared(fold, problem):
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        Folded(fold, "page")


def test_a_snapshot_that_stops_being_plain_data_is_named():
    class Late(Journey, frozen=True):
        def snapshot(self, state):
            return [state, object()] if state else []

    aggregate = Folded(Late(), "page")
    with pytest.raises(ConfigurationError, match=r"Late\.snapshot must give plain data: a object is not"):
        stored(aggregate, state_of(aggregate, [(0, "a")]))


def test_a_fold_without_a_result_type_is_named():
    class Untyped(Journey, frozen=True):
        def result_type(self, field_type):
            return None

    with pytest.raises(ConfigurationError, match=r"Untyped\.result_type must give an arro3 DataType, not None"):
        Folded(Untyped(), "page").result_type(DataType.string())
