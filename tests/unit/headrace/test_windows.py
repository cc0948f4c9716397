"""Which windows there are. What happens in them is tested with the operators."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigurationError
from headrace.windows import SessionWindows, TumblingWindows


@pytest.mark.parametrize(
    ("time_ms", "start_ms"),
    [(0, 0), (59, 0), (60, 60), (119, 60), (-1, -60), (-60, -60), (-61, -120), (1_710_331_200_059, 1_710_331_200_000)],
)
def test_tumbling_windows_are_aligned_to_the_epoch_and_half_open(time_ms, start_ms):
    """-60        0        60        120
    |--------|--------|---------|        size_ms = 60
    """
    assert TumblingWindows(size_ms=60).start_ms(time_ms) == start_ms


@settings(deadline=None)
@given(time_ms=st.integers(-(2**62), 2**62), size_ms=st.integers(1, 2**40))
def test_every_time_lies_in_exactly_the_window_that_starts_there(time_ms, size_ms):
    windows = TumblingWindows(size_ms)
    start_ms = windows.start_ms(time_ms)
    assert start_ms <= time_ms < start_ms + size_ms
    assert start_ms % size_ms == 0
    assert windows.start_ms(start_ms) == start_ms


@pytest.mark.parametrize("nothing_ms", [0, -1])
def test_windows_of_nothing_are_refused_naming_the_setting(nothing_ms):
    with pytest.raises(ConfigurationError, match=f"size_ms must be positive, not {nothing_ms}"):
        TumblingWindows(nothing_ms)
    with pytest.raises(ConfigurationError, match=f"gap_ms must be positive, not {nothing_ms}"):
        SessionWindows(nothing_ms)


def test_one_millisecond_is_enough():
    assert TumblingWindows(1).start_ms(-7) == -7
    assert SessionWindows(1).gap_ms == 1


@pytest.mark.parametrize("windows", [TumblingWindows(60), SessionWindows(60)])
def test_configurations_are_frozen_values(windows):
    assert windows == type(windows)(60) != type(windows)(61)
    with pytest.raises(AttributeError):
        setattr(windows, msgspec.structs.fields(windows)[0].name, 1)
