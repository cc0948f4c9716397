"""What a trial found: counts of everything, and the first or the largest few of each kind to be shown."""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, NamedTuple

from headrace.codec import Decoded
from headrace.lake import DEAD_LETTERS, LATE, Rows

EXAMPLES_KEPT = 3
"""Lines, of each reason."""
REASONS_KEPT = 50
"""Reasons with examples; the rest is counted together."""
EXAMPLE_CHARACTERS = 500
ALERTS_KEPT = 100
MINUTES_KEPT = 20
PATTERNS_COUNTED = 20_000
"""More different ones are too many to count: the rare half is then dropped."""

_OTHER = "other"
_format, _pattern, _severity = attrgetter("format"), attrgetter("pattern"), attrgetter("severity")
_is_unparsed, _timestamp = attrgetter("is_unparsed"), attrgetter("timestamp")


class Example(NamedTuple):
    """A line that could not be read."""

    line: int
    """Its number in the file, from 1."""
    detail: str
    text: str
    """Its beginning, as it was."""


class Reasons:
    """Why lines could not be read: how often, and the first ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[Example]] = {}

    def add(self, reason: str, example: Example) -> None:
        """Count one."""
        known = reason if reason in self.counts or len(self.counts) < REASONS_KEPT else _OTHER
        self.counts[known] += 1
        examples = self.examples.setdefault(known, [])
        if len(examples) < EXAMPLES_KEPT:
            examples.append(example)


class Largest:
    """The rows with the largest counts, of any number of rows."""

    def __init__(self, by: str, most: int) -> None:
        self._by, self._most = by, most
        self._heap: list[tuple[int, int, dict[str, Any]]] = []
        self._order = itertools.count()

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Take rows in; of equal ones the first stays."""
        for row in rows:
            item = (row[self._by], -next(self._order), row)
            if len(self._heap) < self._most:
                heapq.heappush(self._heap, item)
            elif item > self._heap[0]:
                heapq.heapreplace(self._heap, item)

    def rows(self) -> list[dict[str, Any]]:
        """They, the largest first."""
        return [row for _, _, row in sorted(self._heap, reverse=True)]


class Tally:
    """Counts of one run; its memory does not grow with the file."""

    def __init__(self) -> None:
        self.lines = 0
        self.formats: Counter[str] = Counter()
        """Events by format."""
        self.severities: Counter[str] = Counter()
        """Events by severity."""
        self.continuations = 0
        """Lines that continue the event before them."""
        self.silent = 0
        """Records without an event, such as control messages."""
        self.unparsed = Reasons()
        self.dead = Reasons()
        self.tables: Counter[str] = Counter()
        """Rows by table."""
        self.minutes = Largest("events", MINUTES_KEPT)
        """Rows of `service_minutes` with the most events."""
        self._alerts: dict[str, list[dict[str, Any]]] = {}
        """The first rows of `alerts` by rule."""
        self.patterns: Counter[str] = Counter()
        """Events by pattern."""
        self.patterns_dropped = False
        """Whether there were too many to count them all: counts are then lower bounds."""
        self.first_ms: int | None = None
        """The earliest time in a line."""
        self.last_ms: int | None = None
        """The latest one."""
        self.parsing_s = 0.0
        """CPU time from bytes to events."""
        self.through_s = 0.0
        """CPU time from bytes through to aggregates."""

    @property
    def events(self) -> int:
        """All events."""
        return self.formats.total()

    @property
    def unread(self) -> int:
        """Lines that no format could read, and dead letters."""
        return self.unparsed.counts.total() + self.dead.counts.total()

    def took(self, lines: int, parsing_s: float, through_s: float) -> None:
        """So many lines more in so much CPU time."""
        self.lines += lines
        self.parsing_s += parsing_s
        self.through_s += through_s

    def saw(self, decoded: Decoded) -> None:
        """Count what became of a batch."""
        values = decoded.values
        self.formats.update(map(_format, values))
        self.severities.update(map(_severity, values))
        self.continuations += len(decoded.continuations)
        self.silent += len(decoded.silent)
        self._saw_times([time_ms for time_ms in map(_timestamp, values) if time_ms is not None])
        self._saw_patterns(pattern for pattern in map(_pattern, values) if pattern is not None)
        if any(map(_is_unparsed, values)):
            for record, event in zip(decoded.records, values, strict=True):
                if event.is_unparsed:
                    reason, _, detail = event.unparsed.partition(": ")
                    self.unparsed.add(reason, Example(record.offset + 1, detail, event.message[:EXAMPLE_CHARACTERS]))
        for record, poison in decoded.poison:
            text = (record.value or b"")[:EXAMPLE_CHARACTERS].decode(errors="replace")
            self.dead.add(poison.reason, Example(record.offset + 1, poison.detail, text))

    def closed(self, rows: Rows) -> None:
        """Count rows of a table of the logs function."""
        name = rows.table.name
        if name == DEAD_LETTERS:
            return  # counted as records
        self.tables[name] += len(rows.times_ms)
        if name == "service_minutes":
            self.minutes.add(_shown(rows))
        elif name == "alerts":
            for row in _shown(rows):
                of_rule = self._alerts.setdefault(row["rule"], [])
                if len(of_rule) < ALERTS_KEPT:
                    of_rule.append(row)

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """The first alerts of each rule, those of the rarest rule first."""
        return [row for of_rule in sorted(self._alerts.values(), key=len) for row in of_rule]

    @property
    def late(self) -> int:
        """Rows of the late output."""
        return self.tables[LATE]

    def _saw_times(self, times_ms: list[int]) -> None:
        if times_ms:
            self.first_ms = min(times_ms) if self.first_ms is None else min(self.first_ms, *times_ms)
            self.last_ms = max(times_ms) if self.last_ms is None else max(self.last_ms, *times_ms)

    def _saw_patterns(self, patterns: Iterable[str]) -> None:
        self.patterns.update(patterns)
        if len(self.patterns) > PATTERNS_COUNTED:
            self.patterns = Counter(dict(self.patterns.most_common(PATTERNS_COUNTED // 2)))
            self.patterns_dropped = True


def _shown(rows: Rows) -> list[dict[str, Any]]:
    """The rows without the columns that are for merging and for finding them again."""
    columns = {
        field.name: column.to_pylist()
        for field, column in zip(rows.table.fields, rows.columns, strict=True)
        if "__" not in field.name and not field.name.startswith("_")
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
