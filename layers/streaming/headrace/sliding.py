"""Sliding windows at work: for each event time of a key, everything of the size before it.

Events are aggregated once per key and event time, a *point*; the row of a point merges the points that its window
reaches back to, by two stacks, so that a point is merged about twice however many windows it is part of.

    points    10   14     20            size_ms = 6
    rows      [10] [10 14] [14 20]
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from headrace.aggregates import Aggregate, Columns, State
from headrace.lake import Rows
from headrace.operators import Batch, LateRecord, Restored
from headrace.state import OpenRows
from headrace.watermark import BEFORE_ALL_MS
from headrace.window_rows import Closed, Declared, Table, late
from headrace.windows import SlidingWindows, Window

Key = tuple[Any, ...]

_SLOTS = 64
"""Of time in a window, by which points are looked at when they may be due."""
_NO_POINTS: dict[int, int] = {}


class Point(NamedTuple):
    """What is aggregated once."""

    key: Key
    time_ms: int


class RunningSliding:
    """A row of state for each point; see `operators.Running`."""

    def __init__(
        self, declared: Declared, window: SlidingWindows, table: Table, lateness_ms: int, restored: Restored
    ) -> None:
        """Go on from what was open."""
        self._key = declared.key
        self._table = table
        self._size_ms = window.size_ms
        self._slot_ms = -(-window.size_ms // _SLOTS)
        self._closes_after_ms = 1 + lateness_ms
        self._lateness_ms = lateness_ms
        self._given_out_ms = restored.watermark_ms
        """The watermark up to which rows were given out."""
        self.state = OpenRows(1 + len(self._key), (), declared.aggregates, restored.parts)
        self._points: dict[Key, dict[int, int]] = {}
        """Key to its event times and their rows."""
        self._due: dict[int, list[Point]] = {}
        """Slot of time to the points in it whose rows are still to be given out."""
        self._leaving: dict[int, list[Point]] = {}
        """Slot of time to the points that no window reaches back to any more after it."""
        self._newest_ms = BEFORE_ALL_MS
        """Newest event time taken in."""
        self._index()

    def apply(self, batch: Batch) -> list[LateRecord]:
        """See `operators.Running.apply`."""
        columns = [batch.shared(name) for name in self._key]
        keys: Sequence[Key] = list(zip(*columns, strict=True)) if columns else [()] * len(batch.times_ms)
        if batch.most_overdue_ms > self._lateness_ms:
            return self._apply_one_by_one(batch, keys)
        self._take(batch, keys)
        return []

    def close(self, watermark_ms: int) -> list[Rows]:
        """See `operators.Running.close`."""
        self._give_out(watermark_ms)
        return self._table.take()

    def open_until_ms(self) -> int | None:
        """See `operators.Running.open_until_ms`: what is given out by then; points are kept until none needs them."""
        return self._newest_ms + self._closes_after_ms if self._due else None

    def _index(self) -> None:
        columns = self.state.columns[: 1 + len(self._key)]
        rows = self.state.numbers()
        self.state.release([row for row in rows if self._is_forgotten(columns[0][row], self._given_out_ms)])
        for row in self.state.numbers():
            time_ms, *key = [column[row] for column in columns]
            self._note(Point(tuple(key), time_ms), row)
        self._newest_ms = max((max(points) for points in self._points.values()), default=BEFORE_ALL_MS)

    def _is_given_out(self, time_ms: int, watermark_ms: int) -> bool:
        return time_ms + self._closes_after_ms <= watermark_ms

    def _is_forgotten(self, time_ms: int, watermark_ms: int) -> bool:
        """Whether every window that could reach back to this time was given out."""
        return time_ms + self._size_ms + self._closes_after_ms <= watermark_ms

    def _note(self, point: Point, row: int) -> None:
        self._points.setdefault(point.key, {})[point.time_ms] = row
        waiting = self._leaving if self._is_given_out(point.time_ms, self._given_out_ms) else self._due
        waiting.setdefault(point.time_ms // self._slot_ms, []).append(point)

    def _take(self, batch: Batch, keys: Sequence[Key]) -> None:
        rows = [self._row(key, time_ms) for key, time_ms in zip(keys, batch.times_ms, strict=True)]
        self.state.add(rows, batch)
        self._newest_ms = max(self._newest_ms, max(batch.times_ms, default=self._newest_ms))

    def _row(self, key: Key, time_ms: int) -> int:
        row = self._points.get(key, _NO_POINTS).get(time_ms)
        if row is None:
            row = self.state.new_row((time_ms, *key))
            self._note(Point(key, time_ms), row)
        return row

    def _apply_one_by_one(self, batch: Batch, keys: Sequence[Key]) -> list[LateRecord]:
        """Who missed a window comes after it was given out, and still counts in windows that can be open."""
        late_records: list[LateRecord] = []
        taken: list[int] = []
        for index, (time_ms, watermark_ms) in enumerate(zip(batch.times_ms, batch.watermarks_ms, strict=False)):
            if self._is_given_out(time_ms, watermark_ms):
                missed = [Window(time_ms - self._size_ms, time_ms + 1)]
                late_records.append(late(self._table.name, batch, index, missed, self._lateness_ms))
                if self._is_forgotten(time_ms, watermark_ms):
                    continue
                if watermark_ms > self._given_out_ms:
                    self._take(batch.only(taken), [keys[i] for i in taken])
                    self._give_out(watermark_ms)
                    taken = []
            taken.append(index)
        self._take(batch.only(taken), [keys[i] for i in taken])
        return late_records

    def _give_out(self, watermark_ms: int) -> None:
        """Rows of all points that close up to this watermark; then forget what nobody needs."""
        by_key: dict[Key, list[int]] = {}
        newest_ms = watermark_ms - self._closes_after_ms
        for point in _taken_out(self._due, self._slot_ms, newest_ms):
            by_key.setdefault(point.key, []).append(point.time_ms)
            self._leaving.setdefault(point.time_ms // self._slot_ms, []).append(point)
        if by_key:
            self._table.final(self._closed(by_key))
        self._given_out_ms = max(self._given_out_ms, watermark_ms)
        rows = []
        for point in _taken_out(self._leaving, self._slot_ms, newest_ms - self._size_ms):
            points = self._points[point.key]
            rows.append(points.pop(point.time_ms))
            if not points:
                del self._points[point.key]
        self.state.release(rows)

    def _closed(self, by_key: dict[Key, list[int]]) -> Closed:
        aggregates = [aggregate for aggregate, _ in self.state.aggregates]
        windows: list[Window] = []
        keys: list[Key] = []
        states: list[tuple[State, ...]] = []
        for key, due_ms in by_key.items():
            due_ms.sort()
            windows += [Window(time_ms - self._size_ms, time_ms + 1) for time_ms in due_ms]
            keys += [key] * len(due_ms)
            states += self._merged(aggregates, self._states(key, due_ms), due_ms)
        by_aggregate = [list(zip(*of_one, strict=True)) for of_one in zip(*states, strict=True)]
        columns: list[Columns] = [[list(column) for column in of_one] for of_one in by_aggregate]
        return Closed(windows, list(zip(*keys, strict=True)), list(zip(aggregates, columns, strict=True)))

    def _states(self, key: Key, due_ms: list[int]) -> list[tuple[int, tuple[State, ...]]]:
        """Times and states of the points that the windows of these times reach back to, ascending."""
        points = self._points[key]
        first_ms = due_ms[0] - self._size_ms
        times_ms = sorted(time_ms for time_ms in points if first_ms <= time_ms <= due_ms[-1])
        by_column = self.state.states([points[time_ms] for time_ms in times_ms])
        by_aggregate = [list(zip(*columns, strict=True)) for _, columns in by_column]
        return list(zip(times_ms, zip(*by_aggregate, strict=True), strict=True))

    def _merged(
        self, aggregates: Sequence[Aggregate], points: list[tuple[int, tuple[State, ...]]], due_ms: list[int]
    ) -> Iterator[tuple[State, ...]]:
        """The states of the windows that end with each of these times."""
        window = _TwoStacks(aggregates)
        waiting = iter([*points, (BEFORE_ALL_MS, ())])
        time_ms, states = next(waiting)
        for end_ms in due_ms:
            while states and time_ms <= end_ms:
                window.push(time_ms, states)
                time_ms, states = next(waiting)
            window.drop_before(end_ms - self._size_ms)
            yield window.merged()


class _TwoStacks:
    """A queue that knows the merged state of all that is in it (the two-stacks algorithm for sliding windows)."""

    def __init__(self, aggregates: Sequence[Aggregate]) -> None:
        self._aggregates = aggregates
        self._front: list[tuple[int, tuple[State, ...]]] = []
        """The older points, the oldest on top: each with the merged state of itself and all younger ones below it."""
        self._back: list[tuple[int, tuple[State, ...]]] = []
        self._of_back: tuple[State, ...] | None = None

    def push(self, time_ms: int, states: tuple[State, ...]) -> None:
        """A point younger than all others."""
        self._back.append((time_ms, states))
        self._of_back = states if self._of_back is None else self._merge(self._of_back, states)

    def drop_before(self, time_ms: int) -> None:
        """Forget the points before this time."""
        while True:
            if not self._front:
                self._turn_over()
            if not self._front or self._front[-1][0] >= time_ms:
                return
            self._front.pop()

    def merged(self) -> tuple[State, ...]:
        """Of all points; there is at least one."""
        if self._of_back is None:
            return self._front[-1][1]
        return self._merge(self._front[-1][1], self._of_back) if self._front else self._of_back

    def _turn_over(self) -> None:
        while self._back:
            time_ms, states = self._back.pop()
            younger = self._front[-1][1] if self._front else None
            self._front.append((time_ms, states if younger is None else self._merge(states, younger)))
        self._of_back = None

    def _merge(self, earlier: tuple[State, ...], later: tuple[State, ...]) -> tuple[State, ...]:
        return tuple([a.merge(e, n) for a, e, n in zip(self._aggregates, earlier, later, strict=True)])


def _taken_out(slots: dict[int, list[Point]], slot_ms: int, until_ms: int) -> list[Point]:
    """The points up to this time; they are in no slot any more."""
    found: list[Point] = []
    for slot in [slot for slot in slots if slot <= until_ms // slot_ms]:
        points = slots.pop(slot)
        found += [point for point in points if point.time_ms <= until_ms]
        if later := [point for point in points if point.time_ms > until_ms]:
            slots[slot] = later
    return found
