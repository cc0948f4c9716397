"""What a log format is: a name and a function from a line to an event, shown by a table of examples."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from headrace.log_event import LogEvent

Example = tuple[str, dict[str, object]]
"""A line, and the fields of its event that are not at their default; `attributes` decoded."""

EXAMPLES_KAFKA_MS = 1_795_773_600_000
"""Kafka's timestamp of the lines in the tables of examples: 2026-11-27T10:00:00Z."""


UNKNOWN_FORMAT = "unknown_format"
"""The reason when a line does not have the format; others mean that it has, with a wrong value in it."""


class Unparsable(ValueError):
    """A line is none of this format."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        """A short stable code, e.g. `invalid_time`."""
        self.detail = detail
        """What exactly was wrong, for a person; one short line."""


class Format(Protocol):
    """Reads lines of one format, in time linear in their length."""

    @property
    def name(self) -> str:
        """What declarations and `LogEvent.format` call it."""
        ...

    def parse(self, line: bytes, kafka_ms: int) -> LogEvent:
        """The event that a line tells.

        Args:
            line: UTF-8 text of at most 1 MiB without surrounding white space or ANSI sequences. It may have line ends
                within.
            kafka_ms: when Kafka got it, epoch milliseconds: what a time without a year is close to.

        Raises:
            Unparsable: the line is none of this format, or a value by which results are counted cannot be.
        """
        ...


def text_of(line: bytes) -> str:
    """The line's text.

    Raises:
        Unparsable: `not_utf8`.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Unparsable("not_utf8", error.reason) from None


def present(text: str | None) -> str | None:
    """None for `-` and for nothing, which is how access logs and syslog write it."""
    return None if text in _ABSENT else text


_ABSENT = frozenset({None, "-", ""})


def attributes_of(members: Mapping[str, object]) -> str | None:
    """JSON of what has no field of its own; None if there is nothing."""
    return msgspec.json.encode(members).decode() if members else None


def with_attribute(attributes: str | None, name: str, said: Mapping[str, object]) -> str:
    """A line's attributes and what its envelope says; its own attribute of that name is then in the object `line`."""
    mine = msgspec.json.encode({name: said}).decode()
    if attributes is None:
        return mine
    if f'"{name}"' in attributes:
        return f'{mine[:-1]},"line":{attributes}}}'
    return f"{attributes[:-1]},{mine[1:]}"


def shown(line: str) -> str:
    """The beginning of a line, for an error's detail."""
    return f"{line[:40]!a}"
