"""Counting different values: exactly while they are few, within the stated error when they are many."""

import math
import os
import random
import subprocess
import sys

import pytest
from aggregating import partial_of, result_of, state_of, stored
from arro3.core import DataType, Field
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.distinct_count import DistinctCount
from headrace.errors import ConfigurationError

USERS = DistinctCount("user_id")
SMALL = DistinctCount("user_id", precision=4)
"""Two values are too many for it."""
VALUES = st.none() | st.integers(1, 40) | st.sampled_from([0.0, -0.0, math.nan])


@pytest.mark.parametrize(
    ("values", "result"),
    [
        ([], 0),
        ([None, None], 0),
        (["a", "b", None, "a"], 2),
        ([1, 2, 1, 0], 3),
        ([b"a", b"", b"a"], 2),
        ([True, False, True], 2),
        ([math.nan, 1.5, -math.nan], 1),
        ([0.0, -0.0], 1),
        ([math.inf, -math.inf, math.inf], 2),
        ([1.0, math.nextafter(1.0, 2.0)], 2),
        ([-(2**63), 2**63 - 1, -1], 3),
        (range(511), 511),
    ],
)
def test_few_values_are_counted_exactly(values, result):
    """Absent values and NaN are none; 0.0 and -0.0 are one."""
    assert result_of(USERS, *values) == result


def skewed(number, seed):
    """Values of which a few make up most events (Zipf), and a user's id each."""
    chance = random.Random(seed)
    return [f"user-{int(chance.paretovariate(0.4))}" for _ in range(number)]


@pytest.mark.parametrize("precision", [8, 12, 14])
@pytest.mark.parametrize("values", [range(600), range(20_000), skewed(60_000, 1)], ids=["600", "20,000", "zipf"])
def test_many_values_are_counted_within_the_stated_error(precision, values):
    """Four standard errors: a good hash exceeds them once in 16,000 times, and this one is always the same."""
    number = len(set(values))
    found = result_of(DistinctCount("user_id", precision), *values)
    assert abs(found - number) <= number * 4 * 1.04 / math.sqrt(2**precision)


def test_the_stated_error_is_that_of_many_windows():
    """The root mean square over 60 disjoint sets is near the standard error, neither larger nor suspiciously small."""
    errors = [result_of(DistinctCount("x", 8), *range(n * 3000, n * 3000 + 3000)) / 3000 - 1 for n in range(60)]
    standard_error = 1.04 / math.sqrt(2**8)
    assert 0.7 < math.sqrt(sum(error**2 for error in errors) / 60) / standard_error < 1.3


@pytest.mark.parametrize("aggregate", [USERS, SMALL], ids=["hashes", "registers"])
@settings(deadline=None)
@given(data=st.data(), values=st.lists(VALUES, max_size=60))
def test_the_state_is_the_same_however_the_events_are_cut_ordered_and_divided(aggregate, data, values):
    """Byte by byte."""
    events = list(enumerate(values))
    whole = state_of(aggregate, events)
    cuts = data.draw(st.sets(st.integers(1, 60)))
    assert stored(aggregate, state_of(aggregate, events, cuts=cuts)) == stored(aggregate, whole)
    assert stored(aggregate, state_of(aggregate, events, cuts=range(60))) == stored(aggregate, whole)
    assert stored(aggregate, state_of(aggregate, data.draw(st.permutations(events)))) == stored(aggregate, whole)
    cut = data.draw(st.integers(0, 60))
    merged = aggregate.merge(state_of(aggregate, events[:cut]), state_of(aggregate, events[cut:]))
    assert stored(aggregate, merged) == stored(aggregate, whole)
    assert aggregate.result(merged) == aggregate.result(whole)


def test_forty_partitions_merged_are_the_whole():
    values = skewed(40_000, 2)
    parts = [state_of(USERS, enumerate(values[start : start + 1000])) for start in range(0, 40_000, 1000)]
    merged = USERS.initial()
    for part in parts:
        merged = USERS.merge(merged, partial_of(USERS, part))  # the bytes of a partial row are a state
    assert stored(USERS, merged) == stored(USERS, state_of(USERS, enumerate(values)))


@pytest.mark.parametrize("number", [0, 1, 511, 512, 20_000])
def test_a_window_is_bounded(number):
    (state,) = partial_of(USERS, state_of(USERS, enumerate(range(number))))
    assert len(state) == min(8 * number, 4096)


def test_merging_changes_neither_part():
    parts = [state_of(aggregate, enumerate(range(9))) for aggregate in (SMALL, SMALL)]
    before = [stored(SMALL, part) for part in parts]
    (merged,) = SMALL.merge(*parts)
    SMALL.add([[merged]], [0], ["one more"], [0])
    (alone,) = SMALL.merge(SMALL.initial(), parts[0])
    SMALL.add([[alone]], [0], ["one more"], [0])
    assert [stored(SMALL, part) for part in parts] == before


def test_every_process_finds_the_same_bytes():
    program = """if True:
        from headrace.distinct_count import DistinctCount
        cells = [b"", b""]
        DistinctCount("x").add([cells], [0] * 3 + [1] * 1000, ["a", "ß", 1.5, *map(str, range(1000))], [0] * 1003)
        for cell in DistinctCount("x").stored([cells], [0, 1])[0]:
            print(cell.hex())
    """
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().startswith("da1e69220d1b6a65af954ea489c889b52632857cdd3496e5\n"), (
        "snapshots of before are lost"
    )


@pytest.mark.parametrize("precision", [3, 17])
def test_a_wrong_precision_is_refused(precision):
    with pytest.raises(ConfigurationError, match=f"4 to 16 bits, not {precision}"):
        DistinctCount("x", precision)


def test_the_column_is_an_integer_of_any_field_but_an_array():
    assert USERS.result_type(DataType.string()) == DataType.int64()
    with pytest.raises(ConfigurationError, match="not an array"):
        USERS.result_type(DataType.list(Field("element", DataType.string(), nullable=False)))
