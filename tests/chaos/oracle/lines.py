"""Records as log lines: what each says, and which rows come of it, with a list of what is held, oldest first.

`value` decides: without one a record continues the line before it of its key, 0 says nothing, 3.5 is two events, every
other number is one. A line is held until the next one of its key, until the watermark has gone `hold_ms` beyond it and
beyond where the watermark was before it, or until a bound is reached; the oldest goes first.
"""

from collections import Counter
from typing import NamedTuple

from chaos.oracle.events import Event, believed, fields_of, place
from chaos.oracle.rules import Lines, Logged, Row, Rows, Rules

SILENT, DOUBLE = 0, 3.5


class Said(NamedTuple):
    """What a record says."""

    continues: str | None
    events: list[Event]


def said(record: Logged, rules: Rules) -> Said:
    """See above.

    Raises:
        Dead: it cannot be read.
    """
    fields = fields_of(record)
    value = fields.get("value")
    if value is None:
        return Said(f"{fields['page']} {fields['at']}", [])
    if value == SILENT:
        return Said(None, [])
    return Said(None, [believed(record, fields, rules)] * (2 if value == DOUBLE else 1))


class _Line:
    def __init__(self, event: Event, due_ms: int) -> None:
        self.event, self.due_ms = event, due_ms
        self.message = str(event.fields["page"])
        self.added: list[str] = []

    @property
    def characters(self) -> int:
        return len(self.message) + sum(map(len, self.added))


class Landing:
    """The landing of one partition's lines."""

    def __init__(self, bounds: Lines) -> None:
        self.rows: Rows = Counter()
        self._bounds = bounds
        self._held: list[_Line] = []

    def goes_on(self, record: Logged, text: str) -> None:
        """A record that continues a line."""
        mine = [line for line in self._held if line.event.record.key == record.key]
        if not mine:
            assert record.key is not None
            self.rows[_row(None, "continuation", record.key.decode(), None, text, None, record)] += 1
        for line in mine:
            line.added.append(text)
            if len(line.added) >= self._bounds.lines:
                self._give_out(line)
        self._make_room()

    def take(self, event: Event, watermark_ms: int) -> None:
        """An event; the watermark is the one before it."""
        for line in [line for line in self._held if line.event.record.key == event.record.key]:
            self._give_out(line)
        self._held.append(_Line(event, max(event.time_ms, watermark_ms) + self._bounds.hold_ms))
        self._make_room()

    def advance(self, watermark_ms: int) -> None:
        """The watermark is here now."""
        for line in [line for line in self._held if line.due_ms <= watermark_ms]:
            self._give_out(line)

    def open_ends_ms(self) -> list[int]:
        """The watermarks that give out what is held."""
        return [line.due_ms for line in self._held]

    def _make_room(self) -> None:
        while len(self._held) > self._bounds.streams or self._characters() > self._bounds.characters:
            self._give_out(self._held[0])

    def _characters(self) -> int:
        return sum(line.characters for line in self._held)

    def _give_out(self, line: _Line) -> None:
        self._held.remove(line)
        record, fields = line.event.record, line.event.fields
        stack_trace = "\n".join(line.added) if line.added else None
        row = _row(line.event.time_ms, "hit", fields["page"], fields["user"], line.message, stack_trace, record)
        self.rows[row] += 1


def _row(
    at_ms: int | None, kind: str, service: str, user: str | None, message: str, stack_trace: str | None, record: Logged
) -> Row:
    return (at_ms, kind, service, user, message, stack_trace, *place(record))
