"""CloudWatch Logs subscriptions: the message of a batch of events, gzip as CloudWatch sends it, or the JSON inside.

Every event's message is a line of any format, whose own time, service and host count before the envelope's: the event's
timestamp, the last part of the log group's name, the log stream. What else the envelope says is the attribute
`cloudwatch`. Lines that continue the line before them are its stack trace; those before the first line belong to an
earlier record. An empty or overlong message is an event that could not be read. Control messages have no events.

Everything is bounded: an archive that unpacks to more than 16 MiB, more than 50,000 events or events of more than 1,000
different hours are refused. (CloudWatch takes 10,000 events of 24 hours and 1 MiB in one batch, says AWS on
`PutLogEvents`.)

Source: "Log group-level subscription filters" in AWS's CloudWatch Logs user guide.
"""

import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from headrace.errors import PoisonError
from headrace.log_event import LogEvent, with_lines
from headrace.log_formats.format import with_attribute

MAX_UNPACKED_BYTES = 16 << 20
MAX_EVENTS = 50_000
MAX_HOURS = 1000
_HOUR_MS = 3_600_000
_GZIP = b"\x1f\x8b"
_GZIP_ONLY = 31
"""zlib's word for the format."""
_ENVELOPE = re.compile(rb'\s*+\{\s*+"messageType"\s*+:\s*+"(?:DATA|CONTROL)_MESSAGE"')
"""Not any JSON that begins with a type of message: services have such names of their own."""
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Continued(Protocol):
    """A line that continues the one before it."""

    @property
    def text(self) -> str:
        """The line."""
        ...


ReadLine = Callable[[bytes, int], LogEvent | Continued]
"""Reads one line, given when it was got; or raises PoisonError."""


class Batch(NamedTuple):
    """The events of one message."""

    continued: str | None
    """Lines before the first event, which continue one of an earlier message."""
    events: list[LogEvent]
    """None of a control message."""


class _Event(msgspec.Struct, gc=False, rename="camel"):
    timestamp: int
    message: str
    id: str | None = None
    extracted_fields: dict[str, Any] | None = None


class _Message(msgspec.Struct, rename="camel"):
    message_type: str
    owner: str | None = None
    log_group: str = ""
    log_stream: str = ""
    subscription_filters: list[str] = []
    log_events: list[_Event] = []


_DECODER = msgspec.json.Decoder(_Message)


def is_message(value: bytes) -> bool:
    """Whether the payload looks like one: an archive, or JSON that begins as one."""
    return value.startswith(_GZIP) or _ENVELOPE.match(value) is not None


def batch(value: bytes, read_line: ReadLine) -> Batch:
    """The events of a message.

    Raises:
        PoisonError: `damaged_gzip`, `too_large` (unpacked), `no_subscription` (something else than the message of one),
            `too_many_events`, `too_many_hours`.
    """
    message = _message(unpacked(value) if value.startswith(_GZIP) else value)
    if message.message_type == "CONTROL_MESSAGE":
        return Batch(None, [])
    if message.message_type != "DATA_MESSAGE":
        raise PoisonError("no_subscription", f"message type {message.message_type[:40]!a}")
    if len(message.log_events) > MAX_EVENTS:
        raise PoisonError("too_many_events", f"{len(message.log_events)} events; up to {MAX_EVENTS} are read")
    found = _joined(message, read_line)
    hours = {(event.timestamp or 0) // _HOUR_MS for event in found.events}
    if len(hours) > MAX_HOURS:
        raise PoisonError("too_many_hours", f"events of {len(hours)} hours; up to {MAX_HOURS} are taken")
    return found


def unpacked(archive: bytes) -> bytes:
    """The content of a gzip archive of one or several members.

    Raises:
        PoisonError: `damaged_gzip`, or `too_large`: nothing beyond the bound is unpacked to find out.
    """
    content = bytearray()
    try:
        while archive:
            member = zlib.decompressobj(_GZIP_ONLY)
            content += member.decompress(archive, MAX_UNPACKED_BYTES + 1 - len(content))
            if len(content) > MAX_UNPACKED_BYTES:
                raise PoisonError("too_large", f"more than {MAX_UNPACKED_BYTES} bytes, unpacked")
            if not member.eof:
                raise PoisonError("damaged_gzip", "the archive ends too early")
            archive = member.unused_data
    except zlib.error as error:
        raise PoisonError("damaged_gzip", str(error)) from None
    return bytes(content)


def _message(content: bytes) -> _Message:
    try:
        return _DECODER.decode(content)
    except _UNREADABLE as error:
        raise PoisonError("no_subscription", str(error)) from None


def _joined(message: _Message, read_line: ReadLine) -> Batch:
    """Each line an event, with the lines that continue it."""
    envelope = _Envelope(message)
    events: list[LogEvent] = []
    continued: list[list[str]] = [[]]  # before the first event, and after each
    for each in message.log_events:
        line = _read(each, read_line)
        if isinstance(line, LogEvent):
            events.append(envelope.around(line, each))
            continued.append([])
        else:
            continued[-1].append(line.text)
    before, *after = ["\n".join(lines) for lines in continued]
    return Batch(before or None, [with_lines(event, lines) for event, lines in zip(events, after, strict=True)])


def _read(each: _Event, read_line: ReadLine) -> LogEvent | Continued:
    try:
        return read_line(each.message.encode(), each.timestamp)
    except PoisonError as error:
        return LogEvent(format="unparsed", is_unparsed=1, message=each.message or None, unparsed=str(error))


class _Envelope:
    """What a message says of all its events."""

    def __init__(self, message: _Message) -> None:
        self._service = message.log_group.rstrip("/").rpartition("/")[2] or None
        self._host = message.log_stream or None
        self._said = {
            "owner": message.owner,
            "log_group": message.log_group,
            "log_stream": message.log_stream,
            "subscription_filters": message.subscription_filters,
        }

    def around(self, line: LogEvent, each: _Event) -> LogEvent:
        """The line's event, with what only the envelope knows."""
        said: dict[str, Any] = {"id": each.id, "timestamp": each.timestamp, **self._said}
        if each.extracted_fields:
            said["extracted_fields"] = each.extracted_fields
        return msgspec.structs.replace(
            line,
            timestamp=each.timestamp if line.timestamp is None else line.timestamp,
            service=line.service or self._service,
            host=line.host or self._host,
            attributes=with_attribute(line.attributes, "cloudwatch", said),
        )
