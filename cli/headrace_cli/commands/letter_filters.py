"""The options by which `headrace dead` is told which letters it is about, written once."""

import functools
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import click

from headrace_cli.commands.options import TopicName, several
from headrace_cli.dead.selection import OffsetRange, Position, Selection
from headrace_cli.errors import OptionError

Command = Callable[..., Any]

_POSITION = re.compile(
    r"(?P<topic>[a-zA-Z0-9._-]{1,249})-(?P<partition>\d{1,9})@(?P<offset>\d{1,18})(?:/(?P<at>-?\d{1,18}))?",
    re.ASCII,
)


class Offsets(click.ParamType):
    """`FROM:TO`, half-open as everywhere in Kafka; either may be missing. One number is one offset."""

    name = "from[:to]"
    _form = re.compile(r"(?P<start>\d{0,18})(?:(?P<colon>:)(?P<end>\d{0,18}))?", re.ASCII)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> OffsetRange:
        """Read the range."""
        match = self._form.fullmatch(str(value))
        if match is None or not (match["start"] or match["end"]):
            self.fail(f"{value!r} is no range of offsets: 41, 41:50 (without 50), 41: or :50", param, ctx)
        start = int(match["start"] or 0)
        if not match["colon"]:
            return OffsetRange(start, start + 1)
        return OffsetRange(start, int(match["end"]) if match["end"] else None)


class RecordPosition(click.ParamType):
    """`TOPIC-PARTITION@OFFSET`, as `headrace dead show` prints it."""

    name = "topic-partition@offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Position:
        """Read the position."""
        position = _position(str(value))
        if position is None:
            self.fail(f"{value!r} is no position, e.g. clicks-0@41", param, ctx)
        return position


class Instant(click.ParamType):
    """A time in ISO 8601; UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it as epoch milliseconds."""
        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time, e.g. 2024-03-13T10:15 or 2024-03-13T10:15:02.5+01:00", param, ctx)
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def letter_filters(command: Command) -> Command:
    """Give a command the filters; it gets them as `selection: Selection`."""

    @click.option("--late", is_flag=True, help="Late rows too (their reason is `late`).")
    @several("--pipeline", "pipelines", help="Of this pipeline.")
    @several("--generation", "generations", help="Of this generation.")
    @several("--topic", "topics", type=TopicName(), help="From this topic.")
    @several("--partition", "partitions", type=click.IntRange(min=0), help="From this partition.")
    @several("--offset", "offsets", type=Offsets(), help="At 41, 41:50 (without 50), 41: or :50.")
    @several("--position", "positions", type=RecordPosition(), help="This record.")
    @click.option("--positions", "listed", type=click.File(), metavar="FILE", help="Records by position, one per line.")
    @several("--reason", "reasons", help="With this reason, e.g. invalid_json.")
    @click.option("--since", "since_ms", type=Instant(), help="With a Kafka timestamp from then on (UTC).")
    @click.option("--until", "until_ms", type=Instant(), help="With a Kafka timestamp before then (UTC).")
    @functools.wraps(command)
    def gathered(*args: Any, listed: TextIO | None, **kwargs: Any) -> Any:
        filters = {name: kwargs.pop(name) for name in Selection.__struct_fields__}
        if listed is not None:
            filters["positions"] |= _listed(listed)
            if not filters["positions"]:  # which would select everything
                raise OptionError(f"--positions {listed.name}: it has no positions")
        return command(*args, selection=Selection(**filters), **kwargs)

    return gathered


def _listed(lines: Iterable[str]) -> set[Position]:
    found = set()
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            position = _position(text)
            if position is None:
                raise OptionError(f"--positions: line {number} is no position like clicks-0@41: {text[:80]!r}")
            found.add(position)
    return found


def _position(text: str) -> Position | None:
    match = _POSITION.fullmatch(text)
    if match is None:
        return None
    timestamp_ms = int(match["at"]) if match["at"] else None
    return Position(match["topic"], int(match["partition"]), int(match["offset"]), timestamp_ms)
