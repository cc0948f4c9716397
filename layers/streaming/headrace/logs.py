r"""Log lines to events: JSON lines, and the access logs of Apache and nginx (common and combined format).

One record is one line. A line whose first byte after white space is `{` is JSON, any other an access log.
Parsing takes time linear in the line's length, whatever the line. Nothing of a line is lost: what has no
field of its own is in `attributes`, and a line that cannot be read is a `PoisonError`. Times are read as
`headrace.event_time` says.

**JSON.** The names in `headrace.log_fields.NAMES` are known. If a line has several of one field, the first in
that table with a usable value wins and the others stay attributes. A dotted name also means the nested form
(`{"log": {"level": …}}`). `null` is the same as absent. A level that is no known word or number, and a text
that is an object, a list or a boolean, stay attributes; a time, status, size or latency that is none is
poison, because results are counted by it.

**Access logs.** A quoted field ends at the first quote without a backslash before it; escapes stay as
written, because Apache and nginx write different ones. `-` and an empty field are absent. `message` is the
request line; unless it is `METHOD target HTTP/…` (or HTTP/0.9's `GET target`, RFC 1945 section 5) method,
path and protocol stay empty. What follows the known fields (nginx's `"$gzip_ratio"` or
`"$http_x_forwarded_for"`, say) is the attribute `trailing`, the identity of RFC 1413 the attribute
`identity`. A user name with a space in it is refused: accepting one would misread the formats that begin
with a virtual host.
"""

import re
from typing import Any

import msgspec

from headrace import json_object
from headrace.errors import PoisonError
from headrace.event_time import event_time_ms
from headrace.log_fields import NAMES, canonical_level, error_flag, http_status, response_bytes, severity_of

_MAX_BYTES = 1 << 20


class LogEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One log line; the fields are those of the Avro record `LogEvent` in `log_event.avsc`."""

    timestamp: int | None = None
    """When it happened, epoch milliseconds; None if the line has no time (Kafka's is used then)."""
    format: str
    """`json`, `common` or `combined`."""
    service: str | None = None
    """Who wrote it."""
    level: str | None = None
    """`TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR` or `FATAL`."""
    status: int | None = None
    """HTTP status, 0 to 999."""
    severity: str
    """The level; else the status class, `1xx` to `5xx`; else `unknown`."""
    is_error: int
    """1 if the level is ERROR or FATAL or the status at least 500, else 0: its sum counts errors."""
    message: str | None = None
    """What happened; the request line in an access log."""
    host: str | None = None
    """The client's address."""
    method: str | None = None
    """HTTP method."""
    path: str | None = None
    """HTTP request target, query included."""
    protocol: str | None = None
    """`HTTP/1.1` and the like."""
    bytes: int | None = None
    """Size of the response, bytes."""
    latency_ms: float | None = None
    """How long it took, milliseconds."""
    user: str | None = None
    """Who was logged in."""
    referrer: str | None = None
    """HTTP Referer."""
    user_agent: str | None = None
    """HTTP User-Agent."""
    attributes: str | None = None
    """Everything else in the line, as a JSON object; None if there is nothing else."""


def parse(value: bytes) -> LogEvent:
    """The event that one log line tells.

    Raises:
        PoisonError: the line cannot be read. Reasons: `empty`, `too_long` (more than 1 MiB), `not_utf8`,
            `invalid_json`, `not_an_object` (other JSON), `unknown_format` (neither JSON nor an access log),
            `invalid_time`, `invalid_field` (status, size or latency).
    """
    if len(value) > _MAX_BYTES:
        raise PoisonError("too_long", f"{len(value)} bytes; lines up to {_MAX_BYTES} are read")
    line = value.strip()
    if not line:
        raise PoisonError("empty", "nothing but white space")
    return _json_event(line) if line.startswith(b"{") else _access_event(line)


class _UsualLine(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The line that needs no second look: the first names of `NAMES` only, with the right types."""

    timestamp: int | float | str | None = None
    level: int | str | None = None
    service: str | None = None
    message: str | None = None
    status: int | None = None
    latency_ms: float | None = None
    host: str | None = None
    method: str | None = None
    path: str | None = None
    protocol: str | None = None
    bytes: int | None = None
    user: str | None = None
    referrer: str | None = None
    user_agent: str | None = None


_USUAL = msgspec.json.Decoder(_UsualLine)
_RANKS = {name: rank for rank, name in enumerate(NAMES)}
_NESTED = [(name, *name.split(".")) for name in NAMES if "." in name]


def _json_event(line: bytes) -> LogEvent:
    try:
        usual = _USUAL.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _any_json_event(line)
    level = None if usual.level is None else canonical_level(usual.level)
    if level is None and usual.level is not None:
        return _any_json_event(line)
    timestamp = None if usual.timestamp is None else event_time_ms(usual.timestamp)
    status = None if usual.status is None else http_status(usual.status)
    return LogEvent(
        timestamp=timestamp,
        format="json",
        service=usual.service,
        level=level,
        status=status,
        severity=severity_of(level, status),
        is_error=error_flag(level, status),
        message=usual.message,
        host=usual.host,
        method=usual.method,
        path=usual.path,
        protocol=usual.protocol,
        bytes=None if usual.bytes is None else response_bytes(usual.bytes),
        latency_ms=usual.latency_ms,
        user=usual.user,
        referrer=usual.referrer,
        user_agent=usual.user_agent,
    )


def _any_json_event(line: bytes) -> LogEvent:
    members = _members(line)
    fields = _take_fields(members)
    level, status = fields.get("level"), fields.get("status")
    return LogEvent(
        format="json",
        severity=severity_of(level, status),
        is_error=error_flag(level, status),
        attributes=_attributes(members),
        **fields,
    )


def _take_fields(members: dict[str, Any]) -> dict[str, Any]:
    """Move what has a field of its own out of the members."""
    fields: dict[str, Any] = {}
    for name in sorted(members.keys() & NAMES.keys(), key=_RANKS.__getitem__):
        field, converter = NAMES[name]
        value = members[name]
        if value is None:
            del members[name]
        elif field not in fields and (converted := converter(value)) is not None:
            fields[field] = converted
            del members[name]
    return fields


def _members(line: bytes) -> dict[str, Any]:
    members = json_object.parse(line)
    for name, outer, inner in _NESTED:
        if outer in members:
            _lift(members, name, outer, inner)
    return members


def _lift(members: dict[str, Any], name: str, outer: str, inner: str) -> None:
    """Make `{outer: {inner: x}}` `{name: x}`."""
    group = members[outer]
    if isinstance(group, dict) and inner in group and name not in members:
        members[name] = group.pop(inner)
        if not group:
            del members[outer]


def _not_utf8(error: UnicodeDecodeError) -> PoisonError:
    return PoisonError("not_utf8", error.reason)


def _attributes(members: dict[str, Any]) -> str | None:
    return msgspec.json.encode(members).decode() if members else None


_ABSENT = frozenset({None, "-", ""})


def _access_line(quoted: str) -> re.Pattern[str]:
    # Possessive throughout: no part gives back what it took, so a hostile line cannot make the search try again.
    return re.compile(
        rf"(\S++) (\S++) (\S++) \[([^\]]*+)\] {quoted} ([0-9]{{3}}|-) ([0-9]{{1,19}}|-)"
        rf"(?: {quoted} {quoted})?(?: (.++))?"
    )


_PLAIN_LINE = _access_line(r'"([^"]*+)"')
"""Reads lines without a backslash, twice as fast."""
_ESCAPED_LINE = _access_line(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"')


def _access_event(line: bytes) -> LogEvent:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(error) from None
    if "\n" in text:
        raise PoisonError("unknown_format", "more than one line in the record")
    match = (_ESCAPED_LINE if "\\" in text else _PLAIN_LINE).fullmatch(text)
    if match is None:
        raise _unreadable(line)
    host, identity, user, time, request, code, size, referrer, user_agent, trailing = match.groups()
    method, path, protocol = _request_parts(request)
    status = None if code == "-" else int(code)
    return LogEvent(
        timestamp=event_time_ms(time),
        format="common" if user_agent is None else "combined",
        status=status,
        severity=severity_of(None, status),
        is_error=error_flag(None, status),
        message=_present(request),
        host=_present(host),
        method=method,
        path=path,
        protocol=protocol,
        bytes=None if size == "-" else response_bytes(int(size)),
        user=_present(user),
        referrer=_present(referrer),
        user_agent=_present(user_agent),
        attributes=None if identity == "-" and trailing is None else _unnamed(identity, trailing),
    )


def _present(field: str | None) -> str | None:
    return None if field in _ABSENT else field


def _unnamed(identity: str, trailing: str | None) -> str | None:
    named = {"identity": _present(identity), "trailing": trailing}
    return _attributes({name: text for name, text in named.items() if text is not None})


def _request_parts(request: str) -> tuple[str | None, str | None, str | None]:
    method, _, rest = request.partition(" ")
    path, _, protocol = rest.rpartition(" ")
    if path and protocol.startswith("HTTP/"):
        return method, path, protocol
    return (method, rest, None) if method == "GET" and rest and " " not in rest else (None, None, None)


def _unreadable(line: bytes) -> PoisonError:
    try:
        json_object.parse(line)
    except PoisonError as error:
        if error.reason == "not_an_object":
            return error
    return PoisonError("unknown_format", f"neither JSON nor an access log: {line[:40]!a}")
