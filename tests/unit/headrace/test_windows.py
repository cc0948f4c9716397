"""Which windows there are. What happens in them is tested with the operators."""

import itertools
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigurationError
from headrace.windows import CalendarWindows, HoppingWindows, SessionWindows, SlidingWindows, TumblingWindows, Window

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ANY_TIME_MS = st.integers(-(2**62), 2**62)


def at_ms(text: str) -> int:
    """Epoch milliseconds of an ISO time in UTC."""
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)


def local(time_ms: int, zone: str) -> datetime:
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(zone))


@pytest.mark.parametrize(
    ("time_ms", "start_ms"),
    [(0, 0), (59, 0), (60, 60), (119, 60), (-1, -60), (-60, -60), (-61, -120), (1_710_331_200_059, 1_710_331_200_000)],
)
def test_tumbling_windows_are_aligned_to_the_epoch_and_half_open(time_ms, start_ms):
    """-60        0        60        120
    |--------|--------|---------|        size_ms = 60
    """
    assert TumblingWindows(size_ms=60).containing(time_ms) == [(start_ms, start_ms + 60)]


@given(time_ms=ANY_TIME_MS, size_ms=st.integers(1, 2**40), offset=st.floats(-1, 1, exclude_min=True, exclude_max=True))
def test_every_time_lies_in_exactly_one_tumbling_window_that_its_own_start_names(time_ms, size_ms, offset):
    offset_ms = int(offset * size_ms)
    windows = TumblingWindows(size_ms, offset_ms)
    (window,) = windows.containing(time_ms)
    assert window.start_ms <= time_ms < window.end_ms == window.start_ms + size_ms
    assert (window.start_ms - offset_ms) % size_ms == 0
    assert windows.containing(window.start_ms) == windows.containing(window.end_ms - 1) == [window]
    assert windows.containing(window.end_ms) == [(window.end_ms, window.end_ms + size_ms)]


def test_an_offset_makes_days_that_begin_at_six():
    days = TumblingWindows(size_ms=DAY_MS, offset_ms=6 * HOUR_MS)
    assert days.containing(at_ms("2024-03-13T05:59:59")) == [(at_ms("2024-03-12T06:00"), at_ms("2024-03-13T06:00"))]
    assert days.containing(at_ms("2024-03-13T06:00:00")) == [(at_ms("2024-03-13T06:00"), at_ms("2024-03-14T06:00"))]


@given(
    time_ms=ANY_TIME_MS,
    size_ms=st.integers(1, 1000),
    advance_ms=st.integers(1, 1000),
    offset=st.floats(-1, 1, exclude_min=True, exclude_max=True),
)
def test_hopping_windows_of_a_time_are_all_that_contain_it(time_ms, size_ms, advance_ms, offset):
    """0        60        120       180
    |------------------|                 size_ms = 120: two windows for each time
             |-------------------|       advance_ms = 60
    """
    offset_ms = int(offset * advance_ms)
    windows = list(HoppingWindows(size_ms, advance_ms, offset_ms, leaves_gaps=True).containing(time_ms))
    assert len(windows) in {size_ms // advance_ms, -(-size_ms // advance_ms)}
    assert windows == [
        (start_ms, start_ms + size_ms)
        for start_ms in range(time_ms - size_ms + 1, time_ms + 1)
        if (start_ms - offset_ms) % advance_ms == 0
    ]


@given(time_ms=ANY_TIME_MS, size_ms=st.integers(1, 1000))
def test_hopping_by_the_size_is_tumbling(time_ms, size_ms):
    assert list(HoppingWindows(size_ms, size_ms).containing(time_ms)) == TumblingWindows(size_ms).containing(time_ms)


def test_between_windows_that_leave_gaps_there_is_none():
    """0   10        30  40        size_ms = 10, advance_ms = 30
    |---|         |---|
    """
    windows = HoppingWindows(size_ms=10, advance_ms=30, leaves_gaps=True)
    found = {time_ms: list(windows.containing(time_ms)) for time_ms in (9, 10, 29, 30)}
    assert found == {9: [(0, 10)], 10: [], 29: [], 30: [(30, 40)]}


@given(size_ms=st.integers(1, 10**6), advance_ms=st.integers(1, 10**6))
def test_every_hopping_window_is_a_whole_number_of_panes(size_ms, advance_ms):
    pane_ms = HoppingWindows(size_ms, advance_ms, leaves_gaps=True).pane_ms
    assert size_ms % pane_ms == advance_ms % pane_ms == 0


CALENDAR = st.builds(
    CalendarWindows, unit=st.sampled_from(["day", "week", "month"]), zone=st.sampled_from(sorted(available_timezones()))
)
WHEN_CLOCKS_CHANGE_MS = st.integers(at_ms("1880-01-01"), at_ms("2038-01-01"))
CALENDAR_TIME_MS = WHEN_CLOCKS_CHANGE_MS | st.integers(at_ms("0003-01-01"), at_ms("9997-12-31"))


def period(unit: str, day: date) -> date:
    """The first date of the day, week or month of a date."""
    return {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[unit]


def assert_is_contiguous(windows: CalendarWindows, window: Window) -> None:
    assert windows.containing(window.start_ms) == windows.containing(window.end_ms - 1) == [window]
    assert windows.containing(window.end_ms)[0].start_ms == window.end_ms
    assert windows.containing(window.start_ms - 1)[0].end_ms == window.start_ms


def assert_starts_with_its_first_moment(unit: str, zone: str, start_ms: int) -> None:
    """Another day, week or month than the millisecond before: at midnight, or where clocks skip midnight."""
    before, first = local(start_ms - 1, zone), local(start_ms, zone)
    assert period(unit, before.date()) < period(unit, first.date())
    if first.time() != datetime.min.time():
        assert before.utcoffset() != first.utcoffset(), f"{first} is neither midnight nor a transition"


@given(windows=CALENDAR, time_ms=CALENDAR_TIME_MS)
def test_calendar_windows_of_every_zone_contain_their_times_and_leave_nothing_out(windows, time_ms):
    (window,) = windows.containing(time_ms)
    assert window.start_ms <= time_ms < window.end_ms
    assert_is_contiguous(windows, window)
    assert_starts_with_its_first_moment(windows.unit, windows.zone, window.start_ms)
    first, date_of_it = (local(each_ms, windows.zone).date() for each_ms in (window.start_ms, time_ms))
    if period(windows.unit, date_of_it) != period(windows.unit, first):
        # Clocks went back over midnight: what comes twice belongs to the day that has begun.
        assert date_of_it < first
        assert time_ms - window.start_ms < DAY_MS


@given(windows=CALENDAR, time_ms=WHEN_CLOCKS_CHANGE_MS)
def test_the_same_holds_on_the_day_of_each_transition(windows, time_ms):
    """Times at random hardly ever hit a transition: look for the next one, and around it."""
    zone, day = ZoneInfo(windows.zone), EPOCH + timedelta(milliseconds=time_ms)
    offsets = ((later, later.astimezone(zone).utcoffset()) for later in (day + timedelta(days=n) for n in range(400)))
    changed = next((later for (_, a), (later, b) in itertools.pairwise(offsets) if a != b), day)
    around_ms = (changed - EPOCH) // timedelta(milliseconds=1)
    for hour in range(-48, 48, 3):
        (window,) = windows.containing(around_ms + hour * HOUR_MS)
        assert window.start_ms <= around_ms + hour * HOUR_MS < window.end_ms
        assert_is_contiguous(windows, window)
        assert_starts_with_its_first_moment(windows.unit, windows.zone, window.start_ms)


@pytest.mark.parametrize(
    ("zone", "day", "starts", "hours"),
    [
        pytest.param("Europe/Berlin", "2024-03-30T23:00", "2024-03-30T23:00", 23, id="clocks go forward"),
        pytest.param("Europe/Berlin", "2024-10-27T12:00", "2024-10-26T22:00", 25, id="clocks go back"),
        pytest.param("Australia/Lord_Howe", "2024-04-07T00:00", "2024-04-06T13:00", 24.5, id="by half an hour"),
        pytest.param("America/Toronto", "1919-03-30T12:00", "1919-03-30T05:00", 23.5, id="23:30 becomes 00:30"),
        pytest.param("America/Toronto", "1919-03-31T12:00", "1919-03-31T04:30", 23.5, id="midnight was skipped"),
        pytest.param("America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", 23, id="00:00 becomes 01:00"),
        pytest.param("Africa/Cairo", "2023-10-26T21:30", "2023-10-25T21:00", 25, id="24:00 becomes 23:00"),
        pytest.param(
            "America/St_Johns", "2006-10-29T02:29", "2006-10-28T02:30", 24, id="the day before, but for 59 minutes"
        ),
        pytest.param("America/St_Johns", "2006-10-29T02:45", "2006-10-29T02:30", 25, id="00:01 becomes 23:01"),
        pytest.param(
            "Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", 24, id="the last day before the date line"
        ),
        pytest.param(
            "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", 24, id="the day after the one that was not"
        ),
        pytest.param("UTC", "1969-12-31T23:59", "1969-12-31T00:00", 24, id="before the epoch"),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(zone, day, starts, hours):
    (window,) = CalendarWindows("day", zone).containing(at_ms(day))
    assert window.start_ms == at_ms(starts)
    assert (window.end_ms - window.start_ms) / HOUR_MS == hours


@pytest.mark.parametrize(
    ("unit", "time", "starts", "ends"),
    [
        ("week", "2024-04-03T12:00", "2024-03-31T22:00", "2024-04-07T22:00"),
        ("week", "2024-03-31T21:59", "2024-03-24T23:00", "2024-03-31T22:00"),
        ("month", "2024-03-31T21:59", "2024-02-29T23:00", "2024-03-31T22:00"),
        ("month", "2023-12-31T23:00", "2023-12-31T23:00", "2024-01-31T23:00"),
    ],
)
def test_weeks_begin_on_monday_and_months_on_the_first_of_their_zone(unit, time, starts, ends):
    assert CalendarWindows(unit, "Europe/Berlin").containing(at_ms(time)) == [(at_ms(starts), at_ms(ends))]


@given(windows=CALENDAR, time_ms=st.sampled_from([at_ms("0001-06-01"), at_ms("9999-06-01"), at_ms("0001-01-01")]))
def test_in_the_years_whose_ends_no_zone_reaches_windows_are_days_of_utc(windows, time_ms):
    assert windows.containing(time_ms) == [(time_ms, time_ms + DAY_MS)]


WRONG = {
    "TumblingWindows(0)": "a tumbling window's size_ms must be positive, not 0",
    "TumblingWindows(-1)": "a tumbling window's size_ms must be positive, not -1",
    "TumblingWindows(1.5)": "a tumbling window's size_ms must be positive, not 1.5",
    "TumblingWindows(60, offset_ms=60)": "a tumbling window's offset_ms (60) must be smaller than its size_ms (60)",
    "TumblingWindows(60, offset_ms=-60)": "a tumbling window's offset_ms (-60) must be smaller than its size_ms (60)",
    "HoppingWindows(0, 1)": "a hopping window's size_ms must be positive, not 0",
    "TumblingWindows(10**15)": "a tumbling window's size_ms must be no more than 316224000000000, all time there is, "
    "not 1000000000000000",
    "HoppingWindows(60, 0)": "a hopping window's advance_ms must be positive, not 0",
    "HoppingWindows(60, 9, offset_ms=9)": "a hopping window's offset_ms (9) must be smaller than its advance_ms (9)",
    "HoppingWindows(60, 90)": "a hopping window's advance_ms (90) is larger than its size_ms (60): events between two "
    "windows would be counted nowhere. Say leaves_gaps=True if that is meant",
    "CalendarWindows('year')": "a calendar window's unit must be one of day, week, month, not 'year'",
    "CalendarWindows(zone='Berlín')": "a calendar window's zone 'Berlín' is not in the time zone database",
    "CalendarWindows(zone='Europe')": "a calendar window's zone 'Europe' is not in the time zone database",
    "CalendarWindows(zone='../passwd')": "a calendar window's zone '../passwd' is not in the time zone database",
    "SlidingWindows(0)": "a sliding window's size_ms must be positive, not 0",
    "SessionWindows(0)": "a session window's gap_ms must be positive, not 0",
    "SessionWindows(-1)": "a session window's gap_ms must be positive, not -1",
}
DECLARATIONS = {
    each.__name__: each for each in (CalendarWindows, HoppingWindows, SessionWindows, SlidingWindows, TumblingWindows)
}


@pytest.mark.parametrize(("declaration", "sentence"), WRONG.items(), ids=WRONG)
def test_a_wrong_declaration_is_refused_with_a_sentence_that_names_the_setting(declaration, sentence):
    with pytest.raises(ConfigurationError) as refused:
        eval(declaration, DECLARATIONS)
    assert str(refused.value) == sentence


def test_a_wrong_declaration_stops_the_import_of_its_topology(tmp_path):
    """Nothing has to be deployed, or even called, to hear of it."""
    (tmp_path / "topology.py").write_text(
        "from headrace.windows import HoppingWindows\n\nWINDOW = HoppingWindows(size_ms=60_000, advance_ms=90_000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import topology"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        WRONG["HoppingWindows(60, 90)"].replace("90", "90000").replace("60", "60000")
    )


def test_one_millisecond_is_enough():
    assert TumblingWindows(1).containing(-7) == [(-7, -6)]
    assert list(HoppingWindows(1, 1).containing(-7)) == [(-7, -6)]
    assert SlidingWindows(1).size_ms == SessionWindows(1).gap_ms == 1


@pytest.mark.parametrize(
    ("windows", "same", "other"),
    [
        (TumblingWindows(60), TumblingWindows(60, 0), TumblingWindows(60, 1)),
        (HoppingWindows(60, 20), HoppingWindows(60, 20, 0), HoppingWindows(60, 30)),
        (CalendarWindows(), CalendarWindows("day", "UTC"), CalendarWindows("week")),
        (SlidingWindows(60), SlidingWindows(60), SlidingWindows(61)),
        (SessionWindows(60), SessionWindows(60), SessionWindows(61)),
    ],
)
def test_configurations_are_frozen_values(windows, same, other):
    assert windows == same != other
    with pytest.raises(AttributeError):
        setattr(windows, msgspec.structs.fields(windows)[0].name, 1)
