"""Which letters a command is about. Pure.

What a file's name tells is asked of the name first: a file that can hold nothing of interest is not read.
"""

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from headrace.lake import DEAD_LETTERS, LATE, MAX_TIME_MS, MIN_TIME_MS
from headrace_cli.dead.letters import Letter, LetterFile

T = TypeVar("T")


class OffsetRange(msgspec.Struct, frozen=True):
    """Offsets from `start` to before `end`; None is without end."""

    start: int = 0
    end: int | None = None

    def __contains__(self, offset: int) -> bool:
        return self.start <= offset and (self.end is None or offset < self.end)


class Position(msgspec.Struct, frozen=True):
    """One record's place, and its timestamp if that was said too."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None = None


class Selection(msgspec.Struct, frozen=True):
    """What to take; an empty filter takes everything, several values of one are alternatives."""

    late: bool = False
    """Late rows too, not only dead letters."""
    pipelines: frozenset[str] = frozenset()
    generations: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    offsets: frozenset[OffsetRange] = frozenset()
    positions: frozenset[Position] = frozenset()
    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    """Kafka timestamps from here on, epoch milliseconds …"""
    until_ms: int | None = None
    """… to before here."""

    def may_be_in(self, file: LetterFile) -> bool:
        """Whether the file can hold letters of the selection."""
        return (
            (file.table == DEAD_LETTERS or self.late)
            and _takes(self.pipelines, file.pipeline)
            and _takes(self.generations, file.generation)
            and _takes(self.topics, file.topic)
            and _takes(self.partitions, file.partition)
            and _takes(self._places, (file.topic, file.partition))
            and (file.table == LATE or self._has_hour(file.file.hour))
        )

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is of the selection. Its file has been asked already."""
        record = letter.record
        return (
            _takes(self.reasons, letter.reason)
            and (not self.offsets or any(record.offset in offsets for offsets in self.offsets))
            and (not self.positions or bool(self.positions & {Position(*record[:3]), Position(*record)}))
            and (self.since_ms is None or self.since_ms <= record.timestamp_ms)
            and (self.until_ms is None or record.timestamp_ms < self.until_ms)
        )

    @property
    def _places(self) -> frozenset[tuple[str, int]]:
        return frozenset((position.topic, position.partition) for position in self.positions)

    def _has_hour(self, hour: str) -> bool:
        """Dead letters are filed by Kafka's timestamp, late rows are not."""
        start = datetime.fromisoformat(f"{hour}:00:00").replace(tzinfo=UTC)
        since, until = _named(self.since_ms), _named(self.until_ms)
        return (until is None or start <= until) and (since is None or since - start < timedelta(hours=1))


def _takes(allowed: frozenset[T], value: T) -> bool:
    return not allowed or value in allowed


def _named(time_ms: int | None) -> datetime | None:
    """The time, within the hours that have a name, as letters are filed."""
    if time_ms is None:
        return None
    named_ms = min(max(time_ms, MIN_TIME_MS), MAX_TIME_MS)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=named_ms)
