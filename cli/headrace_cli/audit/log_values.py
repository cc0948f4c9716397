"""What log lines call things and what the values mean, stated again: names of JSON lines and logfmt, levels, sizes."""

import re
from collections.abc import Callable
from typing import Any

from headrace_cli.audit.times import is_number, time_ms_of

Convert = Callable[[Any], Any]

_WORDS = {
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
}
"""OpenTelemetry's numbers, and what else they are called."""
_NUMBER_OF_WORD = {word: number for number, words in _WORDS.items() for word in words.split()}
_NUMBER_OF_TENS = {1: 1, 2: 5, 3: 9, 4: 13, 5: 17, 6: 21}  # bunyan: 10 is trace, 60 is fatal
SYSLOG = [21, 19, 18, 17, 13, 10, 9, 5]
_SEVERITIES = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


def severity_name(number: int) -> str:
    """Of OpenTelemetry's numbers 1 to 24, four have a name each; 0 is none."""
    return _SEVERITIES[(number - 1) // 4] if number else "UNSPECIFIED"


def named_columns(members: dict[str, Any]) -> dict[str, Any]:
    """The columns that a line's members are, and `attributes`: the other members."""
    line: dict[str, Any] = {}
    rest = dict(members)
    for name, (column, convert) in COLUMN_OF.items():
        if rest.get(name) is None or line.get(column) is not None:
            continue
        line[column] = convert(rest[name])
        if line[column] is not None:
            del rest[name]
    # Null is the same as absent.
    return line | {"attributes": {name: v for name, v in rest.items() if v is not None or name not in COLUMN_OF}}


def text(value: Any) -> str | None:
    """A text, or a number as one."""
    return value if isinstance(value, str) else str(value) if is_number(value) else None


def level(value: Any) -> int | None:
    """A word, syslog's number or bunyan's."""
    if isinstance(value, str):
        return _NUMBER_OF_WORD.get(value.strip().upper())
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return SYSLOG[value] if value in range(8) else _NUMBER_OF_TENS.get(value // 10)


def _otel_level(value: Any) -> int | None:
    return _whole(value, 24) or None


def _python_level(value: Any) -> int | None:
    return level(value + 10) if isinstance(value, int) and not isinstance(value, bool) and value >= 10 else None  # noqa: PLR2004 - 10 is debug


def _whole(value: Any, most: int) -> int | None:
    is_text = isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value)
    if is_text or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return int(value) if 0 <= value <= most else None


def _status(value: Any) -> int | None:
    return _whole(value, 999)


def size(value: Any) -> int | None:
    """In bytes."""
    return _whole(value, 2**63 - 1)


def _latency(value: Any) -> float | None:
    is_text = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}(\.[0-9]{1,19})?", value)
    try:
        return float(value) if is_text or is_number(value) else None
    except OverflowError:
        return None


def _seconds(value: Any) -> float | None:
    number = _latency(value)
    return None if number is None else number * 1000


def _nanoseconds(value: Any) -> float | None:
    number = _latency(value)
    return None if number is None else number / 1e6


def _duration(value: Any) -> float | None:
    """`1.5ms`, `2m3s`."""
    units = {"ns": 1, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9, "m": 6e10, "h": 3.6e12}
    part = rf"([0-9]{{1,15}}(?:\.[0-9]{{1,15}})?) ?({'|'.join(units)})"
    if not isinstance(value, str) or not re.fullmatch(f"({part})+", value):
        return None
    return sum(float(number) * units[unit] for number, unit in re.findall(part, value)) / 1e6


def _service(value: Any) -> str | None:
    """Not empty, and no duration."""
    return (text(value) or None) if _duration(value) is None else None


def _unix_nano(value: Any) -> int | None:
    """0 is not known."""
    return None if value in (0, "0") else time_ms_of(value)


def _instant(value: Any) -> int | None:
    """Log4j's object."""
    if not isinstance(value, dict):
        return time_ms_of(value)
    second, nano = value.get("epochSecond"), value.get("nanoOfSecond", 0)
    if any(type(number) is not int for number in (second, nano)) or set(value) - {"epochSecond", "nanoOfSecond"}:
        return None
    return time_ms_of(second) + int(nano) // 1_000_000


_NAMES: list[tuple[str, Convert, str]] = [
    ("timestamp", time_ms_of, "timestamp time ts @timestamp date datetime asctime @t time_iso8601 timeMillis"),
    ("timestamp", _instant, "instant"),
    ("timestamp", _unix_nano, "timeUnixNano time_unix_nano observedTimeUnixNano"),
    ("timestamp", time_ms_of, "time_local msec"),
    ("severity_number", level, "level severity levelname log.level"),
    ("severity_number", _otel_level, "severityNumber severity_number"),
    ("severity_number", level, "severityText severity_text lvl loglevel log_level logLevel LogLevel @l"),
    ("severity_number", _python_level, "levelno"),
    ("service", _service, "service service.name service_name serviceName app application name"),
    ("message", text, "message msg event body body.stringValue short_message @m @message log"),
    ("status", _status, "status status_code statusCode http.status http.status_code http.response.status_code"),
    ("status", _status, "http_status res.statusCode"),
    ("latency_ms", _latency, "latency_ms duration_ms elapsed_ms response_time_ms responseTime latencyMs durationMs"),
    ("latency_ms", _nanoseconds, "event.duration"),
    ("latency_ms", _seconds, "request_time"),
    ("latency_ms", _duration, "duration latency elapsed took response_time"),
    ("host", text, "remote_addr client.ip client_ip clientip client.address host hostname host.name host.hostname"),
    ("method", text, "method request_method http.request.method http.method http_method req.method"),
    ("path", text, "path request_uri url.original url.path http.target http_path req.url uri url"),
    ("protocol", text, "protocol server_protocol"),
    ("bytes", size, "bytes body_bytes_sent bytes_sent http.response.body.bytes http.response.bytes"),
    ("user", text, "user remote_user user.name user_name username"),
    ("referrer", text, "referrer referer http_referer http.request.referrer"),
    ("user_agent", text, "user_agent http_user_agent user_agent.original userAgent"),
    ("trace_id", text, "trace_id traceId trace.id traceID xray_trace_id dd.trace_id"),
    ("span_id", text, "span_id spanId span.id spanID dd.span_id"),
    ("stack_trace", text, "stack_trace stackTrace stacktrace error.stack_trace exception exception.stacktrace"),
    ("stack_trace", text, "exc_info err.stack thrown.extendedStackTrace stack full_message @x"),
]
"""What JSON lines call each column, best name first."""
COLUMN_OF = {name: (column, convert) for column, convert, names in _NAMES for name in names.split()}
