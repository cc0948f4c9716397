"""What is kept of the events of a window: small mergeable states and how they grow.

A state is plain data (numbers, strings, tuples of them), so that it goes into a snapshot as it is, and is replaced,
never changed in place. States come by column: `add` takes a batch of events at once, in offset order, each with the
position of the state that it goes into. Sums of floats are added one by one in that order and in no other way:
Python 3.12's `sum` compensates, which would make the result depend on where a batch was cut.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from arro3.core import DataType

from headrace.errors import ConfigurationError

State = Any
"""Plain data; what it holds is the aggregate's own business."""

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

    def add(self, states: list[State], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Take events in, in order: event n, with `values[n]` (None: it has none), goes into `states[targets[n]]`."""
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

    def initial(self) -> int:
        """No events."""
        return 0

    def add(self, states: list[Any], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """One more each, whatever it holds."""
        for target in targets:
            states[target] += 1

    def merge(self, earlier: int, later: int) -> int:
        """Both."""
        return earlier + later

    def result(self, state: int) -> int:
        """The number of events."""
        return state

    def result_type(self, field_type: DataType | None) -> DataType:
        """A 64-bit integer."""
        return DataType.int64()


class _OfField(msgspec.Struct, frozen=True):
    """What the aggregates of one field share: no value is None (SQL's NULL), the result is the state."""

    field: str
    """The field to aggregate."""

    def initial(self) -> State:
        """No value yet."""
        return None

    def result(self, state: State) -> Any:
        """The state itself."""
        return state

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

    def add(self, states: list[Any], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Add, ignoring absent values."""
        for target, value in zip(targets, values, strict=True):
            if value is not None:
                state = states[target]
                states[target] = value if state is None else _saturated(state + value)

    def merge(self, earlier: Any, later: Any) -> Any:
        """Add the two sums."""
        return _either(earlier, later) if earlier is None or later is None else _saturated(earlier + later)

    def result_type(self, field_type: DataType | None) -> DataType:
        """A 64-bit integer for integers, else a double."""
        return DataType.int64() if DataType.is_integer(self._number(field_type)) else DataType.float64()


class Min(_OfField, frozen=True):
    """Smallest value of a field."""

    def add(self, states: list[Any], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the smallest, ignoring absent values."""
        for target, value in zip(targets, values, strict=True):
            if value is not None:
                state = states[target]
                if state is None or value < state:
                    states[target] = value

    def merge(self, earlier: Any, later: Any) -> Any:
        """The smaller of the two."""
        return _either(earlier, later) if earlier is None or later is None else min(earlier, later)


class Max(_OfField, frozen=True):
    """Largest value of a field."""

    def add(self, states: list[Any], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the largest, ignoring absent values."""
        for target, value in zip(targets, values, strict=True):
            if value is not None:
                state = states[target]
                if state is None or value > state:
                    states[target] = value

    def merge(self, earlier: Any, later: Any) -> Any:
        """The larger of the two."""
        return _either(earlier, later) if earlier is None or later is None else max(earlier, later)


class Mean(_OfField, frozen=True):
    """Arithmetic mean of a number field; the state is the sum and the number of values."""

    def initial(self) -> State:
        """Nothing added."""
        return (0, 0)

    def add(self, states: list[Any], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Add, ignoring absent values."""
        for target, value in zip(targets, values, strict=True):
            if value is not None:
                total, number = states[target]
                states[target] = (_saturated(total + value), number + 1)

    def merge(self, earlier: Any, later: Any) -> Any:
        """Add sums and numbers."""
        return (_saturated(earlier[0] + later[0]), earlier[1] + later[1])

    def result(self, state: Any) -> float | None:
        """Sum over number; None without values."""
        return state[0] / state[1] if state[1] else None

    def result_type(self, field_type: DataType | None) -> DataType:
        """A double."""
        self._number(field_type)
        return DataType.float64()


class First(_OfField, frozen=True):
    """The field at the earliest event time; at equal times, of the lowest offset. State: time and value."""

    def add(self, states: list[Any], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the earliest."""
        for target, value, time_ms in zip(targets, values, times_ms, strict=True):
            state = states[target]
            if state is None or time_ms < state[0]:
                states[target] = (time_ms, value)

    def merge(self, earlier: Any, later: Any) -> Any:
        """The earlier window's, unless that had no events."""
        return later if earlier is None else earlier

    def result(self, state: Any) -> Any:
        """The value without its time; None of no events."""
        return None if state is None else state[1]


class Last(_OfField, frozen=True):
    """The field at the latest event time; at equal times, of the highest offset. State: time and value."""

    def add(self, states: list[Any], targets: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the latest."""
        for target, value, time_ms in zip(targets, values, times_ms, strict=True):
            state = states[target]
            if state is None or time_ms >= state[0]:
                states[target] = (time_ms, value)

    def merge(self, earlier: Any, later: Any) -> Any:
        """The later window's, unless that had no events."""
        return earlier if later is None else later

    def result(self, state: Any) -> Any:
        """The value without its time; None of no events."""
        return None if state is None else state[1]


def _either(earlier: Any, later: Any) -> Any:
    return later if earlier is None else earlier


def _saturated(total: Any) -> Any:
    # Floats first: comparing one with such large integers is slow, and they need no bound.
    if total.__class__ is float or MIN_INT64 <= total <= MAX_INT64:
        return total
    return MAX_INT64 if total > 0 else MIN_INT64
