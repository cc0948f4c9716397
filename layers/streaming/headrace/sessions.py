"""Session windows at work: aggregates per burst of activity of a key.

A session's end is its last event plus the gap. An event that touches two open sessions of its key merges them.
"""

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from headrace.lake import Rows
from headrace.operators import Batch, LateRecord, Restored, copied
from headrace.state import OpenRows
from headrace.window_rows import Closed, Declared, Table, late
from headrace.windows import SessionWindows, Window

Key = Any
"""The value of the key field, or a tuple of the values of several: hashing tuples would cost as much again."""

_OVER = 2**63 - 1
"""Start and last event of a session that became part of another one. Later than any time."""
_SLOTS = 64
"""Of time, by which sessions are looked at when they may be due: a session waits for about so many turns of them."""


class RunningSessions:
    """A row for each session; see `operators.Running`."""

    _SCALARS: Sequence[Any] = (0, 0)
    """Initial values of the columns between key and aggregates: first and last event time, and a subclass's own."""

    def __init__(
        self, declared: Declared, window: SessionWindows, table: Table, lateness_ms: int, restored: Restored
    ) -> None:
        """Go on from what was open."""
        self._key = declared.key
        self._table = table
        self._gap_ms = window.gap_ms
        self._lateness_ms = lateness_ms
        self._closes_after_ms = window.gap_ms + lateness_ms
        self._slot_ms = -(-self._closes_after_ms // _SLOTS)
        self.state = OpenRows(len(self._key), self._SCALARS, declared.aggregates, restored.parts)
        self._starts_ms, self._lasts_ms = self.state.columns[len(self._key) : len(self._key) + 2]
        self._row_of: dict[Key, int] = {}
        """The open session of a key …"""
        self._rows_of: dict[Key, list[int]] = {}
        """… or its open sessions by time, where it has several: there can be thousands."""
        self._due: dict[int, list[int]] = {}
        """Slot of time to the sessions whose last event was in it when they were last looked at."""
        self._started: dict[int, Key] = {}
        """New rows that the state does not know yet, and their keys."""
        self._newest_ms = -_OVER
        """Newest event time taken in: the last session to close ends with it."""
        self._index(restored.watermark_ms)

    def apply(self, batch: Batch) -> list[LateRecord]:
        """See `operators.Running.apply`."""
        late_records: list[LateRecord] = []
        first = 0
        rows: list[int | None] = []  # where the records from `first` on belong; None: nowhere
        row_of, several, gap_ms = self._row_of, self._rows_of, self._gap_ms
        free = self.state.free(len(batch.times_ms))
        starts_ms, lasts_ms, started = self._starts_ms, self._lasts_ms, self._started
        surely_open_ms = batch.watermarks_ms[-1] - self._closes_after_ms
        for key, time_ms in zip(self._keys(batch), batch.times_ms, strict=True):
            row = row_of.get(key)
            if row is not None and (last_ms := lasts_ms[row]) > surely_open_ms:
                if starts_ms[row] <= time_ms <= last_ms + gap_ms:
                    if time_ms > last_ms:
                        lasts_ms[row] = time_ms
                    rows.append(row)
                    continue
            elif row is None and time_ms > surely_open_ms and key not in several:
                row = free.pop()
                starts_ms[row] = lasts_ms[row] = time_ms
                started[row] = kept = copied(key)
                row_of[kept] = row
                rows.append(row)
                continue
            index = first + len(rows)
            watermark_ms = batch.watermarks_ms[index]
            open_rows = self._open(key, watermark_ms)
            touched = self._touched(open_rows, time_ms)
            if len(touched) > 1:  # what comes before the merge goes where it belonged until then
                self._take(batch, first, rows)
                first, rows = index, []
            row = self._row_for(key, open_rows, touched, time_ms, watermark_ms)
            if row is None:
                late_records.append(late(self._table.name, batch, index, [self._alone(time_ms)], self._lateness_ms))
            rows.append(row)
        self._take(batch, first, rows)
        self._newest_ms = max(self._newest_ms, max(batch.times_ms, default=self._newest_ms))
        return late_records

    def close(self, watermark_ms: int) -> list[Rows]:
        """See `operators.Running.close`."""
        self._give_out(watermark_ms)
        return self._table.take()

    def open_until_ms(self) -> int | None:
        """See `operators.Running.open_until_ms`."""
        return self._newest_ms + self._closes_after_ms if self._row_of or self._rows_of else None

    def _index(self, watermark_ms: int) -> None:
        newest_closed_ms = watermark_ms - self._closes_after_ms
        lasts_ms = self._lasts_ms
        closed = [row for row in self.state.numbers() if lasts_ms[row] <= newest_closed_ms]
        self.state.release(closed)
        rows = self.state.numbers()
        columns = [[column[row] for row in rows] for column in self.state.columns[: len(self._key)]]
        keys = _keys(columns, len(rows))
        self._row_of = dict(zip(keys, rows, strict=True))
        if len(self._row_of) < len(rows):
            self._find_several(keys, rows)
        slot_ms = self._slot_ms
        due: defaultdict[int, list[int]] = defaultdict(list)
        last_times_ms = [lasts_ms[row] for row in rows]
        for row, last_ms in zip(rows, last_times_ms, strict=True):
            due[last_ms // slot_ms].append(row)
        self._due = dict(due)
        self._newest_ms = max(last_times_ms, default=self._newest_ms)

    def _find_several(self, keys: Sequence[Key], rows: Sequence[int]) -> None:
        row_of = self._row_of
        for key, row in [(key, row) for key, row in zip(keys, rows, strict=True) if row_of[key] != row]:
            self._rows_of.setdefault(key, [row_of[key]]).append(row)
        for key, of_key in self._rows_of.items():
            del self._row_of[key]
            of_key.sort(key=self._starts_ms.__getitem__)

    def _keys(self, batch: Batch) -> Sequence[Key]:
        return _keys([batch.column(name) for name in self._key], len(batch.times_ms))

    def _take(self, batch: Batch, first: int, rows: list[Any]) -> None:
        """Into the aggregates; the records from `first` on, without those that belong nowhere."""
        self._report_started()
        if None in rows or len(rows) < len(batch.times_ms):
            batch = batch.only([first + n for n, row in enumerate(rows) if row is not None])
            rows = [row for row in rows if row is not None]
        if rows:
            self.state.add(rows, batch)

    def _report_started(self) -> None:
        started = self._started
        if started:
            keys = list(started.values())
            self.state.opened(list(started), [keys] if len(self._key) == 1 else list(zip(*keys, strict=True)))
            slot_ms, due, starts_ms = self._slot_ms, self._due, self._starts_ms
            for row in started:
                due.setdefault(starts_ms[row] // slot_ms, []).append(row)
            started.clear()

    def _alone(self, time_ms: int) -> Window:
        """The session of one event."""
        return Window(time_ms, time_ms + self._gap_ms)

    def _open(self, key: Key, watermark_ms: int) -> list[int]:
        """The key's sessions that the watermark has not closed, by time; they lie more than a gap apart."""
        row = self._row_of.get(key)
        rows = self._rows_of.get(key, []) if row is None else [row]
        del rows[: bisect_right(rows, watermark_ms - self._closes_after_ms, key=self._lasts_ms.__getitem__)]
        return rows

    def _touched(self, open_rows: list[int], time_ms: int) -> list[int]:
        """Those that the event is in reach of: two at most, one on each side, the earlier one first."""
        first = bisect_left(open_rows, time_ms - self._gap_ms, key=self._lasts_ms.__getitem__)
        return [row for row in open_rows[first : first + 2] if self._starts_ms[row] - self._gap_ms <= time_ms]

    def _row_for(
        self, key: Key, open_rows: list[int], touched: list[int], time_ms: int, watermark_ms: int
    ) -> int | None:
        """The session that the event belongs to, made, extended or merged for it; None if it is late."""
        starts_ms = self._starts_ms
        if touched:
            row, *later = touched
            for other in later:
                del open_rows[bisect_left(open_rows, starts_ms[other], key=starts_ms.__getitem__)]
                self._merge(row, other)
            starts_ms[row] = min(starts_ms[row], time_ms)
            self._lasts_ms[row] = max(self._lasts_ms[row], time_ms)
        elif time_ms + self._closes_after_ms <= watermark_ms:
            row = None
        else:
            row = self._start(key, time_ms)
            insort(open_rows, row, key=starts_ms.__getitem__)
        self._note(key, open_rows)
        return row

    def _start(self, key: Key, time_ms: int) -> int:
        row = self.state.free(1).pop()
        self._starts_ms[row] = self._lasts_ms[row] = time_ms
        self._started[row] = key
        return row

    def _merge(self, row: int, later: int) -> None:
        self.state.merge(row, later)
        self._lasts_ms[row] = self._lasts_ms[later]
        self._starts_ms[later] = self._lasts_ms[later] = _OVER  # its number is free when it is looked at next

    def _note(self, key: Key, rows: list[int]) -> None:
        """These are the open sessions of the key."""
        self._row_of.pop(key, None)
        self._rows_of.pop(key, None)
        if len(rows) == 1:
            self._row_of[key] = rows[0]
        elif rows:
            self._rows_of[key] = rows

    def _give_out(self, watermark_ms: int) -> None:
        """Rows of all sessions that close up to this watermark."""
        closed = self._closed_by(watermark_ms)
        if closed:
            self._table.final(self._rows(closed))
            self._forget(closed)

    def _closed_by(self, watermark_ms: int) -> list[int]:
        newest_closed_ms = watermark_ms - self._closes_after_ms
        slot_ms, due, lasts_ms = self._slot_ms, self._due, self._lasts_ms
        closed: list[int] = []
        over: list[int] = []
        for slot in [slot for slot in due if slot <= newest_closed_ms // slot_ms]:
            for row in due.pop(slot):
                last_ms = lasts_ms[row]
                if last_ms <= newest_closed_ms:
                    closed.append(row)
                elif last_ms == _OVER:
                    over.append(row)
                else:
                    due.setdefault(last_ms // slot_ms, []).append(row)
        self.state.release(over)
        return closed

    def _rows(self, rows: list[int]) -> Closed:
        gap_ms = self._gap_ms
        windows = [Window(self._starts_ms[row], self._lasts_ms[row] + gap_ms) for row in rows]
        keys = [[column[row] for row in rows] for column in self.state.columns[: len(self._key)]]
        return Closed(windows, keys, self.state.states(rows))

    def _forget(self, rows: list[int]) -> None:
        columns = [[column[row] for row in rows] for column in self.state.columns[: len(self._key)]]
        keys = _keys(columns, len(rows))
        several: set[Key] = set()
        for key, row in zip(keys, rows, strict=True):
            if self._row_of.get(key) == row:
                del self._row_of[key]
            elif key in self._rows_of:
                several.add(key)
        closed = set(rows) if several else ()
        for key in several:
            self._note(key, [row for row in self._rows_of[key] if row not in closed])
        self.state.release(rows)


def _keys(columns: Sequence[Sequence[Any]], number: int) -> Sequence[Key]:
    """So many keys, of their fields' columns."""
    if len(columns) == 1:
        return columns[0]
    return list(zip(*columns, strict=True)) if columns else [()] * number
