"""Tumbling windows: aggregates per window and key."""

from itertools import chain
from typing import Any

import msgspec

from headrace.aggregates import Aggregate
from headrace.codec import Codec
from headrace.lake import Rows
from headrace.operators import Batch, LateRecord, Running
from headrace.records import TopicPartition
from headrace.windowed import Accumulators, Key, WindowRows, key_type, keys_of, late_record
from headrace.windows import TumblingWindows


class Tumbling(msgspec.Struct, frozen=True):
    """Aggregates per window and key."""

    table: str
    """Name of the table that the rows go to."""
    window: TumblingWindows
    key: tuple[str, ...]
    """Fields of the value that make the key."""
    aggregates: dict[str, Aggregate]
    """Column name to aggregate."""
    complete: bool = False
    """Whether the topic is keyed by the same fields: then no other partition has rows of this key."""

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, state: msgspec.Raw | None) -> Running:
        """See `Operator.build`."""
        bounds = ("window_start", "window_end")
        rows = WindowRows(self.table, bounds, self.key, self.aggregates, codec.schema, place, complete=self.complete)
        return _RunningTumbling(self, rows, lateness_ms, state)


class _RunningTumbling:
    def __init__(self, operator: Tumbling, rows: WindowRows, lateness_ms: int, state: msgspec.Raw | None) -> None:
        self._operator = operator
        self._rows = rows
        self._size_ms = operator.window.size_ms
        self._closes_after_ms = operator.window.size_ms + lateness_ms
        state_type: Any = tuple[list[int], list[list[key_type(operator.key)]], list[list[Any]]]  # type: ignore[misc] # built at run time
        starts, keys, columns = ((), (), None) if state is None else msgspec.msgpack.decode(state, type=state_type)
        rows_of = iter(range(sum(map(len, keys))))
        self._windows: dict[int, dict[Key, int]] = {
            start_ms: dict(zip(window, rows_of, strict=False)) for start_ms, window in zip(starts, keys, strict=True)
        }
        """Window start to key to the row of its states."""
        self._states = Accumulators(operator.aggregates, columns, sum(map(len, keys)))

    def apply(self, batch: Batch) -> list[LateRecord]:
        late = []
        rows: list[int | None] = []
        windows, size_ms, closes_after_ms = self._windows, self._size_ms, self._closes_after_ms
        for key, time_ms, watermark_ms in zip(
            keys_of(batch, self._operator.key), batch.times_ms, batch.watermarks_ms, strict=False
        ):
            start_ms = time_ms - time_ms % size_ms
            if start_ms + closes_after_ms <= watermark_ms:
                late.append(late_record(self._operator.table, batch, len(rows), start_ms, start_ms + size_ms))
                rows.append(None)
                continue
            window = windows.get(start_ms)
            if window is None:
                window = windows[start_ms] = {}
            row = window.get(key)
            if row is None:
                row = window[key] = self._states.new_row()
            rows.append(row)
        self._states.add(batch, rows)
        return late

    def close(self, watermark_ms: int) -> Rows | None:
        closed = sorted(start for start in self._windows if start + self._closes_after_ms <= watermark_ms)
        starts: list[int] = []
        keys: list[Key] = []
        rows: list[int] = []
        for start_ms in closed:
            window = self._windows.pop(start_ms)
            starts += [start_ms] * len(window)
            keys += window
            rows += window.values()
        ends = [start_ms + self._size_ms for start_ms in starts]
        return self._rows.of(starts, ends, keys, self._states.results(rows))

    def open_until_ms(self) -> int | None:
        return max(self._windows) + self._closes_after_ms if self._windows else None

    def snapshot(self) -> Any:
        if not self._windows:
            return None
        rows = list(chain.from_iterable(window.values() for window in self._windows.values()))
        columns = [[column[row] for row in rows] for column in self._states.columns]
        return list(self._windows), [list(window) for window in self._windows.values()], columns
