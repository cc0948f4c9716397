"""Session windows: aggregates per burst of activity of a key.

A session's end is its last event plus the gap. An event that touches two open sessions of its key merges them.
"""

from typing import Any

import msgspec

from headrace.aggregates import Aggregate
from headrace.codec import Codec
from headrace.errors import CheckpointCorrupt
from headrace.lake import Rows
from headrace.operators import Batch, LateRecord, Running
from headrace.records import TopicPartition
from headrace.windowed import Accumulators, Key, WindowRows, key_type, keys_of, late_record, only
from headrace.windows import SessionWindows

_OVER = 2**63
"""In the column of last events: the session was closed, or is part of another one. Later than any time."""


class Sessions(msgspec.Struct, frozen=True):
    """Aggregates per session of a key."""

    table: str
    """Name of the table that the rows go to."""
    window: SessionWindows
    key: tuple[str, ...]
    """Fields of the value that make the key."""
    aggregates: dict[str, Aggregate]
    """Column name to aggregate."""
    complete: bool = False
    """Whether the topic is keyed by the same fields: then no other partition has events of a session."""

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, state: msgspec.Raw | None) -> Running:
        """See `Operator.build`."""
        bounds = ("session_start", "session_end")
        rows = WindowRows(self.table, bounds, self.key, self.aggregates, codec.schema, place, complete=self.complete)
        return _RunningSessions(self, rows, lateness_ms, state)


class _RunningSessions:
    """Sessions by column: row n is a session of key n. Rows of closed sessions stay until the snapshot."""

    def __init__(self, operator: Sessions, rows: WindowRows, lateness_ms: int, state: msgspec.Raw | None) -> None:
        self._operator = operator
        self._rows = rows
        self._gap_ms = operator.window.gap_ms
        self._closes_after_ms = operator.window.gap_ms + lateness_ms
        state_type: Any = tuple[list[key_type(operator.key)], list[int], list[int], list[list[Any]]]  # type: ignore[misc] # built at run time
        restored = ([], [], [], None) if state is None else msgspec.msgpack.decode(state, type=state_type)
        self._keys: list[Key]
        self._starts_ms: list[int]
        self._lasts_ms: list[int]
        self._keys, self._starts_ms, self._lasts_ms, columns = restored
        if not len(self._keys) == len(self._starts_ms) == len(self._lasts_ms):
            name = f"the snapshot of {operator.table!r}"
            raise CheckpointCorrupt(f"{name} has columns of different lengths", name)
        self._states = Accumulators(operator.aggregates, columns, len(self._keys))
        self._rows_of: dict[Key, int | list[int]] = {}
        """Where the open sessions of a key are: one row for most, a list for the few that have several."""

    def apply(self, batch: Batch) -> list[LateRecord]:
        late = []
        added = 0
        rows: list[int | None] = []
        """Where the records from `added` on belong."""
        rows_of = self._rows_of = self._rows_by_key()
        starts_ms, lasts_ms = self._starts_ms, self._lasts_ms
        gap_ms, closes_after_ms = self._gap_ms, self._closes_after_ms
        for key, time_ms, watermark_ms in zip(
            keys_of(batch, self._operator.key), batch.times_ms, batch.watermarks_ms, strict=False
        ):
            row: Any = rows_of.get(key)
            if row.__class__ is int and starts_ms[row] <= time_ms:
                last_ms = lasts_ms[row]
                if time_ms <= last_ms + gap_ms and last_ms + closes_after_ms > watermark_ms:
                    if time_ms > last_ms:
                        lasts_ms[row] = time_ms
                    rows.append(row)
                    continue
            open_rows = self._open(key, watermark_ms)
            touched = self._touched(open_rows, time_ms)
            if len(touched) > 1:  # what comes before the merge goes where it belonged until then
                self._states.add(batch, rows, added)
                added, rows = added + len(rows), []
            rows.append(self._row_for(key, open_rows, touched, time_ms, watermark_ms))
            if rows[-1] is None:
                index = added + len(rows) - 1
                late.append(late_record(self._operator.table, batch, index, time_ms, time_ms + gap_ms))
        self._states.add(batch, rows, added)
        return late

    def close(self, watermark_ms: int) -> Rows | None:
        newest_closed_ms = watermark_ms - self._closes_after_ms
        closed = [row for row, last_ms in enumerate(self._lasts_ms) if last_ms <= newest_closed_ms]
        starts = [self._starts_ms[row] for row in closed]
        ends = [self._lasts_ms[row] + self._gap_ms for row in closed]
        keys = [self._keys[row] for row in closed]
        for row in closed:
            self._lasts_ms[row] = _OVER
        return self._rows.of(starts, ends, keys, self._states.results(closed))

    def open_until_ms(self) -> int | None:
        last_ms = max(only(self._live(), self._lasts_ms), default=None)
        return None if last_ms is None else last_ms + self._closes_after_ms

    def snapshot(self) -> Any:
        live = self._live()
        if not any(live):
            return None
        of_each = [only(live, column) for column in (self._keys, self._starts_ms, self._lasts_ms)]
        return *of_each, [only(live, column) for column in self._states.columns]

    def _live(self) -> list[bool]:
        return [last_ms != _OVER for last_ms in self._lasts_ms]

    def _rows_by_key(self) -> dict[Key, Any]:
        live = self._live()
        keys, rows = only(live, self._keys), only(live, range(len(live)))
        rows_of: dict[Key, Any] = dict(zip(keys, rows, strict=True))
        if len(rows_of) < len(keys):
            last_rows = list(map(rows_of.__getitem__, keys))
            for key, row, last_row in zip(keys, rows, last_rows, strict=True):
                if row != last_row:
                    found = rows_of[key]
                    rows_of[key] = [last_row, row] if isinstance(found, int) else [*found, row]
        return rows_of

    def _open(self, key: Key, watermark_ms: int) -> list[int]:
        """Rows of the key's sessions that the watermark has not closed; they lie more than a gap apart."""
        return [row for row in self._indexed(key) if self._lasts_ms[row] + self._closes_after_ms > watermark_ms]

    def _touched(self, open_rows: list[int], time_ms: int) -> list[int]:
        """Those that the event is in reach of: two at most, one on each side, the earlier one first."""
        starts_ms, lasts_ms, gap_ms = self._starts_ms, self._lasts_ms, self._gap_ms
        touched = [row for row in open_rows if starts_ms[row] - gap_ms <= time_ms <= lasts_ms[row] + gap_ms]
        return sorted(touched, key=starts_ms.__getitem__)

    def _row_for(
        self, key: Key, open_rows: list[int], touched: list[int], time_ms: int, watermark_ms: int
    ) -> int | None:
        """The row that the event belongs to, made, extended or merged for it; None if it is late."""
        if touched:
            row, *later = touched
            for other in later:
                self._merge(row, other)
                open_rows.remove(other)
            self._starts_ms[row] = min(self._starts_ms[row], time_ms)
            self._lasts_ms[row] = max(self._lasts_ms[row], time_ms)
        elif time_ms + self._closes_after_ms <= watermark_ms:
            row = None
        else:
            row = self._started(key, time_ms)
            open_rows.append(row)
        self._index(key, open_rows)
        return row

    def _started(self, key: Key, time_ms: int) -> int:
        self._keys.append(key)
        self._starts_ms.append(time_ms)
        self._lasts_ms.append(time_ms)
        return self._states.new_row()

    def _merge(self, row: int, later: int) -> None:
        self._states.merge(row, later)
        self._lasts_ms[row] = self._lasts_ms[later]
        self._lasts_ms[later] = _OVER

    def _indexed(self, key: Key) -> list[int]:
        found = self._rows_of.get(key, [])
        return [found] if isinstance(found, int) else found

    def _index(self, key: Key, rows: list[int]) -> None:
        if rows:
            self._rows_of[key] = rows[0] if len(rows) == 1 else rows
        else:
            self._rows_of.pop(key, None)
