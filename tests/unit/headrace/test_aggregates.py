"""What windows keep: growing one by one, merging, results and their types."""

import math

import msgspec
import pytest
from aggregating import merged_by_sql, result_of, state_of, stored
from arro3.core import DataType
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.aggregates import MAX_INT64, MIN_INT64, Count, First, Last, Max, Mean, Min, Sum, merge_rule
from headrace.distinct_count import DistinctCount
from headrace.errors import ConfigurationError

ALL = [Count(), Sum("x"), Min("x"), Max("x"), Mean("x"), First("x"), Last("x")]
NAMES = [type(aggregate).__name__ for aggregate in ALL]


@pytest.mark.parametrize(
    ("aggregate", "values", "result"),
    [
        (Count(), [], 0),
        (Count(), [5, None, "x"], 3),
        (Sum("x"), [], None),
        (Sum("x"), [None], None),
        (Sum("x"), [None, 0], 0),
        (Sum("x"), [1, 2, None, 4], 7),
        (Sum("x"), [0.5, None, 0.25], 0.75),
        (Sum("x"), [MAX_INT64, 1], MAX_INT64),
        (Sum("x"), [MIN_INT64, -1], MIN_INT64),
        (Sum("x"), [MAX_INT64, 1, -1], MAX_INT64 - 1),
        (Sum("x"), [1e300, 1e300], 2e300),
        (Sum("x"), [1.7e308, 1.7e308], float("inf")),
        (Min("x"), [], None),
        (Min("x"), [None, 3, 1, None, 2], 1),
        (Min("x"), ["b", "a"], "a"),
        (Max("x"), [], None),
        (Max("x"), [-3, None, -1, -2], -1),
        (Max("x"), [0, -1], 0),
        (Min("x"), [math.nan], None),
        (Min("x"), [math.nan, 2.0, math.nan, 1.0], 1.0),
        (Max("x"), [math.nan, None, 1.0, math.nan, 2.0, math.nan], 2.0),
        (Mean("x"), [], None),
        (Mean("x"), [None, None], None),
        (Mean("x"), [1, None, 2], 1.5),
        (Mean("x"), [0, 0, 1], 1 / 3),
        (First("x"), [], None),
        (First("x"), ["a", "b"], "a"),
        (First("x"), [None, "b"], None),
        (Last("x"), [], None),
        (Last("x"), ["a", "b"], "b"),
        (Last("x"), ["a", None], None),
    ],
)
def test_results(aggregate, values, result):
    """First and Last take the event's field as it is, absent or not; the others ignore absent values."""
    assert result_of(aggregate, *values) == result


def test_floats_are_added_one_by_one_in_offset_order():
    """Compensated summation would give 2.0, and with it a result that depends on where a batch was cut."""
    assert result_of(Sum("x"), 1.0, 1e100, 1.0, -1e100) == 0.0


@pytest.mark.parametrize(
    ("aggregate", "events", "result"),
    [
        (First("x"), [(5, "late"), (3, "early"), (4, "between")], "early"),
        (First("x"), [(3, "lowest offset"), (3, "next")], "lowest offset"),
        (Last("x"), [(3, "early"), (5, "late"), (4, "between")], "late"),
        (Last("x"), [(3, "first"), (3, "highest offset")], "highest offset"),
        (First("x"), [(-5, "before 1970"), (0, "1970")], "before 1970"),
    ],
)
def test_first_and_last_go_by_event_time_then_by_offset(aggregate, events, result):
    assert aggregate.result(state_of(aggregate, events)) == result


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(-(2**40), 2**40)), max_size=8)
ANY_INT64 = st.integers(MIN_INT64, MAX_INT64)


@pytest.mark.parametrize("aggregate", ALL, ids=NAMES)
@settings(deadline=None)
@given(earlier=EVENTS, later=EVENTS)
def test_merging_two_halves_is_the_whole(aggregate, earlier, later):
    """Sessions merge when an event falls between them, so that all events of one come after those of the other."""
    later = [(time_ms + 10, value) for time_ms, value in later]
    merged = aggregate.merge(state_of(aggregate, earlier), state_of(aggregate, later))
    assert merged == state_of(aggregate, earlier + later)


@pytest.mark.parametrize("aggregate", ALL, ids=NAMES)
@settings(deadline=None)
@given(events=EVENTS)
def test_a_state_survives_a_snapshot(aggregate, events):
    state = state_of(aggregate, events)
    restored = msgspec.msgpack.decode(msgspec.msgpack.encode(state))
    assert aggregate.result(restored) == aggregate.result(state)
    assert aggregate.result(aggregate.merge(restored, restored)) == aggregate.result(aggregate.merge(state, state))


@pytest.mark.parametrize("aggregate", [Sum("x"), Min("x"), Max("x"), Mean("x")], ids=type)
@settings(deadline=None)
@given(events=EVENTS)
def test_absent_values_are_ignored(aggregate, events):
    present = [(time_ms, value) for time_ms, value in events if value is not None]
    assert state_of(aggregate, events) == state_of(aggregate, present)


@settings(deadline=None)
@given(events=EVENTS.filter(lambda events: any(value is not None for _, value in events)))
def test_small_integers_agree_with_plain_python(events):
    values = [value for _, value in events if value is not None]
    results = [aggregate.result(state_of(aggregate, events)) for aggregate in ALL[:5]]
    assert results == [len(events), sum(values), min(values), max(values), sum(values) / len(values)]


@settings(deadline=None)
@given(values=st.lists(ANY_INT64, min_size=1, max_size=6), cut=st.integers(0, 6))
def test_integer_sums_stay_within_64_bits_added_or_merged(values, cut):
    total = Sum("x")
    halves = [state_of(total, enumerate(half)) for half in (values[:cut], values[cut:])]
    assert all(MIN_INT64 <= found <= MAX_INT64 for found in (result_of(total, *values), *total.merge(*halves)))
    count_and_sum = state_of(Mean("x"), enumerate(values))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(count_and_sum)) == list(count_and_sum)


@pytest.mark.parametrize(
    ("aggregate", "field_type", "column_type"),
    [
        (Count(), None, DataType.int64()),
        (Sum("x"), DataType.int32(), DataType.int64()),
        (Sum("x"), DataType.int64(), DataType.int64()),
        (Sum("x"), DataType.float32(), DataType.float64()),
        (Sum("x"), DataType.float64(), DataType.float64()),
        (Min("x"), DataType.int32(), DataType.int32()),
        (Max("x"), DataType.timestamp("ms", tz="UTC"), DataType.timestamp("ms", tz="UTC")),
        (Mean("x"), DataType.int32(), DataType.float64()),
        (First("x"), DataType.string(), DataType.string()),
        (Last("x"), DataType.float64(), DataType.float64()),
    ],
)
def test_the_columns_type_follows_from_the_fields(aggregate, field_type, column_type):
    assert aggregate.result_type(field_type) == column_type


EXACT_FLOATS = st.integers(-(2**30), 2**30).map(lambda halves: halves / 2)
"""Their sums are exact: rounding depends on the order, and partitions have none among them."""
TEXTS = st.text("ab", max_size=2)
FIELDS = [(DataType.int64(), st.integers(-(2**40), 2**40)), (DataType.float64(), EXACT_FLOATS)]
ON_FIELDS = [(a, *field) for a in ALL for field in FIELDS] + [
    (a, DataType.string(), TEXTS) for a in ALL if not isinstance(a, Sum | Mean)
]
"""Every aggregate on every type of field that it takes."""
ON_FIELD_NAMES = [f"{type(aggregate).__name__} of {kind!r}" for aggregate, kind, _ in ON_FIELDS]


@pytest.mark.parametrize(("aggregate", "values"), [(a, values) for a, _, values in ON_FIELDS], ids=ON_FIELD_NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_where_a_batch_is_cut_changes_nothing(aggregate, values, data):
    """With a snapshot, written and read again, at every cut."""
    events = data.draw(st.lists(st.tuples(st.integers(0, 5), st.none() | values), min_size=1, max_size=8))
    cuts = data.draw(st.sets(st.integers(1, 8)))
    whole = stored(aggregate, state_of(aggregate, events))
    assert stored(aggregate, state_of(aggregate, events, cuts=cuts)) == whole
    assert stored(aggregate, state_of(aggregate, events, cuts=range(9))) == whole


@pytest.mark.parametrize(("aggregate", "field_type", "values"), ON_FIELDS, ids=ON_FIELD_NAMES)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_partial_rows_merged_by_their_sql_are_the_whole(aggregate, field_type, values, data):
    """Each event is in one of three partitions; no two are at the same time, where any may be first."""
    placed = data.draw(st.lists(st.tuples(st.integers(0, 2), st.none() | values), min_size=1, max_size=8))
    times_ms = data.draw(st.permutations(range(len(placed))))
    events = [(time_ms, value) for time_ms, (_, value) in zip(times_ms, placed, strict=True)]
    partitions = [[e for e, (place, _) in zip(events, placed, strict=True) if place == n] for n in range(3)]
    assert merged_by_sql(aggregate, field_type, partitions) == aggregate.result(state_of(aggregate, events))


def test_what_is_stored_is_chosen_and_ordered_by_row():
    columns = [[1, 2, 3], [10, 20, 30]]
    assert Mean("x").stored(columns, [2, 0]) == [[3, 1], [30, 10]]


def test_partial_tables_say_how_their_rows_merge():
    rule = merge_rule(
        ["window_start", "page"],
        {"events": Count(), 'the "best"': Max("value"), "first": First("page"), "users": DistinctCount("user_id")},
    )
    assert rule == {
        "group_by": ["window_start", "page"],
        "columns": {
            "events": 'sum("events")',
            'the "best"': 'max("the ""best""")',
            "first": First("page").merged("first"),
        },
        "sketches": {"users": "DistinctCount"},
        "aggregates": {
            "events": ["Count", {"field": None}],
            'the "best"': ["Max", {"field": "value"}],
            "first": ["First", {"field": "page"}],
            "users": ["DistinctCount", {"field": "user_id", "precision": 12}],
        },
    }
    assert msgspec.json.decode(msgspec.json.encode(rule)) == rule


@pytest.mark.parametrize("aggregate", [Sum("x"), Mean("x")], ids=["Sum", "Mean"])
def test_a_sum_of_texts_is_refused_when_it_is_declared(aggregate):
    with pytest.raises(ConfigurationError, match="needs a number field"):
        aggregate.result_type(DataType.string())
