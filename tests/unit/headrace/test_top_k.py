"""The most frequent values: exactly while there is a counter for each, within the stated error beyond."""

import math
import random
from collections import Counter

import pytest
from aggregating import partial_of, result_of, state_of, stored
from arro3.core import DataType, Field
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigurationError
from headrace.top_k import TopK

PAGES = TopK("page", 3)
SMALL = TopK("page", 2, capacity=4)
VALUES = st.none() | st.integers(0, 12)


def pairs(result):
    return [(item["value"], item["count"]) for item in result]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([], []),
        ([None, math.nan], []),
        (["b", "a", None, "b"], [("b", 2), ("a", 1)]),
        (["d", "c", "b", "a"], [("a", 1), ("b", 1), ("c", 1)]),
        ([1, 2, 2, 3, 3, 3, 4], [(3, 3), (2, 2), (1, 1)]),
        ([False, True, True], [(True, 2), (False, 1)]),
        ([-0.0, 0.0, math.inf, math.nan], [(0.0, 2), (math.inf, 1)]),
    ],
)
def test_the_most_frequent_values_come_first_and_equal_ones_by_value(values, best):
    """Absent values and NaN are none; -0.0 is 0.0."""
    assert pairs(result_of(PAGES, *values)) == best
    assert "-0.0" not in str(result_of(PAGES, *values))


@settings(deadline=None)
@given(data=st.data(), values=st.lists(VALUES, max_size=60), k=st.integers(1, 13))
def test_it_is_exact_as_long_as_there_are_counters(data, values, k):
    """In every order and division, as `Counter` would have it."""
    aggregate = TopK("x", k, capacity=13)
    counts = Counter(value for value in values if value is not None)
    best = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:k]
    events = list(enumerate(values))
    assert pairs(aggregate.result(state_of(aggregate, events))) == best
    assert pairs(aggregate.result(state_of(aggregate, data.draw(st.permutations(events))))) == best
    cut = data.draw(st.integers(0, 60))
    merged = aggregate.merge(state_of(aggregate, events[:cut]), state_of(aggregate, events[cut:]))
    assert pairs(aggregate.result(merged)) == best


@pytest.mark.parametrize("aggregate", [PAGES, SMALL], ids=["a counter each", "too few"])
@settings(deadline=None)
@given(data=st.data(), values=st.lists(VALUES, max_size=60))
def test_where_a_batch_is_cut_changes_nothing(aggregate, data, values):
    """Byte by byte, with a snapshot at every cut; also where counts are not exact."""
    events = list(enumerate(values))
    whole = stored(aggregate, state_of(aggregate, events))
    cuts = data.draw(st.sets(st.integers(1, 60)))
    assert stored(aggregate, state_of(aggregate, events, cuts=cuts)) == whole
    assert stored(aggregate, state_of(aggregate, events, cuts=range(60))) == whole


def assert_within_the_error(aggregate, state, values):
    """Never too high, too low by no more than the stated share of the events; no frequent value is missing."""
    truth = Counter(values)
    (live,) = state
    counted = aggregate.opened(live) if isinstance(live, bytes) else live
    assert counted.error <= 2 * len(values) / (aggregate.capacity + 1)
    assert len(counted.counts) <= aggregate.capacity
    for value, count in truth.items():
        assert count - counted.error <= counted.counts.get(value, 0) <= count
    for value, count in pairs(aggregate.result(state)):
        assert truth[value] - counted.error <= count <= truth[value]


@settings(deadline=None)
@given(values=st.lists(st.integers(0, 30), max_size=120), parts=st.integers(1, 8))
def test_beyond_that_no_count_is_further_off_than_stated(values, parts):
    """Also after merging partitions."""
    assert_within_the_error(SMALL, state_of(SMALL, enumerate(values)), values)
    merged = SMALL.initial()
    for part in range(parts):
        merged = SMALL.merge(merged, state_of(SMALL, enumerate(values[part::parts])))
    assert_within_the_error(SMALL, merged, values)


@pytest.mark.parametrize("parts", [1, 40])
def test_the_best_of_skewed_values_are_found_among_many(parts):
    """Zipf: 1,024 counters for 5,000 values find the ten best, in their order."""
    chance = random.Random(7)
    values = [f"page-{int(chance.paretovariate(0.4))}" for _ in range(80_000)]
    aggregate = TopK("page", 10)
    assert len(set(values)) > 5000
    merged = aggregate.initial()
    for part in range(parts):
        merged = aggregate.merge(merged, partial_of(aggregate, state_of(aggregate, enumerate(values[part::parts]))))
    assert_within_the_error(aggregate, merged, values)
    assert [value for value, _ in pairs(aggregate.result(merged))] == [v for v, _ in Counter(values).most_common(10)]


def test_merging_changes_neither_part():
    parts = [state_of(PAGES, [(0, value)]) for value in "ab"]
    before = [stored(PAGES, part) for part in parts]
    for merged in (PAGES.merge(*parts), PAGES.merge(PAGES.initial(), parts[0]), PAGES.merge(parts[0], PAGES.initial())):
        PAGES.add([[merged[0]]], [0], ["a"], [0])
    assert [stored(PAGES, part) for part in parts] == before


def test_the_column_is_a_list_of_values_and_counts():
    item = [Field("value", DataType.string(), nullable=False), Field("count", DataType.int64(), nullable=False)]
    column = DataType.list(Field("element", DataType.struct(item), nullable=False))
    assert PAGES.result_type(DataType.string()) == column
    with pytest.raises(ConfigurationError, match="not an array"):
        PAGES.result_type(column)


@pytest.mark.parametrize("k", [0, 1025])
def test_a_wrong_number_is_refused(k):
    with pytest.raises(ConfigurationError, match=rf"TopK\('page'\) needs a k from 1 to its capacity \(1024\), not {k}"):
        TopK("page", k)
