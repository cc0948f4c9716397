"""What is kept of the events of a window: small mergeable states and how they grow.

A state is a tuple of scalars, and states are kept by column, a column for each of the tuple's places, so that they go
into a snapshot as they are. `add` takes a batch of events at once, in offset order, each with the row that it goes
into. Sums of floats are added one by one in that order and in no other way: Python 3.12's `sum` compensates, which
would make the result depend on where a batch was cut.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol

import msgspec
from arro3.core import DataType

from headrace.errors import ConfigurationError

State = tuple[Any, ...]
"""Scalars; what they mean is the aggregate's own business."""
Columns = Sequence[list[Any]]
"""The states of many windows: place n of row r's state is `columns[n][r]`."""

MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)


class Aggregate(Protocol):
    """One column of a windowed table."""

    @property
    def field(self) -> str | None:
        """The field of the decoded value that `add` is given; None: it needs none."""
        ...

    def initial(self) -> State:
        """The state of no events."""
        ...

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Take events in, in order: event n, with `values[n]` (None: it has none), goes into row `rows[n]`."""
        ...

    def merge(self, earlier: State, later: State) -> State:
        """The state of both; every event of `later` comes after those of `earlier` in event time."""
        ...

    def result(self, state: State) -> Any:
        """What readers see."""
        ...

    def result_type(self, field_type: DataType | None) -> DataType:
        """The column's type, given the field's."""
        ...


class Count(msgspec.Struct, frozen=True):
    """How many events."""

    field: None = None

    def initial(self) -> State:
        """No events."""
        return (0,)

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """One more each, whatever it holds."""
        (counts,) = columns
        for row in rows:
            counts[row] += 1

    def merge(self, earlier: State, later: State) -> State:
        """Both."""
        return (earlier[0] + later[0],)

    def result(self, state: State) -> Any:
        """The number of events."""
        return state[0]

    def result_type(self, field_type: DataType | None) -> DataType:
        """A 64-bit integer."""
        return DataType.int64()


class _OfField(msgspec.Struct, frozen=True):
    """What the aggregates of one field share: one scalar, None (SQL's NULL) without a value, that is the result."""

    field: str
    """The field to aggregate."""

    def initial(self) -> State:
        """No value yet."""
        return (None,)

    def result(self, state: State) -> Any:
        """The scalar itself."""
        return state[0]

    def result_type(self, field_type: DataType | None) -> DataType:
        """The field's own type."""
        assert field_type is not None, f"{self} needs its field's type"  # noqa: S101 - the caller's bug, not input
        return field_type

    def _number(self, field_type: DataType | None) -> DataType:
        found = _OfField.result_type(self, field_type)
        if not DataType.is_numeric(found):
            raise ConfigurationError(f"{type(self).__name__}({self.field!r}) needs a number field, not {found!r}")
        return found


class Sum(_OfField, frozen=True):
    """Sum of a number field; integers saturate at 64 bits rather than block the partition."""

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Add, ignoring absent values."""
        (totals,) = columns
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                total = totals[row]
                totals[row] = value if total is None else _saturated(total + value)

    def merge(self, earlier: State, later: State) -> State:
        """Add the two sums."""
        return (_combined(earlier[0], later[0], lambda a, b: _saturated(a + b)),)

    def result_type(self, field_type: DataType | None) -> DataType:
        """A 64-bit integer for integers, else a double."""
        return DataType.int64() if DataType.is_integer(self._number(field_type)) else DataType.float64()


class Min(_OfField, frozen=True):
    """Smallest value of a field."""

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the smallest, ignoring absent values."""
        (smallest,) = columns
        for row, value in zip(rows, values, strict=True):
            if value is not None and (smallest[row] is None or value < smallest[row]):
                smallest[row] = value

    def merge(self, earlier: State, later: State) -> State:
        """The smaller of the two."""
        return (_combined(earlier[0], later[0], min),)


class Max(_OfField, frozen=True):
    """Largest value of a field."""

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the largest, ignoring absent values."""
        (largest,) = columns
        for row, value in zip(rows, values, strict=True):
            if value is not None and (largest[row] is None or value > largest[row]):
                largest[row] = value

    def merge(self, earlier: State, later: State) -> State:
        """The larger of the two."""
        return (_combined(earlier[0], later[0], max),)


class Mean(_OfField, frozen=True):
    """Arithmetic mean of a number field; the state is the sum and the number of values."""

    def initial(self) -> State:
        """Nothing added."""
        return (0, 0)

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Add, ignoring absent values."""
        totals, numbers = columns
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                totals[row] = _saturated(totals[row] + value)
                numbers[row] += 1

    def merge(self, earlier: State, later: State) -> State:
        """Add sums and numbers."""
        return (_saturated(earlier[0] + later[0]), earlier[1] + later[1])

    def result(self, state: State) -> Any:
        """Sum over number; None without values."""
        return state[0] / state[1] if state[1] else None

    def result_type(self, field_type: DataType | None) -> DataType:
        """A double."""
        self._number(field_type)
        return DataType.float64()


class First(_OfField, frozen=True):
    """The field at the earliest event time; at equal times, of the lowest offset. State: value and time."""

    def initial(self) -> State:
        """Any event is earlier than this one."""
        return (None, MAX_INT64)

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the earliest."""
        kept, earliest_ms = columns
        for row, value, time_ms in zip(rows, values, times_ms, strict=True):
            if time_ms < earliest_ms[row]:
                kept[row], earliest_ms[row] = value, time_ms

    def merge(self, earlier: State, later: State) -> State:
        """The earlier one's, unless that had no events."""
        return min(earlier, later, key=_time_ms)


class Last(_OfField, frozen=True):
    """The field at the latest event time; at equal times, of the highest offset. State: value and time."""

    def initial(self) -> State:
        """No event is earlier than this one."""
        return (None, MIN_INT64)

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the latest."""
        kept, latest_ms = columns
        for row, value, time_ms in zip(rows, values, times_ms, strict=True):
            if time_ms >= latest_ms[row]:
                kept[row], latest_ms[row] = value, time_ms

    def merge(self, earlier: State, later: State) -> State:
        """The later one's, unless that had no events."""
        return max(later, earlier, key=_time_ms)


_time_ms = itemgetter(1)


def _combined(earlier: Any, later: Any, combine: Callable[[Any, Any], Any]) -> Any:
    if earlier is None or later is None:
        return later if earlier is None else earlier
    return combine(earlier, later)


def _saturated(total: Any) -> Any:
    # Floats first: comparing one with such large integers is slow, and they need no bound.
    if total.__class__ is float or MIN_INT64 <= total <= MAX_INT64:
        return total
    return MAX_INT64 if total > 0 else MIN_INT64
