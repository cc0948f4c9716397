"""JSON lines: one object per line, with the names in `headrace.log_fields.NAMES`.

If a line has several names of one field, the first in that table with a usable value wins and the others stay
attributes. A dotted name also means the nested form (`{"log": {"level": …}}`). `null` is the same as absent.
"""

from typing import Any

import msgspec

from headrace import json_object
from headrace.errors import PoisonError
from headrace.event_time import event_time_ms
from headrace.log_event import LogEvent, error_flag, log_event, severity_name, status_class
from headrace.log_fields import NAMES, http_status, severity_number, size_bytes
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

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:  # noqa: ARG002 - its times have years
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
_RANKS = {name: rank for rank, name in enumerate(NAMES)}
_NESTED = [(name, *name.split(".")) for name in NAMES if "." in name]


def _any_event(line: bytes) -> LogEvent:
    try:
        members = json_object.parse(line)
    except PoisonError as error:
        raise Unparsable(error.reason, error.detail) from None
    for name, outer, inner in _NESTED:
        if outer in members:
            _lift(members, name, outer, inner)
    fields = take_fields(members)
    return log_event("json", **fields, attributes=attributes_of(members))


def take_fields(members: dict[str, Any]) -> dict[str, Any]:
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


def _lift(members: dict[str, Any], name: str, outer: str, inner: str) -> None:
    """Make `{outer: {inner: x}}` `{name: x}`."""
    group = members[outer]
    if isinstance(group, dict) and inner in group and name not in members:
        members[name] = group.pop(inner)
        if not group:
            del members[outer]
