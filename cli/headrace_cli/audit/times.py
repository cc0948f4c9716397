"""What a log's time is, read with the standard library: the audit's own reading of ISO 8601, access logs and epochs."""

import datetime as dt
import re
from typing import Any

from headrace_cli.audit.records import WRONG_FIELD, YEARS_MS, Dead

_TEXT_TIME = re.compile(
    r"(?:(?P<iso>\d{4}-\d\d-\d\d)|(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}))"
    r"(?:[Tt :](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?:[Zz]|(?P<sign>[+-])(?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?)| UTC| GMT)?)?",
    re.ASCII,
)
_EPOCH_TEXT = re.compile(r"-?\d{9,21}(?:\.\d{1,9})?", re.ASCII)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)


class NotRead(Exception):
    """The audit has no reading of its own."""


def time_ms_of(value: Any) -> int:
    """Epoch milliseconds of text, or of a number whose size tells its unit; later than a millisecond is cut off.

    Raises:
        Dead: it is no time.
        NotRead: it may be one in words.
    """
    try:
        time_ms = _text_ms(value) if isinstance(value, str) else _number_ms(value)
    except (ValueError, OverflowError):
        raise Dead(WRONG_FIELD) from None
    if time_ms not in YEARS_MS:
        raise Dead(WRONG_FIELD)
    return time_ms


def _number_ms(value: Any) -> int:
    if not is_number(value):
        raise ValueError(value)
    if abs(value) < 1e11:  # noqa: PLR2004 - seconds; the microsecond first, because 0.29 s is 289.99… ms as a double
        return value * 1000 if isinstance(value, int) else round(value * 1e6) // 1000
    number = value if isinstance(value, int) else int(value // 1)
    for below, per_ms in ((10**14, 1), (10**17, 1_000)):
        if abs(number) < below:
            return number // per_ms
    return number // 1_000_000


def _text_ms(text: str) -> int:
    match = _TEXT_TIME.fullmatch(text)
    if match is None:
        if not _EPOCH_TEXT.fullmatch(text):
            raise (NotRead if re.search("[A-Z][a-z]{2} |/", text) else ValueError)(text)
        return _number_ms(float(text) if "." in text else int(text))
    part = {name: value or "0" for name, value in match.groupdict().items()}
    day = part["iso"]
    if day == "0":
        day = f"{part['year']}-{_MONTHS.index(part['month']) + 1:02}-{part['day']}"
    clock = dt.time(int(part["hour"]), int(part["minute"]), int(part["second"]))
    moment = dt.datetime.combine(dt.date.fromisoformat(day), clock, dt.UTC)
    zone_hour, zone_minute = dt.time(int(part["zone_hour"])).hour, dt.time(0, int(part["zone_minute"])).minute
    offset_ms = (zone_hour * 60 + zone_minute) * (-60_000 if part["sign"] == "-" else 60_000)
    return (moment - _EPOCH) // _MILLISECOND + int(part["fraction"].ljust(3, "0")[:3]) - offset_ms


def is_number(value: Any) -> bool:
    """Whether it is a number of JSON's."""
    return isinstance(value, int | float) and not isinstance(value, bool)
