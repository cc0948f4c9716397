"""Quantiles: the guarantee against the exact ones, and the same state from every order and division."""

import math
import random
import statistics

import pytest
from aggregating import partial_of, result_of, state_of, stored
from arro3.core import DataType, Field
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigurationError
from headrace.quantiles import MAX_BUCKETS, Quantile, Quantiles

P95 = Quantile("latency_ms", 0.95)
EVERY = (0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
ALL_OF_THEM = Quantiles("latency_ms", EVERY)
FLOATS = st.sampled_from([0.0, -0.0, math.nan, math.inf]) | st.floats(
    allow_nan=True, allow_infinity=True, allow_subnormal=True
)
NORMAL = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)


def exact(values, quantile):
    """The smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(1, math.ceil(round(quantile * len(values), 6))) - 1]


@pytest.mark.parametrize(
    ("quantile", "values", "result"),
    [
        (0.5, [], None),
        (0.5, [None, math.nan], None),
        (0.5, [100], 100.0),
        (0.95, [7.3, 7.3, 7.3], 7.3),
        (0.0, [3, 1, 2], 1.0),
        (1.0, [3, 1, 2], 3.0),
        (0.5, [None, 0, 0.0, -0.0, 1, -1], 0.0),
        (0.5, [math.nan, 1.0, math.nan], 1.0),
        (0.5, [-math.inf, 1.0, math.inf], 1.0078125),
        (0.9, [1.0, math.inf, math.inf], math.inf),
        (0.4, [-math.inf, -math.inf, -math.inf, 1.0], -math.inf),
        (0.5, [1.0, math.inf, math.inf, math.inf], math.inf),
        (0.07, [1] * 7 + [2] * 93, 1.0078125),  # 0.07 * 100 is a little more than 7
    ],
)
def test_results(quantile, values, result):
    """Absent values and NaN are none; the smallest and the largest value are exact; infinities are values."""
    assert result_of(Quantile("x", quantile), *values) == result


def zipf(chance):
    return int(chance.paretovariate(1.1))


def log_normal(chance):
    return chance.lognormvariate(4, 1.5)


def both_signs(chance):
    return chance.gauss(0, 1000)


@pytest.mark.parametrize("draw", [zipf, log_normal, both_signs])
@pytest.mark.parametrize("number", [10, 1000, 50_000])
def test_quantiles_of_skewed_values_are_within_one_part_in_128(draw, number):
    chance = random.Random(number)
    values = [draw(chance) for _ in range(number)]
    found = result_of(ALL_OF_THEM, *values)
    for name, quantile in zip(found, EVERY, strict=True):
        assert found[name] == pytest.approx(exact(values, quantile), rel=1 / 128, abs=0), name
    for quantile in EVERY:
        assert result_of(Quantile("x", quantile), *values) == found[f"p{100 * quantile:g}".replace(".", "_")]


@settings(deadline=None)
@given(values=st.lists(NORMAL, min_size=1, max_size=30), quantile=st.sampled_from(EVERY))
def test_the_guarantee_holds_from_the_smallest_to_the_largest_double(values, quantile):
    found = result_of(Quantile("x", quantile), *values)
    assert found == pytest.approx(exact(values, quantile), rel=1 / 128, abs=0)


@settings(deadline=None)
@given(data=st.data(), values=st.lists(st.none() | FLOATS, max_size=40))
def test_the_state_is_the_same_however_the_events_are_cut_ordered_and_divided(data, values):
    """Byte by byte."""
    events = list(enumerate(values))
    whole = stored(P95, state_of(P95, events))
    cuts = data.draw(st.sets(st.integers(1, 40)))
    assert stored(P95, state_of(P95, events, cuts=cuts)) == whole
    assert stored(P95, state_of(P95, events, cuts=range(40))) == whole
    assert stored(P95, state_of(P95, data.draw(st.permutations(events)))) == whole
    cut = data.draw(st.integers(0, 40))
    assert stored(P95, P95.merge(state_of(P95, events[:cut]), state_of(P95, events[cut:]))) == whole


def test_zero_has_no_sign():
    """Else the order of 0.0 and -0.0 would show."""
    assert len({stored(P95, state_of(P95, enumerate(zeros))) for zeros in ([0.0, -0.0], [-0.0, 0.0], [0, -0.0])}) == 1


OCTAVES_100 = [2.0**exponent * (1 + step / 64) for exponent in range(-50, 50) for step in range(64)]
EVERY_OCTAVE = [sign * 2.0**exponent * step for exponent in range(-1022, 1023) for sign in (1, -1) for step in (1, 1.5)]


@pytest.mark.parametrize(
    ("values", "bits"), [(OCTAVES_100, 5), (EVERY_OCTAVE, 0)], ids=["100 octaves", "every double's octave"]
)
def test_too_many_buckets_become_half_as_many_whatever_the_order(values, bits):
    """The error doubles each time, for all values alike; the state is bounded."""
    chance = random.Random(1)
    whole = state_of(P95, enumerate(values))
    assert whole[0].bits == bits
    assert len(whole[0].counts) <= MAX_BUCKETS
    assert len(partial_of(P95, whole)[0]) < 3 * MAX_BUCKETS
    for _ in range(3):
        shuffled = chance.sample(values, len(values))
        parts = [state_of(P95, enumerate(shuffled[start::3]), cuts=[500, 1500]) for start in range(3)]
        merged = P95.merge(P95.merge(*parts[:2]), parts[2])
        assert stored(P95, merged) == stored(P95, state_of(P95, enumerate(shuffled))) == stored(P95, whole)
    for quantile in EVERY:
        found = Quantile("x", quantile).result(whole)
        assert found == pytest.approx(exact(values, quantile), rel=2.0 ** -(bits + 1), abs=0)


def test_quantiles_stay_within_their_error_after_merging_many_partitions():
    chance = random.Random(5)
    values = [log_normal(chance) for _ in range(20_000)]
    merged = ALL_OF_THEM.initial()
    for start in range(0, 20_000, 500):
        part = partial_of(ALL_OF_THEM, state_of(ALL_OF_THEM, enumerate(values[start : start + 500])))
        merged = ALL_OF_THEM.merge(merged, part)
    assert ALL_OF_THEM.result(merged) == result_of(ALL_OF_THEM, *values)
    assert ALL_OF_THEM.result(merged)["p50"] == pytest.approx(statistics.median(values), rel=1 / 128)


def test_merging_changes_neither_part():
    parts = [state_of(P95, [(0, value)]) for value in (1, 2)]
    before = [stored(P95, part) for part in parts]
    for merged in (P95.merge(*parts), P95.merge(P95.initial(), parts[0]), P95.merge(parts[0], P95.initial())):
        P95.add([[merged[0]]], [0], [3], [0])
    assert [stored(P95, part) for part in parts] == before


def test_several_quantiles_are_a_struct_of_percentages():
    aggregate = Quantiles("x", (0.5, 0.29, 0.999))
    members = [Field(name, DataType.float64(), nullable=False) for name in ("p50", "p29", "p99_9")]
    assert aggregate.result_type(DataType.int64()) == DataType.struct(members)
    assert result_of(aggregate) is None
    assert list(result_of(aggregate, 1)) == ["p50", "p29", "p99_9"]


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        (lambda: Quantile("x", 95), r"Quantile\('x'\) needs quantiles from 0 to 1, not 95"),
        (lambda: Quantile("x", math.nan), "not nan"),
        (lambda: Quantiles("x", (0.5, -0.1)), "not -0.1"),
        (lambda: Quantiles("x", ()), "each once"),
        (lambda: Quantiles("x", (0.5, 0.5)), "each once"),
        (lambda: P95.result_type(DataType.string()), "needs a number field"),
        (lambda: ALL_OF_THEM.result_type(DataType.timestamp("ms")), "needs a number field"),
    ],
)
def test_what_is_no_quantile_is_refused_when_it_is_declared(declare, problem):
    with pytest.raises(ConfigurationError, match=problem):
        declare()
