"""What the values of log lines mean, stated again: levels, statuses, sizes, and times with and without a unit."""

import datetime as dt
import re
from typing import Any

from headrace_cli.audit.records import WRONG_FIELD, YEARS_MS

_NUMBER_OF_WORD = {
    word: number
    for number, words in {
        1: "TRACE VERBOSE FINEST",
        5: "DEBUG FINER",
        6: "FINE",
        7: "CONFIG",
        9: "INFO INFORMATION INFORMATIONAL",
        10: "NOTICE",
        13: "WARN WARNING",
        17: "ERROR ERR SEVERE",
        18: "CRIT",
        19: "ALERT",
        21: "FATAL CRITICAL EMERGENCY EMERG PANIC",
    }.items()
    for word in words.split()
}
SYSLOG = [21, 19, 18, 17, 13, 10, 9, 5]
"""Severity numbers by syslog's severity."""
_OF_TENS = {1: 1, 2: 5, 3: 9, 4: 13, 5: 17, 6: 21}
_RANGES = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]

_TEXT_TIME = re.compile(
    r"(?:(?P<iso>\d{4}-\d\d-\d\d)|(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}))"
    r"(?:[Tt :](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?:[Zz]|(?P<sign>[+-])(?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?))?)?",
    re.ASCII,
)
_EPOCH_TEXT = re.compile(r"-?\d{9,21}(?:\.\d{1,9})?", re.ASCII)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND = dt.timedelta(milliseconds=1)


class NotRead(Exception):
    """The line is, or may be, of a kind that the audit does not read itself."""


class Unparsed(Exception):
    """No format reads the line."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause
        """One of the values of `records.CAUSE_OF_REASON`."""


def severity_name(number: int) -> str:
    """Of OpenTelemetry's numbers 1 to 24, four have a name each; 0 is none."""
    return _RANGES[(number - 1) // 4] if number else "UNSPECIFIED"


def level(value: Any) -> int | None:
    """A word, syslog's number or bunyan's."""
    if isinstance(value, str):
        return _NUMBER_OF_WORD.get(value.strip().upper())
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return SYSLOG[value] if 0 <= value <= 7 else _OF_TENS.get(value // 10)  # noqa: PLR2004 - syslog has eight


def text(value: Any) -> str | None:
    """A text or a number."""
    return value if isinstance(value, str) else str(value) if _is_number(value) else None


def status(value: Any) -> int | None:
    """HTTP's."""
    return _whole(value, 999)


def size(value: Any) -> int | None:
    """In bytes."""
    return _whole(value, 2**63 - 1)


def milliseconds(value: Any) -> float | None:
    """A number or its digits."""
    is_text = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}(\.[0-9]{1,19})?", value)
    try:
        return float(value) if is_text or _is_number(value) else None
    except OverflowError:
        return None


def time_ms(value: Any) -> int:
    """Epoch milliseconds of text, or of a number whose size tells its unit; later than a millisecond is cut off.

    Raises:
        Unparsed: it is no time.
        NotRead: a text that may be a time in words.
    """
    try:
        found = _text_ms(value) if isinstance(value, str) else _number_ms(value)
    except (ValueError, OverflowError):
        raise Unparsed(WRONG_FIELD) from None
    if found not in YEARS_MS:
        raise Unparsed(WRONG_FIELD)
    return found


def _whole(value: Any, most: int) -> int | None:
    is_text = isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value)
    if is_text or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    is_whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
    return value if is_whole else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_ms(value: Any) -> int:
    if not _is_number(value):
        raise ValueError(value)
    if abs(value) < 1e11:  # noqa: PLR2004 - seconds; the microsecond first, because 0.29 s is 289.99… ms as a double
        return value * 1000 if isinstance(value, int) else round(value * 1e6) // 1000
    number = value if isinstance(value, int) else int(value // 1)
    for below, per_ms in ((10**14, 1), (10**17, 1_000)):
        if abs(number) < below:
            return number // per_ms
    return number // 1_000_000


def _text_ms(value: str) -> int:
    match = _TEXT_TIME.fullmatch(value)
    if match is None:
        if not _EPOCH_TEXT.fullmatch(value):
            raise (NotRead if re.search("[0-9]", value) else ValueError)(value)
        return _number_ms(float(value) if "." in value else int(value))
    part = {name: found or "0" for name, found in match.groupdict().items()}
    day = part["iso"]
    if day == "0":
        day = f"{part['year']}-{_MONTHS.index(part['month']) + 1:02}-{part['day']}"
    clock = dt.time(int(part["hour"]), int(part["minute"]), int(part["second"]))
    moment = dt.datetime.combine(dt.date.fromisoformat(day), clock, dt.UTC)
    zone_hour, zone_minute = dt.time(int(part["zone_hour"])).hour, dt.time(0, int(part["zone_minute"])).minute
    offset_ms = (zone_hour * 60 + zone_minute) * (-60_000 if part["sign"] == "-" else 60_000)
    return (moment - _EPOCH) // _MILLISECOND + int(part["fraction"].ljust(3, "0")[:3]) - offset_ms
