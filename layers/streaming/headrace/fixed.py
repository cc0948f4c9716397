"""Tumbling, hopping and calendar windows at work: those that time alone decides.

Events are aggregated once per *pane*, the longest slice of time of which every window is a whole number; a window's
row merges its panes when it closes. A pane of tumbling or calendar windows is the window itself.

    panes      | 0 | 1 | 2 | 3 |
    windows    |-------|                hopping, size = 2 panes, advance = 1 pane
                   |-------|
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import compress
from math import inf
from operator import attrgetter
from typing import Any

from headrace.lake import Rows
from headrace.operators import Batch, LateRecord, Restored
from headrace.state import OpenRows
from headrace.window_rows import Closed, Declared, Table, late
from headrace.windows import CalendarWindows, FixedWindows, HoppingWindows, Window

PaneKey = tuple[Any, ...]
"""Start of the pane, then the fields of the key."""

_end_ms = attrgetter("end_ms")


class RunningFixed:
    """A row for each pane and key; see `operators.Running`."""

    def __init__(
        self, declared: Declared, window: FixedWindows, table: Table, lateness_ms: int, restored: Restored
    ) -> None:
        """Go on from what was open."""
        self._key = declared.key
        self._table = table
        self._lateness_ms = lateness_ms
        self._containing = window.containing
        self._panes = panes(window)
        self._paned = isinstance(window, HoppingWindows)
        self._leaves_gaps = isinstance(window, HoppingWindows) and window.leaves_gaps
        self._given_out_ms = restored.watermark_ms
        """The watermark up to which windows were given out."""
        self.state = OpenRows(1 + len(self._key), (), declared.aggregates, restored.parts)
        self._rows_of: dict[PaneKey, int] = {}
        self._rows_in: dict[int, list[int]] = {}
        """Start of the pane to its rows."""
        self._windows: dict[int, Sequence[Window]] = {}
        """Start of the pane to the windows that it is part of, the earliest first."""
        self._due_ms: float = inf
        """The watermark that closes the next window."""
        self._index()

    def apply(self, batch: Batch) -> list[LateRecord]:
        """See `operators.Running.apply`."""
        pane_column = self._panes(batch.times_ms)
        keys = list(zip(pane_column, *(batch.shared(name) for name in self._key), strict=True))
        if self._leaves_gaps or batch.most_overdue_ms > self._lateness_ms:
            return self._apply_one_by_one(batch, keys)
        self._take(batch, keys)
        return []

    def close(self, watermark_ms: int) -> list[Rows]:
        """See `operators.Running.close`."""
        self._give_out(watermark_ms)
        return self._table.take()

    def open_until_ms(self) -> int | None:
        """See `operators.Running.open_until_ms`."""
        ends = [self._windows[pane_ms][-1].end_ms for pane_ms in self._rows_in]
        return max(ends) + self._lateness_ms if ends else None

    def _index(self) -> None:
        rows = self.state.numbers()
        columns = [[column[row] for row in rows] for column in self.state.columns[: 1 + len(self._key)]]
        self._rows_of = dict(zip(zip(*columns, strict=True), rows, strict=True))
        for pane_ms, row in zip(columns[0], rows, strict=True):
            self._rows_in.setdefault(pane_ms, []).append(row)
        for pane_ms in self._rows_in:
            self._windows[pane_ms] = self._containing(pane_ms)
        self._forget_closed(self._given_out_ms)
        self._due_ms = self._next_due_ms(self._windows)

    def _take(self, batch: Batch, keys: list[PaneKey]) -> None:
        """Records of windows that are all open."""
        rows: list[Any] = list(map(self._rows_of.get, keys))
        if None in rows:
            self._open(dict.fromkeys(compress(keys, [row is None for row in rows])))
            rows = [self._rows_of[key] if row is None else row for key, row in zip(keys, rows, strict=True)]
        self.state.add(rows, batch)

    def _open(self, keys: Collection[PaneKey]) -> None:
        """New rows."""
        free = self.state.free(len(keys))
        rows = free[-len(keys) :]
        del free[-len(keys) :]
        self._rows_of.update(zip(keys, rows, strict=True))
        self.state.opened(rows, list(zip(*keys, strict=True)))
        rows_in = self._rows_in
        for key, row in zip(keys, rows, strict=True):
            rows_in.setdefault(key[0], []).append(row)
        new = rows_in.keys() - self._windows.keys()
        for pane_ms in new:
            self._windows[pane_ms] = self._containing(pane_ms)
        self._due_ms = min(self._due_ms, self._next_due_ms(new))

    def _apply_one_by_one(self, batch: Batch, keys: list[PaneKey]) -> list[LateRecord]:
        """Find the records that missed windows; whoever missed only some of them comes after these were given out."""
        late_records = []
        taken: list[int] = []
        for index, (key, watermark_ms) in enumerate(zip(keys, batch.watermarks_ms, strict=False)):
            windows = self._windows.get(key[0]) or self._containing(key[0])
            missed = windows[: self._closed_by(watermark_ms, windows)]
            if missed:
                late_records.append(late(self._table.name, batch, index, missed, self._lateness_ms))
            if len(missed) == len(windows):  # all of them, or none because there is none
                continue
            if missed and watermark_ms > self._given_out_ms:
                self._take_some(batch, keys, taken)
                self._give_out(watermark_ms)
                taken = []
            taken.append(index)
        self._take_some(batch, keys, taken)
        return late_records

    def _take_some(self, batch: Batch, keys: list[PaneKey], indices: list[int]) -> None:
        self._take(batch.only(indices), [keys[index] for index in indices])

    def _closed_by(self, watermark_ms: int, windows: Sequence[Window]) -> int:
        """How many of a pane's windows are closed at this watermark: the first ones."""
        return bisect_right(windows, watermark_ms - self._lateness_ms, key=_end_ms)

    def _next_due_ms(self, panes_ms: Collection[int]) -> float:
        """The watermark that closes the first window that these panes wait for."""
        of_panes = [self._windows[pane_ms] for pane_ms in panes_ms]
        ends_ms = [windows[self._closed_by(self._given_out_ms, windows)].end_ms for windows in of_panes]
        return min(ends_ms) + self._lateness_ms if ends_ms else inf

    def _give_out(self, watermark_ms: int) -> None:
        """Rows of all windows that close up to this watermark."""
        due: dict[Window, list[int]] = {}
        if watermark_ms >= self._due_ms:
            for pane_ms in sorted(self._rows_in):
                windows = self._windows[pane_ms]
                first, end = (self._closed_by(limit_ms, windows) for limit_ms in (self._given_out_ms, watermark_ms))
                for window in windows[first:end]:
                    due.setdefault(window, []).extend(self._rows_in[pane_ms])
        self._given_out_ms = max(self._given_out_ms, watermark_ms)
        if due:
            self._final(due)
            self._forget_closed(watermark_ms)
            self._due_ms = self._next_due_ms(self._windows)

    def _final(self, due: dict[Window, list[int]]) -> None:
        """Give out windows that close, each with the rows of its panes, the earliest pane first."""
        self._table.final(self._closed(due))

    def _closed(self, due: dict[Window, list[int]]) -> Closed:
        windows: list[Window] = []
        groups: list[list[int]] = []
        rows: list[int] = []
        for window in sorted(due):
            of_window = self._by_key(due[window]) if self._paned else []
            groups += of_window
            rows += [of_key[0] for of_key in of_window] if self._paned else due[window]
            windows += [window] * (len(rows) - len(windows))
        keys = [[column[row] for row in rows] for column in self.state.columns[1 : 1 + len(self._key)]]
        return Closed(windows, keys, self.state.merged(groups) if self._paned else self.state.states(rows))

    def _by_key(self, rows: list[int]) -> list[list[int]]:
        """The rows of each key, in the order of their panes."""
        key_columns = self.state.columns[1 : 1 + len(self._key)]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row in rows:
            groups.setdefault(tuple([column[row] for column in key_columns]), []).append(row)
        return list(groups.values())

    def _forget_closed(self, watermark_ms: int) -> None:
        """Panes of which no window is open any more."""
        over = [p for p, windows in self._windows.items() if windows[-1].end_ms + self._lateness_ms <= watermark_ms]
        key_columns = self.state.columns[: 1 + len(self._key)]
        for pane_ms in over:
            rows = self._rows_in.pop(pane_ms)
            for key in zip(*([column[row] for row in rows] for column in key_columns), strict=True):
                del self._rows_of[key]
            self.state.release(rows)
            del self._windows[pane_ms]


def panes(window: FixedWindows) -> Callable[[Sequence[int]], list[int]]:
    """What finds the start of the pane of each of many times."""
    if isinstance(window, CalendarWindows):
        return _Calendar(window).starts_ms
    offset_ms = window.offset_ms
    pane_ms = window.pane_ms if isinstance(window, HoppingWindows) else window.size_ms
    if offset_ms:
        return lambda times_ms: [time_ms - (time_ms - offset_ms) % pane_ms for time_ms in times_ms]
    return lambda times_ms: [time_ms - time_ms % pane_ms for time_ms in times_ms]


class _Calendar:
    """Remembers the last window: the next time is in it, nearly always."""

    def __init__(self, window: CalendarWindows) -> None:
        self._containing = window.containing
        self._last = Window(0, 0)

    def starts_ms(self, times_ms: Sequence[int]) -> list[int]:
        start_ms, end_ms = self._last
        starts_ms = []
        for time_ms in times_ms:
            if not start_ms <= time_ms < end_ms:
                start_ms, end_ms = self._last = self._containing(time_ms)[0]
            starts_ms.append(start_ms)
        return starts_ms
