"""Sliding windows at work: for each event time of a key, everything of the size before it.

Events are aggregated once per key and event time, a *point*; the row of a point merges the points that its window
reaches back to. Time is cut into blocks as long as a window, and a point is merged twice: with those before it in its
block, and with those after it. A window is then the end of one block and the beginning of the next (M. van Herk, "A
fast algorithm for local minimum and maximum filters", 1992). Blocks are the same whatever else is given out at the same
time, so that doubles are added in the same order wherever batches were cut.

    points    10   14     20            size_ms = 6
    rows      [10] [10 14] [14 20]
    blocks    [7, 14) [14, 21)
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from headrace.aggregates import Columns, State
from headrace.lake import Rows
from headrace.operators import Batch, LateRecord, Restored
from headrace.state import OpenRows
from headrace.watermark import BEFORE_ALL_MS
from headrace.window_rows import Closed, Declared, Table, late
from headrace.windows import SlidingWindows, Window

Key = tuple[Any, ...]
States = tuple[State, ...]
"""One for each aggregate."""

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
        keys = batch.keys(self._key)
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
        states: list[States] = []
        for key, due_ms in by_key.items():
            due_ms.sort()
            windows += [Window(time_ms - self._size_ms, time_ms + 1) for time_ms in due_ms]
            keys += [key] * len(due_ms)
            states += self._merged(self._points_for(key, due_ms), due_ms)
        by_aggregate = [list(zip(*of_one, strict=True)) for of_one in zip(*states, strict=True)]
        columns: list[Columns] = [[list(column) for column in of_one] for of_one in by_aggregate]
        return Closed(windows, list(zip(*keys, strict=True)), list(zip(aggregates, columns, strict=True)))

    def _points_for(self, key: Key, due_ms: list[int]) -> tuple[list[int], list[States]]:
        """Times and states of the points that the windows of these times reach back to, ascending."""
        points = self._points[key]
        first_ms = due_ms[0] - self._size_ms
        times_ms = sorted([time_ms for time_ms in points if first_ms <= time_ms <= due_ms[-1]])
        by_column = self.state.states([points[time_ms] for time_ms in times_ms])
        return times_ms, list(zip(*(zip(*columns, strict=True) for _, columns in by_column), strict=True))

    def _merged(self, points: tuple[list[int], list[States]], due_ms: list[int]) -> Iterator[States]:
        """The states of the windows that end with each of these times."""
        times_ms, states = points
        blocks = [time_ms // (self._size_ms + 1) for time_ms in times_ms]
        ended = bisect_left(blocks, due_ms[0] // (self._size_ms + 1))  # blocks in which no window ends
        from_start = _within_blocks(blocks[ended:], states[ended:], self._merge)
        begun = bisect_left(blocks, blocks[-1])  # no window begins in the last block and goes on in a later one
        to_end = _within_blocks(blocks[:begun][::-1], states[:begun][::-1], lambda a, b: self._merge(b, a))[::-1]
        first = place = 0
        for end_ms in due_ms:
            first = bisect_left(times_ms, end_ms - self._size_ms, first)
            place = bisect_left(times_ms, end_ms, place)
            until_end = from_start[place - ended]
            yield until_end if blocks[first] == blocks[place] else self._merge(to_end[first], until_end)

    def _merge(self, earlier: States, later: States) -> States:
        return tuple([a.merge(e, n) for (a, _), e, n in zip(self.state.aggregates, earlier, later, strict=True)])


def _within_blocks(
    blocks: Sequence[int], states: Sequence[States], merge: Callable[[States, States], States]
) -> list[States]:
    """Each state merged with those before it in its block."""
    found: list[States] = []
    last_block = None
    for block, state in zip(blocks, states, strict=True):
        found.append(merge(found[-1], state) if block == last_block else state)
        last_block = block
    return found


def _taken_out(slots: dict[int, list[Point]], slot_ms: int, until_ms: int) -> list[Point]:
    """The points up to this time; they are in no slot any more."""
    found: list[Point] = []
    for slot in [slot for slot in slots if slot <= until_ms // slot_ms]:
        points = slots.pop(slot)
        found += [point for point in points if point.time_ms <= until_ms]
        if later := [point for point in points if point.time_ms > until_ms]:
            slots[slot] = later
    return found
