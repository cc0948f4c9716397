"""The time that a payload states, as epoch milliseconds: from text or from a number of unstated unit.

Text: RFC 3339, or the part of ISO 8601 that reads `YYYY-MM-DD[Thh:mm[:ss[.fraction]][zone]]` (a space for the
`T`, a comma for the point, slashes for the dashes, ` UTC` or ` GMT` for the zone), an access log's
`17/May/2015:10:05:03 +0000`, or the dates of mail and of C's `ctime`: `[Sun, ]17 May 2015 10:05:03 GMT` (RFC 5322) and
`Sun May 17 10:05:03[.fraction] [EST ]2015`. Zones there have the names of RFC 5322 section 4.3 (`GMT`, `EST`, …) or
are offsets; without a zone it is UTC. A leap second (`:60`) is refused.

Numbers, and text of at least nine digits, count from the epoch in a unit told by their size: below 1e11
seconds, below 1e14 ms, below 1e17 µs, else ns. So seconds work until the year 5138, and ms, µs and ns before
3 March 1973 are taken for a larger unit.

Years are 1 to 9999. Parts of a millisecond are cut off, towards the past.
"""

import datetime as dt
import functools
import math
import re
from typing import Any

from headrace.log_formats.format import Unparsable

_TIME = re.compile(
    r"([0-9]{4}(?:-[0-9]{2}-|/[0-9]{2}/)[0-9]{2}|[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4})"
    r"(?:[Tt :]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r"( ?(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)| (?:UTC|GMT))?)?"
)
_DAY_NAME = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_ZONE = r"([A-Z]{1,4}|[+-][0-9]{4})"
_MAIL_TIME = re.compile(
    rf"(?:{_DAY_NAME}, )?(?P<day>[0-9]{{1,2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}}) "
    rf"(?P<clock>[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}})(?: (?P<zone>{_ZONE}))?"
)
_C_TIME = re.compile(
    rf"{_DAY_NAME} (?P<month>[A-Z][a-z]{{2}}) (?P<day> [0-9]|[0-9]{{1,2}}) "
    rf"(?P<clock>[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{1,9}})?)(?: (?P<zone>{_ZONE}))? (?P<year>[0-9]{{4}})"
)
_ZONES = {
    **dict.fromkeys(("UTC", "UT", "GMT", "Z"), "Z"),
    "EST": "-0500",
    "EDT": "-0400",
    "CST": "-0600",
    "CDT": "-0500",
    "MST": "-0700",
    "MDT": "-0600",
    "PST": "-0800",
    "PDT": "-0700",
}
# Fewer digits may be a date without dashes (20150517).
_EPOCH_TEXT = re.compile(r"-?[0-9]{9,21}(?:\.[0-9]{1,9})?")
# Not the locale's: access logs are English everywhere.
MONTHS = {
    name: n
    for n, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_HOURS_MS = {f"{n:02}": n * 3_600_000 for n in range(24)}
_MINUTES_MS = {f"{n:02}": n * 60_000 for n in range(60)}
_SECONDS_MS = {f"{n:02}": n * 1_000 for n in range(60)}
_FRACTIONS_MS = {f"{n:03}": n for n in range(1_000)}
_DAY_MS = 86_400_000
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_EARLIEST_MS = (dt.date.min.toordinal() - _EPOCH_DAY) * _DAY_MS
_LATEST_MS = (dt.date.max.toordinal() - _EPOCH_DAY + 1) * _DAY_MS - 1
_LONGEST = 64
"""Characters of a time; what is longer is none."""
_SECONDS_BELOW, _MILLISECONDS_BELOW, _MICROSECONDS_BELOW = 10**11, 10**14, 10**17


def event_time_ms(value: Any) -> int:
    """Epoch milliseconds of a decoded JSON value (text or number) or of a log's text.

    Raises:
        Unparsable: `invalid_time`: the value is neither form, no such day or time exists, or the year is
            not between 1 and 9999.
    """
    if type(value) is str:
        if value[13:20:6] == ":." and (fraction_ms := _FRACTIONS_MS.get(value[20:23])) is not None:
            second_ms = _remembered_ms(value[:19] + value[23:])
            if second_ms is not None:
                return second_ms + fraction_ms
        time_ms = _remembered_ms(value)
    else:
        time_ms = _believed_ms(value)
    if time_ms is None:
        raise _invalid(value)
    return time_ms


# Many lines are of one second. Bounded, because a hostile log has as many as it likes.
@functools.lru_cache(maxsize=4096)
def _remembered_ms(text: str) -> int | None:
    return _believed_ms(text) if len(text) <= _LONGEST else None


def _believed_ms(value: Any) -> int | None:
    """None if the value is no time."""
    try:
        time_ms = _text_ms(value) if type(value) is str else _number_ms(value)
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return time_ms if _EARLIEST_MS <= time_ms <= _LATEST_MS else None


def _invalid(value: Any) -> Unparsable:
    shown = value[:40] if isinstance(value, str) else value
    return Unparsable("invalid_time", f"{shown!a:.80} is not a time")


def _text_ms(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        worded = _MAIL_TIME.fullmatch(text) or _C_TIME.fullmatch(text)
        return _epoch_text_ms(text) if worded is None else _worded_ms(worded)
    day, hour, minute, second, fraction, zone = match.groups()
    time_ms = _midnight_ms(day)
    if hour is not None:
        time_ms += _HOURS_MS[hour] + _MINUTES_MS[minute] + _SECONDS_MS[second or "00"]
    if fraction is not None:
        time_ms += int((fraction + "00")[:3])
    return time_ms if zone is None else time_ms - _offset_ms(zone)


def _worded_ms(match: re.Match[str]) -> int:
    """Of a date with the month's name, put as ISO 8601 puts it."""
    day, month, year, clock, zone = match.group("day", "month", "year", "clock", "zone")
    spelled_zone = "" if zone is None else _ZONES.get(zone, zone)
    return _text_ms(f"{year}-{MONTHS[month]:02}-{int(day):02}T{clock}{spelled_zone}")


def _epoch_text_ms(text: str) -> int:
    if _EPOCH_TEXT.fullmatch(text) is None:
        raise ValueError(text)
    return _number_ms(float(text) if "." in text else int(text))


def _number_ms(value: Any) -> int:
    if type(value) is int:
        return value * 1000 if abs(value) < _SECONDS_BELOW else _without_unit_ms(value)
    if type(value) is not float or not math.isfinite(value):
        raise TypeError(value)
    if abs(value) < _SECONDS_BELOW:
        # To the microsecond first: 0.29 s are 289.99… ms as doubles.
        return round(value * 1e6) // 1000
    return _without_unit_ms(math.floor(value))


def _without_unit_ms(number: int) -> int:
    size = abs(number)
    if size < _MILLISECONDS_BELOW:
        return number
    return number // (1_000 if size < _MICROSECONDS_BELOW else 1_000_000)


# A log has few days and few zones, and each costs more than the rest of its line's time. Bounded, because a
# hostile log has as many as it likes.
@functools.lru_cache(maxsize=1024)
def _midnight_ms(day: str) -> int:
    if day[4] == "/":
        day = day.replace("/", "-")
    elif day[2] == "/":
        day = f"{day[7:]}-{MONTHS[day[3:6]]:02}-{day[:2]}"
    return (dt.date.fromisoformat(day).toordinal() - _EPOCH_DAY) * _DAY_MS


@functools.lru_cache(maxsize=256)
def _offset_ms(zone: str) -> int:
    sign, digits = zone.lstrip()[0], zone.lstrip()[1:].replace(":", "")
    if sign in "ZzUG":
        return 0
    offset_ms = _HOURS_MS[digits[:2]] + _MINUTES_MS[digits[2:] or "00"]
    return -offset_ms if sign == "-" else offset_ms
