"""What log lines call things: the names that JSON lines give to the fields of a `LogEvent`, and their values.

A converter takes a decoded JSON value and returns the field's; None leaves the value an attribute of the
event. A time, status, size or latency that is none raises instead, because results are counted by it.
"""

import re
from collections.abc import Callable
from typing import Any

from headrace.errors import PoisonError
from headrace.event_time import event_time_ms

_ERROR_LEVELS = frozenset({"ERROR", "FATAL"})
_FIRST_ERROR_STATUS = 500
_STATUS_CLASSES = {n: f"{n}xx" for n in range(1, 6)}


def severity_of(level: str | None, status: int | None) -> str:
    """The level; without one the status class, `1xx` to `5xx`; without either `unknown`."""
    if level is not None:
        return level
    return "unknown" if status is None else _STATUS_CLASSES.get(status // 100, "unknown")


def error_flag(level: str | None, status: int | None) -> int:
    """1 for the levels ERROR and FATAL and for statuses of at least 500, else 0."""
    return int(level in _ERROR_LEVELS or (status is not None and status >= _FIRST_ERROR_STATUS))


_SYNONYMS = {
    "TRACE": ("TRACE", "VERBOSE", "FINEST"),
    "DEBUG": ("DEBUG", "FINE"),
    "INFO": ("INFO", "INFORMATION", "INFORMATIONAL", "NOTICE"),
    "WARN": ("WARN", "WARNING"),
    "ERROR": ("ERROR", "ERR", "SEVERE"),
    "FATAL": ("FATAL", "CRITICAL", "CRIT", "ALERT", "EMERGENCY", "EMERG", "PANIC"),
}
_LEVELS = {word: level for level, words in _SYNONYMS.items() for word in words}
# bunyan and pino: 10 is trace … 60 is fatal; a level in between counts as the one below it.
_LEVELS_BY_TENS = dict(enumerate(_SYNONYMS, start=1))
_DIGITS = re.compile(r"[0-9]{1,19}")
_DECIMAL = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,19})?")


def canonical_level(value: Any) -> str | None:
    """One of six levels, from a word in any case or from bunyan's number; None for what is neither."""
    if type(value) is str:
        return _LEVELS.get(value) or _LEVELS.get(value.strip().upper())
    return _LEVELS_BY_TENS.get(value // 10) if type(value) is int else None


def _text(value: Any) -> str | None:
    """Text, or a number as text; None for anything else."""
    if type(value) is str:
        return value
    return str(value) if type(value) in (int, float) else None


def http_status(value: Any) -> int:
    """A status of 0 to 999, from a number or digits.

    Raises:
        PoisonError: `invalid_field`.
    """
    return _whole("status", value, 999)


def response_bytes(value: Any) -> int:
    """A size in bytes that fits 64 signed bits, from a number or digits.

    Raises:
        PoisonError: `invalid_field`.
    """
    return _whole("bytes", value, (1 << 63) - 1)


def _whole(name: str, value: Any, most: int) -> int:
    number = value
    if (type(value) is str and _DIGITS.fullmatch(value)) or (type(value) is float and value.is_integer()):
        number = int(value)
    # `type … is int`, because True is an int to isinstance.
    if type(number) is not int or not 0 <= number <= most:
        raise _invalid_field(name, value, f"a whole number from 0 to {most}")
    return number


def _latency(value: Any) -> float:
    if type(value) not in (int, float) and not (type(value) is str and _DECIMAL.fullmatch(value)):
        raise _invalid_field("latency_ms", value, "a number of milliseconds")
    try:
        return float(value)
    except OverflowError:
        raise _invalid_field("latency_ms", value, "in the range of a double") from None


def _invalid_field(name: str, value: Any, expected: str) -> PoisonError:
    shown = value[:40] if isinstance(value, str) else value
    return PoisonError("invalid_field", f"{name} is {shown!a:.80}, not {expected}")


NAMES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    name: (field, converter)
    for field, converter, names in (
        ("timestamp", event_time_ms, ("timestamp", "time", "ts", "@timestamp", "date", "time_iso8601")),
        ("level", canonical_level, ("level", "severity", "levelname", "log.level")),
        ("service", _text, ("service", "service.name", "service_name", "logger", "app")),
        ("message", _text, ("message", "msg")),
        ("status", http_status, ("status", "status_code", "http.status")),
        ("latency_ms", _latency, ("latency_ms", "duration_ms")),
        ("host", _text, ("host", "remote_addr")),
        ("method", _text, ("method", "request_method")),
        ("path", _text, ("path", "request_uri")),
        ("protocol", _text, ("protocol", "server_protocol")),
        ("bytes", response_bytes, ("bytes", "body_bytes_sent")),
        ("user", _text, ("user", "remote_user")),
        ("referrer", _text, ("referrer", "http_referer")),
        ("user_agent", _text, ("user_agent", "http_user_agent")),
    )
    for name in names
}
"""What JSON lines call the fields, best name first, and the converter; the last names are nginx's variables."""
