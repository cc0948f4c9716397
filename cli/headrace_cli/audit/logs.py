"""What a log line says, read with the standard library: the audit's own reading of JSON and access logs."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from headrace_cli.audit.records import (
    LARGEST_MESSAGE_BYTES,
    NOT_AN_OBJECT,
    UNREADABLE,
    WRONG_FIELD,
    YEARS_MS,
    Dead,
    Produced,
    canonical_json,
    json_object,
    payload,
)

Convert = Callable[[Any], Any]

_LEVELS = {
    "TRACE": "TRACE VERBOSE FINEST",
    "DEBUG": "DEBUG FINE",
    "INFO": "INFO INFORMATION INFORMATIONAL NOTICE",
    "WARN": "WARN WARNING",
    "ERROR": "ERROR ERR SEVERE",
    "FATAL": "FATAL CRITICAL CRIT ALERT EMERGENCY EMERG PANIC",
}
_LEVEL_OF_WORD = {word: level for level, words in _LEVELS.items() for word in words.split()}
_LEVEL_OF_TENS = dict(enumerate(_LEVELS, start=1))  # bunyan: 10 is trace, 60 is fatal

_QUOTED = r'"((?:[^"\\\n]|\\.)*)"'
_ACCESS = re.compile(
    rf"(\S+) (\S+) (\S+) \[([^\]\n]*)\] {_QUOTED} ([0-9]{{3}}|-) ([0-9]{{1,19}}|-)(?: {_QUOTED} {_QUOTED})?(?: (.+))?"
)
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


def read_log(record: Produced) -> dict[str, Any]:
    """The line's columns; `timestamp` is epoch milliseconds or None, `attributes` canonical JSON or None.

    Raises:
        Dead: it is neither a JSON object nor an access log, or a field by which results are counted is wrong.
    """
    text = payload(record)
    if len(record.value or b"") > LARGEST_MESSAGE_BYTES:
        raise Dead(UNREADABLE)
    line = _json_line(text) if text.startswith(b"{") else _access_line(text)
    if line["service"] is None:
        line["service"] = _key_text(record.key) or record.topic
    level, status = line["level"], line["status"]
    line["severity"] = level or _status_class(status)
    line["is_error"] = int(level in {"ERROR", "FATAL"} or (status is not None and status >= 500))  # noqa: PLR2004 - HTTP's server errors
    return line


def _status_class(status: int | None) -> str:
    return f"{status // 100}xx" if status is not None and 100 <= status < 600 else "unknown"  # noqa: PLR2004 - HTTP's


def _key_text(key: bytes | None) -> str | None:
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return None


def _json_line(text: bytes) -> dict[str, Any]:
    members = json_object(text)
    for dotted in filter(lambda name: "." in name, _COLUMN_OF):
        _flatten(members, dotted)
    line: dict[str, Any] = dict.fromkeys(_COLUMNS) | {"format": "json"}
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
    outer, inner = dotted.split(".")
    group = members.get(outer)
    if isinstance(group, dict) and inner in group and dotted not in members:
        members[dotted] = group.pop(inner)
        if not group:
            del members[outer]


def _access_line(text: bytes) -> dict[str, Any]:
    try:
        match = _ACCESS.fullmatch(text.decode())
    except UnicodeDecodeError:
        raise Dead(UNREADABLE) from None
    if match is None:
        raise Dead(_what_else(text))
    host, identity, user, time, request, status, size, referrer, agent, trailing = match.groups()
    named = {"identity": _present(identity), "trailing": trailing}
    attributes = {name: value for name, value in named.items() if value is not None}
    line: dict[str, Any] = dict.fromkeys(_COLUMNS) | {
        "format": "common" if agent is None else "combined",
        "timestamp": _time_ms(time),
        "status": None if status == "-" else int(status),
        "bytes": None if size == "-" else _size(int(size)),
        "message": _present(request),
        "host": _present(host),
        "user": _present(user),
        "referrer": _present(referrer),
        "user_agent": _present(agent),
        "attributes": canonical_json(attributes) if attributes else None,
    }
    return line | _request(request)


def _what_else(text: bytes) -> str:
    """A line that is JSON and no object is told apart, unless it is several lines."""
    try:
        json_object(text)
    except Dead as dead:
        return UNREADABLE if b"\n" in text else dead.cause
    return NOT_AN_OBJECT


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


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else str(value) if _is_number(value) else None


def _level(value: Any) -> str | None:
    if isinstance(value, str):
        return _LEVEL_OF_WORD.get(value.strip().upper())
    return _LEVEL_OF_TENS.get(value // 10) if isinstance(value, int) and not isinstance(value, bool) else None


def _whole(value: Any, most: int) -> int:
    is_text = isinstance(value, str) and re.fullmatch("[0-9]{1,19}", value)
    if is_text or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Dead(WRONG_FIELD)
    return value


def _status(value: Any) -> int:
    return _whole(value, 999)


def _size(value: Any) -> int:
    return _whole(value, 2**63 - 1)


def _latency(value: Any) -> float:
    is_text = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}(\.[0-9]{1,19})?", value)
    try:
        if is_text or _is_number(value):
            return float(value)
    except OverflowError:
        pass
    raise Dead(WRONG_FIELD)


def _time_ms(value: Any) -> int:
    """Epoch milliseconds of text, or of a number whose size tells its unit; later than a millisecond is cut off."""
    try:
        time_ms = _text_ms(value) if isinstance(value, str) else _number_ms(value)
    except (ValueError, OverflowError):
        raise Dead(WRONG_FIELD) from None
    if time_ms not in YEARS_MS:
        raise Dead(WRONG_FIELD)
    return time_ms


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


def _text_ms(text: str) -> int:
    match = _TEXT_TIME.fullmatch(text)
    if match is None:
        if not _EPOCH_TEXT.fullmatch(text):
            raise ValueError(text)
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


_NAMES: dict[str, tuple[Convert, str]] = {
    "timestamp": (_time_ms, "timestamp time ts @timestamp date time_iso8601"),
    "level": (_level, "level severity levelname log.level"),
    "service": (_text, "service service.name service_name logger app"),
    "message": (_text, "message msg"),
    "status": (_status, "status status_code http.status"),
    "latency_ms": (_latency, "latency_ms duration_ms"),
    "host": (_text, "host remote_addr"),
    "method": (_text, "method request_method"),
    "path": (_text, "path request_uri"),
    "protocol": (_text, "protocol server_protocol"),
    "bytes": (_size, "bytes body_bytes_sent"),
    "user": (_text, "user remote_user"),
    "referrer": (_text, "referrer http_referer"),
    "user_agent": (_text, "user_agent http_user_agent"),
}
"""What JSON lines call each column, best name first."""
_COLUMN_OF = {name: (column, convert) for column, (convert, names) in _NAMES.items() for name in names.split()}
_COLUMNS = (*_NAMES, "format", "severity", "is_error", "attributes")
