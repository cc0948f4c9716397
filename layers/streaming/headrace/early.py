"""Windows with early results: given out as soon as they are over, and again whenever a record changes them.

A window is *over* when the watermark has passed its end, and *closed* when it has passed end + allowed lateness.

    watermark      end          end + lateness
    ────────────────┼──────────────────┼──────────►
       open         │  over: early     │  closed: the final row
                    │  revision 0, 1, … │

Who jumps over the whole stretch in one step gives out the final row only. What is given out follows from each record
and the watermark before it, not from where batches are cut. It costs more per record than windows without early
results: each window of a record is a row of its own, and records for windows that are over are taken one by one.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

from headrace.lake import Rows
from headrace.operators import Batch, LateRecord, Restored
from headrace.sessions import RunningSessions
from headrace.state import OpenRows
from headrace.window_rows import Closed, Declared, Table, late
from headrace.windows import FixedWindows, SessionWindows, Window

NOT_GIVEN_OUT = -1
"""Revision of what was not given out yet."""


class RunningEarly:
    """Fixed windows: a row of state for each window and key; see `operators.Running`."""

    def __init__(
        self, declared: Declared, window: FixedWindows, table: Table, lateness_ms: int, restored: Restored
    ) -> None:
        """Go on from what was open."""
        self._key = declared.key
        self._table = table
        self._lateness_ms = lateness_ms
        self._containing = window.containing
        self.state = OpenRows(1 + len(self._key), (NOT_GIVEN_OUT,), declared.aggregates, restored.parts)
        self._revisions = self.state.columns[1 + len(self._key)]
        self._rows_of: dict[Window, dict[tuple[Any, ...], int]] = {}
        """Window to key to row."""
        self._watermarks_ms: Sequence[int] = ()
        """Of the batch that is being applied."""
        self._given_out_ms = restored.watermark_ms
        """The watermark up to which windows were given out."""
        self._index(restored.watermark_ms)

    def apply(self, batch: Batch) -> list[LateRecord]:
        """See `operators.Running.apply`."""
        self._watermarks_ms = batch.watermarks_ms
        late_records = []
        pending: list[tuple[int, int]] = []
        for index, (key, time_ms, watermark_ms) in enumerate(
            zip(batch.keys(self._key), batch.times_ms, batch.watermarks_ms, strict=False)
        ):
            windows = self._containing(time_ms)
            missed = [window for window in windows if window.end_ms + self._lateness_ms <= watermark_ms]
            if missed:
                late_records.append(late(self._table.name, batch, index, missed, self._lateness_ms))
            counted = windows[len(missed) :]
            if any(window.end_ms <= watermark_ms for window in counted):
                self._take(batch, pending)
                self._give_out(watermark_ms)
                pending = []
            pending += [(index, self._row(window, key)) for window in counted]
            changed = [(window, self._row(window, key)) for window in counted if window.end_ms <= watermark_ms]
            if changed:
                self._take(batch, pending)
                pending = []
                self._give_out_early(changed)
        self._take(batch, pending)
        return late_records

    def close(self, watermark_ms: int) -> list[Rows]:
        """See `operators.Running.close`."""
        self._give_out(watermark_ms)
        self._watermarks_ms = ()
        return self._table.take()

    def open_until_ms(self) -> int | None:
        """See `operators.Running.open_until_ms`."""
        return max(window.end_ms for window in self._rows_of) + self._lateness_ms if self._rows_of else None

    def _index(self, watermark_ms: int) -> None:
        columns = self.state.columns[: 1 + len(self._key)]
        closed = []
        for row in self.state.numbers():
            start_ms, *key = [column[row] for column in columns]
            window = next(window for window in self._containing(start_ms) if window.start_ms == start_ms)
            if window.end_ms + self._lateness_ms <= watermark_ms:
                closed.append(row)
            else:
                self._rows_of.setdefault(window, {})[tuple(key)] = row
        self.state.release(closed)

    def _row(self, window: Window, key: tuple[Any, ...]) -> int:
        rows = self._rows_of.setdefault(window, {})
        row = rows.get(key)
        if row is None:
            row = rows[key] = self.state.new_row((window.start_ms, *key))
        return row

    def _take(self, batch: Batch, pending: list[tuple[int, int]]) -> None:
        if pending:
            self.state.add([row for _, row in pending], batch.picked([index for index, _ in pending]))

    def _give_out(self, watermark_ms: int) -> None:
        """Windows that got over or closed up to this watermark."""
        closed: list[tuple[Window, int]] = []
        if watermark_ms <= self._given_out_ms:
            return
        for window in sorted(window for window in self._rows_of if window.end_ms <= watermark_ms):
            rows = self._rows_of[window].values()
            gets_over = window.end_ms > self._given_out_ms
            if gets_over and passed_slowly(self._watermarks_ms, window.end_ms, self._lateness_ms, watermark_ms):
                self._give_out_early((window, row) for row in rows)
            if window.end_ms + self._lateness_ms <= watermark_ms:
                closed += [(window, row) for row in rows]
                del self._rows_of[window]
        if closed:
            self._table.final(self._closed(closed))
            self.state.release([row for _, row in closed])
        self._given_out_ms = watermark_ms

    def _give_out_early(self, changed: Iterable[tuple[Window, int]]) -> None:
        given_out = list(changed)
        for _, row in given_out:
            self._revisions[row] += 1
        self.state.touch([row for _, row in given_out])
        closed = self._closed(given_out)
        closed.revisions = [(self._revisions[row], False) for _, row in given_out]
        self._table.early(closed)

    def _closed(self, found: list[tuple[Window, int]]) -> Closed:
        rows = [row for _, row in found]
        keys = [[column[row] for row in rows] for column in self.state.columns[1 : 1 + len(self._key)]]
        return Closed([window for window, _ in found], keys, self.state.states(rows))


class RunningEarlySessions(RunningSessions):
    """Sessions; see `operators.Running`.

    A session is known to readers by its key and its start. When a record moves the start of one that was given out,
    or makes it part of another one, what was given out is taken back: `retracted`. A record that moves the end beyond
    the watermark makes the session one that is not over; it is given out again when it is.
    """

    _SCALARS = (0, 0, NOT_GIVEN_OUT, 0)

    def __init__(
        self, declared: Declared, window: SessionWindows, table: Table, lateness_ms: int, restored: Restored
    ) -> None:
        """Go on from what was open."""
        super().__init__(declared, window, table, lateness_ms, restored)
        self._revisions, self._current = self.state.columns[len(self._key) + 2 : len(self._key) + 4]
        """Number of the last revision, and whether the session is as it was given out then."""
        self._watermarks_ms: Sequence[int] = ()

    def apply(self, batch: Batch) -> list[LateRecord]:
        """See `operators.Running.apply`."""
        self._watermarks_ms = batch.watermarks_ms
        late_records: list[LateRecord] = []
        first = 0
        rows: list[int | None] = []
        for index, (key, time_ms) in enumerate(zip(self._keys(batch), batch.times_ms, strict=True)):
            watermark_ms = batch.watermarks_ms[index]
            open_rows = self._open(key, watermark_ms)
            touched = self._touched(open_rows, time_ms)
            if len(touched) > 1 or any(self._is_known(row, watermark_ms) for row in touched):
                self._take(batch, first, rows)
                first, rows = index, []
                self._before(touched, time_ms, watermark_ms)
            row = self._row_for(key, open_rows, touched, time_ms, watermark_ms)
            rows.append(row)
            if row is None:
                late_records.append(late(self._table.name, batch, index, [self._alone(time_ms)], self._lateness_ms))
                continue
            self._current[row] = 0
            if self._is_over(row, watermark_ms):
                self._take(batch, first, rows)
                first, rows = index + 1, []
                self._give_out_early([row])
        self._take(batch, first, rows)
        self._newest_ms = max(self._newest_ms, max(batch.times_ms, default=self._newest_ms))
        return late_records

    def close(self, watermark_ms: int) -> list[Rows]:
        """See `operators.Running.close`."""
        self._give_out_early(sorted(self._over_now(watermark_ms), key=self._starts_ms.__getitem__))
        self._watermarks_ms = ()
        return super().close(watermark_ms)

    def _is_over(self, row: int, watermark_ms: int) -> bool:
        return bool(self._lasts_ms[row] + self._gap_ms <= watermark_ms)

    def _is_known(self, row: int, watermark_ms: int) -> bool:
        """Whether it was given out, or has to be before it changes."""
        return self._revisions[row] != NOT_GIVEN_OUT or self._is_over(row, watermark_ms)

    def _before(self, touched: list[int], time_ms: int, watermark_ms: int) -> None:
        """Give out what got over before this record, then take back what it will change the start of."""
        self._give_out_early([r for r in touched if self._is_over(r, watermark_ms) and not self._current[r]])
        superseded = [row for row in touched[1:] if self._revisions[row] != NOT_GIVEN_OUT]
        if time_ms < self._starts_ms[touched[0]] and self._revisions[touched[0]] != NOT_GIVEN_OUT:
            superseded.append(touched[0])
        self._give_out_early(superseded, retracted=True)
        for row in superseded:
            self._revisions[row] = NOT_GIVEN_OUT

    def _over_now(self, watermark_ms: int) -> Iterable[int]:
        """Sessions that got over during the batch and are not given out as they are."""
        gap_ms, lasts_ms = self._gap_ms, self._lasts_ms
        for slot in [slot for slot in self._due if slot <= (watermark_ms - gap_ms) // self._slot_ms]:
            for row in self._due[slot]:
                end_ms = lasts_ms[row] + gap_ms
                due = end_ms <= watermark_ms and not self._current[row]
                if due and passed_slowly(self._watermarks_ms, end_ms, self._lateness_ms, watermark_ms):
                    yield row

    def _give_out_early(self, rows: list[int], *, retracted: bool = False) -> None:
        for row in rows:
            self._revisions[row] += 1
            self._current[row] = 1
        self.state.touch(rows)
        closed = self._rows(rows)
        closed.revisions = [(self._revisions[row], retracted) for row in rows]
        self._table.early(closed)


def passed_slowly(watermarks_ms: Sequence[int], end_ms: int, lateness_ms: int, watermark_ms: int) -> bool:
    """Whether the watermark stood between the end and the closing of a window, on its way to the last one given."""
    place = bisect_left(watermarks_ms, end_ms)
    first_ms = watermarks_ms[place] if place < len(watermarks_ms) else watermark_ms
    return first_ms < end_ms + lateness_ms
