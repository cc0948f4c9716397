"""What a log line says, read with the standard library: the audit's own reading of JSON and access logs.

Other formats are not in the demo's streams: here their lines are lines that nothing reads.
"""

import re
from collections.abc import Callable
from typing import Any

from headrace_cli.audit.records import (
    LARGEST_MESSAGE_BYTES,
    UNREADABLE,
    Dead,
    Produced,
    canonical_json,
    json_object,
    payload,
)
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
_NUMBER_OF_SYSLOG = [21, 19, 18, 17, 13, 10, 9, 5]
_SEVERITIES = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]

_QUOTED = r'"((?:[^"\\\n]|\\.)*)"'
_ACCESS = re.compile(
    r"([^ \n]+) ([^ \n]+) ([^ \n]+) \[([^\]\n]*)\] "
    rf"{_QUOTED} ([0-9]{{3}}|-) ([0-9]+|-)(?: {_QUOTED} {_QUOTED})?(?: (.+))?"
)


def read_log(record: Produced) -> dict[str, Any]:
    """The line's columns; `timestamp` is epoch milliseconds or None, `attributes` canonical JSON or None.

    `unparsed` is a cause as dead letters have them. The message's pattern is left out.

    Raises:
        Dead: it is no text, or too long.
    """
    text = payload(record)
    if len(record.value or b"") > LARGEST_MESSAGE_BYTES:
        raise Dead(UNREADABLE)
    try:
        words = text.decode()
    except UnicodeDecodeError:
        raise Dead(UNREADABLE) from None
    try:
        line = _json_line(text) if words.startswith("{") else _access_line(words)
    except Dead as verdict:
        line = _EMPTY | {"format": "unparsed", "is_unparsed": 1, "message": words, "unparsed": verdict.cause}
    if line["service"] is None:
        line["service"] = _key_text(record.key) or record.topic
    number, status = line["severity_number"] or 0, line["status"]
    line["severity_number"] = number
    line["severity"] = _SEVERITIES[(number - 1) // 4] if number else "UNSPECIFIED"
    line["status_class"] = f"{status // 100}xx" if status is not None and 100 <= status < 600 else None  # noqa: PLR2004 - HTTP's
    line["is_error"] = int(number >= 17 or (status is not None and status >= 500))  # noqa: PLR2004 - ERROR; HTTP's server errors
    return line


def _key_text(key: bytes | None) -> str | None:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return None


def _json_line(text: bytes) -> dict[str, Any]:
    members = json_object(text)
    for dotted in filter(lambda name: "." in name, _COLUMN_OF):
        _flatten(members, dotted)
    line = _EMPTY | {"format": "json"}
    for name, (column, convert) in _COLUMN_OF.items():
        if members.get(name) is None or line[column] is not None:
            continue
        line[column] = convert(members[name])
        if line[column] is not None:
            del members[name]
    # Null is the same as absent.
    rest = {name: value for name, value in members.items() if value is not None or name not in _COLUMN_OF}
    return line | {"attributes": canonical_json(rest) if rest else None}


def _flatten(members: dict[str, Any], dotted: str) -> None:
    """`{"log": {"level": …}}` means `{"log.level": …}`."""
    *outers, last = dotted.split(".")
    groups = [members]
    for outer in outers:
        group = groups[-1].get(outer)
        if not isinstance(group, dict):
            return
        groups.append(group)
    if last not in groups[-1] or dotted in members:
        return
    members[dotted] = groups[-1].pop(last)
    while outers and not groups.pop():
        del groups[-1][outers.pop()]


def _access_line(words: str) -> dict[str, Any]:
    match = _ACCESS.fullmatch(words)
    if match is None or (match[7] != "-" and _size(match[7]) is None):
        raise Dead(UNREADABLE)
    host, identity, user, time, request, status, size, referrer, agent, trailing = match.groups()
    named = {"identity": _present(identity), "trailing": trailing}
    attributes = {name: value for name, value in named.items() if value is not None}
    line = _EMPTY | {
        "format": "common" if agent is None else "combined",
        "timestamp": time_ms_of(time),
        "status": None if status == "-" else int(status),
        "bytes": _size(size),
        "message": _present(request),
        "host": _present(host),
        "user": _present(user),
        "referrer": _present(referrer),
        "user_agent": _present(agent),
        "attributes": canonical_json(attributes) if attributes else None,
    }
    return line | _request(request)


def _present(field: str | None) -> str | None:
    return None if field in {"-", ""} else field


def _request(request: str) -> dict[str, str | None]:
    """`GET /path HTTP/1.1`, or HTTP/0.9's `GET /path`; anything else says nothing."""
    if match := re.fullmatch(r"([^ ]*) (.+) (HTTP/.*)", request, re.DOTALL):
        method, path, protocol = match.groups()
        if " " not in protocol:
            return {"method": method, "path": path, "protocol": protocol}
    if match := re.fullmatch(r"GET ([^ ]+)", request):
        return {"method": "GET", "path": match[1], "protocol": None}
    return {"method": None, "path": None, "protocol": None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else str(value) if is_number(value) else None


def _level(value: Any) -> int | None:
    if isinstance(value, str):
        return _NUMBER_OF_WORD.get(value.strip().upper())
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return _NUMBER_OF_SYSLOG[value] if value in range(8) else _NUMBER_OF_TENS.get(value // 10)


def _otel_level(value: Any) -> int | None:
    return _whole(value, 24) or None


def _python_level(value: Any) -> int | None:
    return _level(value + 10) if isinstance(value, int) and not isinstance(value, bool) and value >= 10 else None  # noqa: PLR2004 - 10 is debug


def _whole(value: Any, most: int) -> int | None:
    is_text = isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value)
    if is_text or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return int(value) if 0 <= value <= most else None


def _status(value: Any) -> int | None:
    return _whole(value, 999)


def _size(value: Any) -> int | None:
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
    ("timestamp", time_ms_of, "timeUnixNano time_unix_nano observedTimeUnixNano time_local msec"),
    ("severity_number", _level, "level severity levelname log.level"),
    ("severity_number", _otel_level, "severityNumber severity_number"),
    ("severity_number", _level, "severityText severity_text lvl loglevel log_level logLevel LogLevel @l"),
    ("severity_number", _python_level, "levelno"),
    ("service", _text, "service service.name service_name serviceName app application name"),
    ("message", _text, "message msg event body body.stringValue short_message @m @message log"),
    ("status", _status, "status status_code statusCode http.status http.status_code http.response.status_code"),
    ("status", _status, "http_status res.statusCode"),
    ("latency_ms", _latency, "latency_ms duration_ms elapsed_ms response_time_ms responseTime latencyMs durationMs"),
    ("latency_ms", _nanoseconds, "event.duration"),
    ("latency_ms", _seconds, "request_time"),
    ("latency_ms", _duration, "duration latency elapsed took response_time"),
    ("host", _text, "remote_addr client.ip client_ip clientip client.address host hostname host.name host.hostname"),
    ("method", _text, "method request_method http.request.method http.method http_method req.method"),
    ("path", _text, "path request_uri url.original url.path http.target http_path req.url uri url"),
    ("protocol", _text, "protocol server_protocol"),
    ("bytes", _size, "bytes body_bytes_sent bytes_sent http.response.body.bytes http.response.bytes"),
    ("user", _text, "user remote_user user.name user_name username"),
    ("referrer", _text, "referrer referer http_referer http.request.referrer"),
    ("user_agent", _text, "user_agent http_user_agent user_agent.original userAgent"),
    ("trace_id", _text, "trace_id traceId trace.id traceID xray_trace_id dd.trace_id"),
    ("span_id", _text, "span_id spanId span.id spanID dd.span_id"),
    ("stack_trace", _text, "stack_trace stackTrace stacktrace error.stack_trace exception exception.stacktrace"),
    ("stack_trace", _text, "exc_info err.stack thrown.extendedStackTrace stack full_message @x"),
]
"""What JSON lines call each column, best name first."""
_COLUMN_OF = {name: (column, convert) for column, convert, names in _NAMES for name in names.split()}
_OTHERS = ["format", "severity", "status_class", "is_error", "unparsed", "attributes"]
_EMPTY: dict[str, Any] = dict.fromkeys([*(column for column, _, _ in _NAMES), *_OTHERS]) | {"is_unparsed": 0}
"""A line that says nothing."""
