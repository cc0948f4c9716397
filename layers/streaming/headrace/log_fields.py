"""What log lines call things: the names of JSON lines and logfmt for the fields of a `LogEvent`, and their values.

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
_MOST_DIGITS = 19
_DECIMAL = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,19})?")
# As Go's time.Duration prints itself; also with a space before the unit.
_DURATION_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})++")
_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PYTHON_LEVELS = {1: DEBUG, 2: INFO, 3: WARN, 4: ERROR, 5: FATAL}
_LAST_SEVERITY = 24
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
    if type(value) is str:
        number = int(value) if len(value) <= _MOST_DIGITS and value.isascii() and value.isdecimal() else None
    elif type(value) is float and value.is_integer():
        number = int(value)
    # `type … is int`, because True is an int to isinstance.
    return number if type(number) is int and 0 <= number <= most else None


def milliseconds(value: Any) -> float | None:
    """A number, or such digits."""
    if type(value) not in (int, float) and not (type(value) is str and _DECIMAL.fullmatch(value)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def seconds(value: Any) -> float | None:
    """A number of seconds, or such digits, in milliseconds."""
    number = milliseconds(value)
    return None if number is None else number * 1_000


def microseconds(value: Any) -> float | None:
    """A number of microseconds, or such digits, in milliseconds."""
    number = milliseconds(value)
    return None if number is None else number / 1_000


def _nanoseconds(value: Any) -> float | None:
    number = milliseconds(value)
    return None if number is None else number / 1_000_000


def _duration(value: Any) -> float | None:
    """A text with units, as Go writes it (`1.5ms`, `2m3.5s`), in milliseconds; a number without one is none."""
    if type(value) is not str or not _DURATION.fullmatch(value):
        return None
    return sum(float(number) * _UNITS_NS[unit] for number, unit in _DURATION_PART.findall(value)) / 1_000_000


def _service(value: Any) -> str | None:
    """Text that is not empty, nor a duration: Heroku's router calls one `service`."""
    name = text(value)
    return name if name and not _DURATION.fullmatch(name) else None


def _unix_nano(value: Any) -> int | None:
    """OpenTelemetry's: 0 says that the time is not known."""
    return None if value in (0, "0") else event_time_ms(value)


def _otel_number(value: Any) -> int | None:
    number = _whole(value, _LAST_SEVERITY)
    return number or None


def _python_level(value: Any) -> int | None:
    """Of Python's logging: 10 is debug … 50 is critical."""
    return _PYTHON_LEVELS.get(value // 10) if type(value) is int else None


def _instant(value: Any) -> int | None:
    """Log4j's `{"epochSecond": …, "nanoOfSecond": …}`."""
    if type(value) is not dict:
        return event_time_ms(value)
    second, nano = value.get("epochSecond"), value.get("nanoOfSecond", 0)
    if type(second) is not int or type(nano) is not int or value.keys() - {"epochSecond", "nanoOfSecond"}:
        return None
    return event_time_ms(second) + nano // 1_000_000


def _table(*rows: tuple[str, Callable[[Any], Any], str]) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    return {name: (field, converter) for field, converter, names in rows for name in names.split()}


NAMES: dict[str, tuple[str, Callable[[Any], Any]]] = _table(
    ("timestamp", event_time_ms, "timestamp time ts @timestamp date datetime asctime @t time_iso8601 timeMillis"),
    ("timestamp", _instant, "instant"),
    ("timestamp", _unix_nano, "timeUnixNano time_unix_nano observedTimeUnixNano"),
    ("timestamp", event_time_ms, "time_local msec"),
    ("severity_number", severity_number, "level severity levelname log.level"),
    ("severity_number", _otel_number, "severityNumber severity_number"),
    ("severity_number", severity_number, "severityText severity_text lvl loglevel log_level logLevel LogLevel @l"),
    ("severity_number", _python_level, "levelno"),
    ("service", _service, "service service.name service_name serviceName app application name"),
    ("message", text, "message msg event body body.stringValue short_message @m @message log"),
    ("status", http_status, "status status_code statusCode http.status http.status_code http.response.status_code"),
    ("status", http_status, "http_status res.statusCode"),
    (
        "latency_ms",
        milliseconds,
        "latency_ms duration_ms elapsed_ms response_time_ms responseTime latencyMs durationMs",
    ),
    ("latency_ms", _nanoseconds, "event.duration"),
    ("latency_ms", seconds, "request_time"),
    ("latency_ms", _duration, "duration latency elapsed took response_time"),
    ("host", text, "remote_addr client.ip client_ip clientip client.address host hostname host.name host.hostname"),
    ("method", text, "method request_method http.request.method http.method http_method req.method"),
    ("path", text, "path request_uri url.original url.path http.target http_path req.url uri url"),
    ("protocol", text, "protocol server_protocol"),
    ("bytes", size_bytes, "bytes body_bytes_sent bytes_sent http.response.body.bytes http.response.bytes"),
    ("user", text, "user remote_user user.name user_name username"),
    ("referrer", text, "referrer referer http_referer http.request.referrer"),
    ("user_agent", text, "user_agent http_user_agent user_agent.original userAgent"),
    ("trace_id", text, "trace_id traceId trace.id traceID xray_trace_id dd.trace_id"),
    ("span_id", text, "span_id spanId span.id spanID dd.span_id"),
    ("stack_trace", text, "stack_trace stackTrace stacktrace error.stack_trace exception exception.stacktrace"),
    ("stack_trace", text, "exc_info err.stack thrown.extendedStackTrace stack full_message @x"),
)
"""What JSON lines and logfmt call the fields, best name first, and the converter.

In the table are the names of ECS, OpenTelemetry, bunyan and pino, Powertools, structlog, Python's logging, log4j's JSON
layouts, GELF, Serilog, Go's loggers, and nginx's variables. The name of a logger is no service, but an attribute: a
service has hundreds of them.
"""
_RANKED = {name: (rank, name, *entry) for rank, (name, entry) in enumerate(NAMES.items())}


def take_fields(members: dict[str, Any]) -> dict[str, Any]:
    """Move what has a field of its own out of a line's members, and drop those that are null; the fields.

    If a line has several names of one field, the first in `NAMES` with a usable value wins and the others stay.

    Raises:
        Unparsable: `invalid_time`.
    """
    fields: dict[str, Any] = {}
    for _, name, field, converter in sorted([_RANKED[name] for name in members if name in _RANKED]):
        value = members[name]
        if value is None:
            del members[name]
        elif field not in fields and (converted := converter(value)) is not None:
            fields[field] = converted
            del members[name]
    return fields
