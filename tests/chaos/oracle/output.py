"""What one operator gives out, and the order in which things happen at a record.

    the watermark before the record  ─►  the record  ─►  the watermark advances by it
    has closed what it closed            is applied      rows of what is over, or is over and has changed

**Early results** go to a table of their own. A window is over when the watermark has reached its end; until it closes,
lateness later, each of its states that was not given out is given out as a row, with the number of such rows before it
as `revision`. So revision 0 has what had come when the watermark passed the end, and each record that it takes after
that makes one more. A window that is over and closes at the same record has no such row: the final one is enough.

A session that grows beyond the watermark is no longer over. It is given out again when the watermark has passed its
new end. Its rows are known by its start: when the start changes, because of an event before it or because the session
becomes part of an earlier one, the row that was given out is taken back: one more revision under the old start, with
`retracted` true and the session as it was before the record. The new start has revisions of its own. They end with the
session: one that comes to reach back to where a closed one began has revision 0 again.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from chaos.oracle.events import Event, aggregated, place
from chaos.oracle.rules import Declared, Row, Rows


class Bounds(NamedTuple):
    """One window."""

    start_ms: int
    end_ms: int


class Output:
    """Everything that came out of an operator so far."""

    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        self.rows: Rows = Counter()
        self.early: Rows = Counter()
        self.taken_back: Rows = Counter()
        """Those of `early` that retract others."""
        self.late: Rows = Counter()
        self.alerts: Rows = Counter()
        self.accepted: list[Event] = []
        """Everything that went into a window."""

    def is_closed(self, end_ms: int, watermark_ms: int) -> bool:
        """Whether a window that ends there takes nothing more."""
        return watermark_ms >= end_ms + self.declared.lateness_ms

    def final(self, bounds: Bounds, key: Row, events: Sequence[Event]) -> None:
        """The row of a window that closes."""
        self.rows[(*bounds, *key, *aggregated(events, self.declared), *_partition(events))] += 1

    def first(self, event: Event, key: Row, samples: Row) -> None:
        """The row of a key that is seen for the first time."""
        self.rows[(event.time_ms, *key, *samples, *place(event.record))] += 1

    def revised(self, bounds: Bounds, key: Row, events: Sequence[Event], revision: int) -> None:
        """A row of one that is over and may still change."""
        self._early(bounds, key, events, (revision, False))

    def retracted(self, bounds: Bounds, key: Row, events: Sequence[Event], revision: int) -> None:
        """The row that takes back what was given out under this start."""
        self.taken_back[self._early(bounds, key, events, (revision, True))] += 1

    def too_late(self, event: Event, missed: Sequence[Bounds], watermark_ms: int) -> None:
        """The row of an event that came after some of its windows had closed."""
        start_ms, end_ms = missed[0].start_ms, missed[-1].end_ms
        late_by_ms = watermark_ms - (end_ms + self.declared.lateness_ms)
        self.late[
            (
                *(self.declared.table, event.time_ms, start_ms, end_ms, len(missed), watermark_ms, late_by_ms),
                *(event.record.value, *place(event.record)),
            )
        ] += 1

    def _early(self, bounds: Bounds, key: Row, events: Sequence[Event], revision: Row) -> Row:
        row = (*bounds, *key, *aggregated(events, self.declared), *revision, *_partition(events))
        self.early[row] += 1
        return row


def _partition(events: Sequence[Event]) -> Row:
    return (events[0].record.topic, events[0].record.partition)
