"""The watermark before each record."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.watermark import BEFORE_ALL_MS, before_each

TIMES = st.lists(st.integers(-(10**14), 10**14), max_size=12)


def test_it_follows_the_maximum_at_a_distance():
    """Event times    10   30   20   40          out_of_orderness_ms = 5
    watermarks      -∞    5   25   25   35
    """
    assert before_each([10, 30, 20, 40], BEFORE_ALL_MS, 5) == [BEFORE_ALL_MS, 5, 25, 25, 35]


def test_without_records_it_stays():
    assert before_each([], 7, 5) == [7]


def test_a_late_record_does_not_move_it():
    assert before_each([10], 100, 5) == [100, 100]


def test_times_before_1970_count():
    assert before_each([-10, -30, -5], BEFORE_ALL_MS, 5)[1:] == [-15, -15, -10]


@settings(deadline=None)
@given(times_ms=TIMES, start_ms=st.integers(-(10**14), 10**14), distance_ms=st.integers(0, 10**9))
def test_it_never_goes_back_and_is_the_maximum_so_far(times_ms, start_ms, distance_ms):
    watermarks = before_each(times_ms, start_ms, distance_ms)
    assert watermarks == sorted(watermarks)
    assert watermarks == [
        max([start_ms, *(time_ms - distance_ms for time_ms in times_ms[:n])]) for n in range(len(times_ms) + 1)
    ]


@settings(deadline=None)
@given(earlier_ms=TIMES, later_ms=TIMES, distance_ms=st.integers(0, 10**9))
def test_where_a_batch_is_cut_changes_nothing(earlier_ms, later_ms, distance_ms):
    first = before_each(earlier_ms, BEFORE_ALL_MS, distance_ms)
    second = before_each(later_ms, first[-1], distance_ms)
    assert first + second[1:] == before_each(earlier_ms + later_ms, BEFORE_ALL_MS, distance_ms)
