"""What log lines call things: the names that JSON lines and logfmt give to the fields of a `LogEvent`, and their values.

A converter takes a decoded value and returns the field's; None leaves the value an attribute of the event. A time that
is none raises instead, because results are counted by it.
"""

import re
from collections.abc import Callable
from typing import Any

from headrace.event_time import event_time_ms
from headrace.log_event import DEBUG, ERROR, FATAL, INFO, SYSLOG_SEVERITIES, TRACE, WARN

_WORDS = {
    TRACE: ("TRACE", "VERBOSE", "FINEST"),
    DEBUG: ("DEBUG", "FINER"),
    DEBUG + 1: ("FINE",),
    DEBUG + 2: ("CONFIG",),
    INFO: ("INFO", "INFORMATION", "INFORMATIONAL"),
    INFO + 1: ("NOTICE",),
    WARN: ("WARN", "WARNING"),
    ERROR: ("ERROR", "ERR", "SEVERE"),
    ERROR + 1: ("CRIT",),
    ERROR + 2: ("ALERT",),
    FATAL: ("FATAL", "CRITICAL", "EMERGENCY", "EMERG", "PANIC"),
}
_NUMBERS = {spelled: number for number, words in _WORDS.items() for word in words for spelled in (word, word.lower())}
# bunyan and pino: 10 is trace … 60 is fatal; a level in between counts as the one below it.
_BY_TENS = dict(enumerate((TRACE, DEBUG, INFO, WARN, ERROR, FATAL), start=1))
_DIGITS = re.compile(r"[0-9]{1,19}")
_DECIMAL = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,19})?")
MAX_STATUS = 999
MAX_BYTES = (1 << 63) - 1


def severity_number(value: Any) -> int | None:
    """OpenTelemetry's number of a level: a word in any case, bunyan's number or syslog's (GELF's); None for others."""
    if type(value) is str:
        return _NUMBERS.get(value) or _NUMBERS.get(value.strip().upper())
    if type(value) is not int:
        return None
    return SYSLOG_SEVERITIES[value] if 0 <= value < len(SYSLOG_SEVERITIES) else _BY_TENS.get(value // 10)


def text(value: Any) -> str | None:
    """Text, or a number as text; None for anything else."""
    if type(value) is str:
        return value
    return str(value) if type(value) in (int, float) else None


def http_status(value: Any) -> int | None:
    """A status of 0 to 999, from a number or digits."""
    return _whole(value, MAX_STATUS)


def size_bytes(value: Any) -> int | None:
    """A size in bytes that fits 64 signed bits, from a number or digits."""
    return _whole(value, MAX_BYTES)


def _whole(value: Any, most: int) -> int | None:
    number = value
    if (type(value) is str and _DIGITS.fullmatch(value)) or (type(value) is float and value.is_integer()):
        number = int(value)
    # `type … is int`, because True is an int to isinstance.
    return number if type(number) is int and 0 <= number <= most else None


def milliseconds(value: Any) -> float | None:
    """A number of milliseconds, or such digits."""
    if type(value) not in (int, float) and not (type(value) is str and _DECIMAL.fullmatch(value)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


NAMES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    name: (field, converter)
    for field, converter, names in (
        ("timestamp", event_time_ms, ("timestamp", "time", "ts", "@timestamp", "date", "time_iso8601")),
        ("severity_number", severity_number, ("level", "severity", "levelname", "log.level")),
        ("service", text, ("service", "service.name", "service_name", "app")),
        ("message", text, ("message", "msg")),
        ("status", http_status, ("status", "status_code", "http.status")),
        ("latency_ms", milliseconds, ("latency_ms", "duration_ms")),
        ("host", text, ("host", "remote_addr")),
        ("method", text, ("method", "request_method")),
        ("path", text, ("path", "request_uri")),
        ("protocol", text, ("protocol", "server_protocol")),
        ("bytes", size_bytes, ("bytes", "body_bytes_sent")),
        ("user", text, ("user", "remote_user")),
        ("referrer", text, ("referrer", "http_referer")),
        ("user_agent", text, ("user_agent", "http_user_agent")),
    )
    for name in names
}
"""What JSON lines call the fields, best name first, and the converter; the last names are nginx's variables."""
