"""What counts as a time, and which one it is."""

import calendar
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.event_time import event_time_ms
from headrace.log_formats.format import Unparsable

NOON_MS = 1_431_857_103_000
"""2015-05-17T10:05:03Z"""


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        # RFC 3339 and ISO 8601
        ("2015-05-17T10:05:03Z", NOON_MS),
        ("2015-05-17t10:05:03z", NOON_MS),
        ("2015-05-17T10:05:03+00:00", NOON_MS),
        ("2015-05-17T10:05:03-00:00", NOON_MS),
        ("2015-05-17T12:05:03+02:00", NOON_MS),
        ("2015-05-17T12:05:03+0200", NOON_MS),
        ("2015-05-17T12:05:03+02", NOON_MS),
        ("2015-05-17 12:05:03 +0200", NOON_MS),
        ("2015-05-17T04:35:03-05:30", NOON_MS),
        ("2015-05-17T10:05:03", NOON_MS),
        ("2015-05-17 10:05:03", NOON_MS),
        ("2015-05-17T10:05:03.7Z", NOON_MS + 700),
        ("2015-05-17 10:05:03,789", NOON_MS + 789),
        ("2015-05-17 10:05:03.7", NOON_MS + 700),
        ("2015-05-17T10:05:03.78", NOON_MS + 780),
        ("2015-05-17T10:05:03.789999999Z", NOON_MS + 789),
        ("2015-05-17T10:05Z", NOON_MS - 3_000),
        ("2015-05-17", NOON_MS - 36_303_000),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("2016-02-29T00:00:00Z", 1_456_704_000_000),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        # access logs
        ("17/May/2015:10:05:03 +0000", NOON_MS),
        ("17/May/2015:12:05:03 +0200", NOON_MS),
        ("17/May/2015:04:35:03 -0530", NOON_MS),
        ("17/May/2015:10:05:03", NOON_MS),
        # nginx's error log, mail, C
        ("2015/05/17 10:05:03", NOON_MS),
        ("Sun, 17 May 2015 10:05:03 GMT", NOON_MS),
        ("2015-05-17 10:05:03.000 UTC", NOON_MS),
        ("2015-05-17 10:05:03 GMT", NOON_MS),
        ("17 May 2015 12:05:03 +0200", NOON_MS),
        ("Sun May 17 10:05:03 2015", NOON_MS),
        ("Sun May 17 05:05:03 EST 2015", NOON_MS),
        ("Sun May 17 10:05:03.789123 2015", NOON_MS + 789),
        ("Sun Nov  1 00:00:00 2026", 1_793_491_200_000),
        # numbers: the unit is told by the size
        (0, 0),
        (-1, -1_000),
        (1_431_857_103, NOON_MS),
        (1_431_857_103_123, NOON_MS + 123),
        (1_431_857_103_123_999, NOON_MS + 123),
        (1_431_857_103_123_999_999, NOON_MS + 123),
        (1_431_857_103.123, NOON_MS + 123),
        (1_431_857_103.29, NOON_MS + 290),
        (1_431_857_103_123.9, NOON_MS + 123),
        (1.431857103123e15, NOON_MS + 123),
        (99_999_999_999, 99_999_999_999_000),
        (100_000_000_000, 100_000_000_000),
        (99_999_999_999_999, 99_999_999_999_999),
        (100_000_000_000_000, 100_000_000_000),
        (99_999_999_999_999_999, 99_999_999_999_999),
        (100_000_000_000_000_000, 100_000_000_000),
        ("1431857103", NOON_MS),
        ("1431857103.123", NOON_MS + 123),
        ("1431857103123456789.123", NOON_MS + 123),
        ("1431857103123", NOON_MS + 123),
        ("-143185710", -143_185_710_000),
    ],
)
def test_a_time_is_milliseconds_since_the_epoch(value, expected_ms):
    assert event_time_ms(value) == expected_ms


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "-", "now", "10:05:03", "20150517", "2015-W20-1"),
        *("2015-02-30T10:05:03Z", "2015-13-01T10:05:03Z", "2015-00-01", "2015-02-29", "0000-01-01"),
        *("2015-05-17T24:00:00Z", "2015-05-17T10:60:00Z", "2015-06-30T23:59:60Z"),
        *("2015-05-17T10:05:03.", "2015-05-17T10:05:03.1234567890Z", "2015-05-17T10:05:03+24:00"),
        *("2015-05-17T10:05:03+00:60", "2015-05-17T10:05:03 CET", "2015-05-17T10:05:03Z\n", "\uff12015-05-17"),
        *("30/Feb/2015:10:05:03 +0000", "17/Mai/2015:10:05:03 +0000", "00/May/2015:10:05:03 +0000"),
        *("17/May/2015:10:05:61 +0000", "17/May/2015:10:05:03 +9900", "17/may/2015:10:05:03 +0000"),
        *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", -99_999_999_999, 10**30, 1e300, -1e300),
        *("Sun May 17 10:05:03 CET 2015", "Sun Mai 17 10:05:03 2015", "32 May 2015 10:05:03 GMT"),
        *("2015-05-17T10:05:03.12 3Z", "2015/05-17 10:05:03", "1431857103" + "0" * 100),
        *("1" * 22, "1_431_857_103", "+1431857103", "1e9", "NaN"),
        *(True, None, [], {}, float("nan"), float("inf")),
    ],
)
def test_what_is_no_time_is_poison(value):
    with pytest.raises(Unparsable) as caught:
        event_time_ms(value)
    assert caught.value.reason == "invalid_time"
    assert len(caught.value.detail) < 120


@settings(deadline=None)
@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)),  # noqa: DTZ001 - Hypothesis wants them naive
    st.integers(-23 * 60, 23 * 60),
)
def test_text_is_read_as_the_standard_library_writes_it(naive, offset_minutes):
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    expected_ms = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert event_time_ms(moment.isoformat()) == expected_ms
    assert event_time_ms(moment.strftime("%Y-%m-%d %H:%M:%S,%f %z").rjust(32, "0")) == expected_ms


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1000, 1, 1)), st.sampled_from(["+0000", "-0700", "+0530"]))  # noqa: DTZ001 - same
def test_an_access_logs_time_is_read_as_the_standard_library_reads_it(naive, offset):
    month = calendar.month_abbr[naive.month]
    text = f"{naive:%d}/{month}/{naive:%Y:%H:%M:%S} {offset}"
    moment = datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    expected_ms = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    if expected_ms <= 253_402_300_799_999:
        assert event_time_ms(text) == expected_ms


@settings(deadline=None)
@given(st.text() | st.integers() | st.floats() | st.from_regex(r"[0-9:T./+ -]{8,30}", fullmatch=True))
def test_nothing_else_than_poison_is_raised(value):
    try:
        assert isinstance(event_time_ms(value), int)
    except Unparsable as poison:
        assert poison.reason == "invalid_time"  # noqa: PT017 - most values are no times; either outcome is right
