"""JSON lines: one object per line, with the names in `headrace.log_fields.NAMES`.

If a line has several names of one field, the first in that table with a usable value wins and the others stay
attributes. A dotted name also means the nested form (`{"log": {"level": …}}`). `null` is the same as absent. A level, a
status, a size or a latency that is none stays an attribute, and so does a text that is an object, a list or a boolean.
"""

from typing import Any

import msgspec

from headrace import json_object
from headrace.errors import PoisonError
from headrace.event_time import event_time_ms
from headrace.log_event import LogEvent, error_flag, log_event, severity_name, status_class
from headrace.log_fields import NAMES, http_status, severity_number, size_bytes, take_fields
from headrace.log_formats.format import EXAMPLES_KAFKA_MS, Example, Unparsable, attributes_of

EXAMPLES: tuple[Example, ...] = (
    (
        '{"timestamp":"2026-11-27T10:00:00Z","level":"error","service":"pay","message":"no","status":502}',
        {"timestamp": EXAMPLES_KAFKA_MS, "format": "json", "service": "pay", "severity_number": 17, "severity": "ERROR"}
        | {"status": 502, "status_class": "5xx", "is_error": 1, "message": "no"},
    ),
)


class JsonLines:
    """The format `json`."""

    name = "json"

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """See `Format.parse`. Reasons: `invalid_json`, `not_an_object`, `not_utf8`, `invalid_time`."""
        try:
            usual = _USUAL.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _any_event(line)
        number = 0 if usual.level is None else severity_number(usual.level)
        status = None if usual.status is None else http_status(usual.status)
        size = None if usual.bytes is None else size_bytes(usual.bytes)
        if number is None or (status is None and usual.status is not None) or size != usual.bytes:
            return _any_event(line)
        return LogEvent(
            timestamp=None if usual.timestamp is None else event_time_ms(usual.timestamp),
            format="json",
            service=usual.service,
            severity_number=number,
            severity=severity_name(number),
            status=status,
            status_class=status_class(status),
            is_error=error_flag(number, status),
            message=usual.message,
            host=usual.host,
            method=usual.method,
            path=usual.path,
            protocol=usual.protocol,
            bytes=size,
            latency_ms=usual.latency_ms,
            user=usual.user,
            referrer=usual.referrer,
            user_agent=usual.user_agent,
        )


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
_NESTED: dict[str, list[tuple[str, list[str]]]] = {}
"""First part of a dotted name to the names, whole and in parts."""
for _name in NAMES:
    _NESTED.setdefault(_name.partition(".")[0], []).append((_name, _name.split(".")))
_NESTED = {outer: names for outer, names in _NESTED.items() if any("." in name for name, _ in names)}


def _any_event(line: bytes) -> LogEvent:
    try:
        members = json_object.parse(line)
    except PoisonError as error:
        raise Unparsable(error.reason, error.detail) from None
    for outer in members.keys() & _NESTED.keys():
        if type(members[outer]) is dict:
            for name, parts in _NESTED[outer]:
                if len(parts) > 1:
                    _lift(members, name, parts)
    fields = take_fields(members)
    return log_event("json", **fields, attributes=attributes_of(members))


def _lift(members: dict[str, Any], name: str, parts: list[str]) -> None:
    """Make `{outer: {inner: x}}` `{"outer.inner": x}`, unless that is there; an outer one that is empty now goes."""
    *outers, last = parts
    groups = [members]
    for outer in outers:
        group = groups[-1].get(outer)
        if type(group) is not dict:
            return
        groups.append(group)
    if last not in groups[-1] or name in members:
        return
    members[name] = groups[-1].pop(last)
    for group, outer in zip(groups[-2::-1], outers[::-1], strict=True):
        if not group[outer]:
            del group[outer]
