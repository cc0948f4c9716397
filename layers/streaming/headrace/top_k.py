"""The most frequent values of a field, by counters of a bounded number of values.

When there are too many counters, the median of the counts is taken off all of them and those that reach zero are
dropped: half of them at least. What was taken off is kept as the error, so that a count is never too high, and never
lower than the truth by more than the error.

Source: D. Anderson et al., "A High-Performance Algorithm for Identifying Frequent Items in Data Streams" (2017), with
an exact median. It is Misra and Gries's algorithm (1982) with fewer, larger subtractions; it merges as P. Agarwal et
al., "Mergeable Summaries" (2012), show.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from arro3.core import DataType, Field

from headrace.aggregates import Columns
from headrace.cells import NO_EVENTS, CellsOfField
from headrace.errors import ConfigurationError


class _Counters(msgspec.Struct):
    """The values of one window."""

    error: int = 0
    """By how much a count can be too low."""
    counts: dict[Any, int] = {}
    """In the order of each value's first event since it was last dropped."""

    def drop(self) -> None:
        """Take the median off every count."""
        median = sorted(self.counts.values())[len(self.counts) // 2]
        self.error += median
        self.counts = {value: count - median for value, count in self.counts.items() if count > median}


class TopK(CellsOfField, frozen=True):
    """The `k` most frequent values of a field with their counts, the most frequent first; equal counts by value.

    Exact as long as a window has no more than `capacity` different values. Beyond that a count may be too low, by at
    most `2 / (capacity + 1)` of the window's events (0.2 %), and is never too high; a value that is more frequent than
    that is always among the counted ones. Absent values and NaN are none, and -0.0 is 0.0. A window takes up to
    `capacity` of the field's values in memory.

    The column is a list of structs: `value` and `count`.

    Raises:
        ConfigurationError: `k` is not between 1 and `capacity`.
    """

    k: int
    """How many values."""
    capacity: int = 1024
    """How many values are counted at once."""

    def __post_init__(self) -> None:
        """Refuse what finds nothing."""
        if not 1 <= self.k <= self.capacity:
            raise ConfigurationError(
                f"TopK({self.field!r}) needs a k from 1 to its capacity ({self.capacity}), not {self.k}"
            )

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Count the values."""
        (cells,) = columns
        for row, value in zip(rows, values, strict=True):
            if value is None or value != value:  # noqa: PLR0124 - NaN does not equal itself
                continue
            cell = cells[row]
            if cell.__class__ is bytes:
                cell = cells[row] = self.opened(cell)
            counts = cell.counts
            if value in counts:
                counts[value] += 1
            else:
                counts[value + 0.0 if value.__class__ is float else value] = 1
                if len(counts) > self.capacity:
                    cell.drop()

    def result_type(self, field_type: DataType | None) -> DataType:
        """A list of structs."""
        value = Field("value", self._plain(field_type), nullable=False)
        item = DataType.struct([value, Field("count", DataType.int64(), nullable=False)])
        return DataType.list(Field("element", item, nullable=False))

    def opened(self, stored: bytes) -> _Counters:
        """Values and counts were stored apart."""
        if stored == NO_EVENTS:
            return _Counters()
        error, values, counts = msgspec.msgpack.decode(stored)
        return _Counters(error, dict(zip(values, counts, strict=True)))

    def packed(self, live: _Counters) -> bytes:
        """Values in their order."""
        return msgspec.msgpack.encode((live.error, list(live.counts), list(live.counts.values())))

    def union(self, earlier: _Counters, later: _Counters) -> _Counters:
        """The sums of the counts, and of the errors."""
        merged = _Counters(earlier.error + later.error, dict(earlier.counts))
        for value, count in later.counts.items():
            merged.counts[value] = merged.counts.get(value, 0) + count
        if len(merged.counts) > self.capacity:
            merged.drop()
        return merged

    def answer(self, live: _Counters) -> list[dict[str, Any]]:
        """An empty list without values."""
        best = sorted(live.counts.items(), key=lambda item: (-item[1], item[0]))[: self.k]
        return [{"value": value, "count": count} for value, count in best]
