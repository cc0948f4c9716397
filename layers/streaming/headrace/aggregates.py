"""What is kept of the events of a window: small mergeable states and how they grow.

A state is a tuple of scalars, and states are kept by column, a column for each of the tuple's places, so that they go
into a snapshot as they are. `add` takes a batch of events at once, in offset order, each with the row that it goes
into. Sums of floats are added one by one in that order and in no other way: Python 3.12's `sum` compensates, which
would make the result depend on where a batch was cut.

Where a topic is not keyed by an operator's key, a row is what one partition knows of a window: a partial. It carries
what merging it with the other partitions' takes; `merged` is how SQL does it, in a dialect that DuckDB, Athena and
Spark share (Spark with `spark.sql.ansi.doubleQuotedIdentifiers`). docs/aggregates.md says what each aggregate promises.
"""

from collections.abc import Callable, Collection, Mapping, MutableSequence, Sequence
from operator import itemgetter
from typing import Any, ClassVar, Protocol

import msgspec
from arro3.core import DataType

from headrace.errors import ConfigurationError

State = tuple[Any, ...]
"""Scalars, or bytes; what they mean is the aggregate's own business."""
Columns = Sequence[MutableSequence[Any]]
"""The states of many windows: place n of row r's state is `columns[n][r]`."""

MAX_INT64 = 2**63 - 1
MIN_INT64 = -(2**63)


class Aggregate(Protocol):
    """One column of a windowed table."""

    @property
    def int64s(self) -> Collection[int]:
        """Places of the state that only ever hold 64-bit integers: their columns are arrays of them."""
        ...

    @property
    def keeps_values(self) -> bool:
        """Whether the state keeps values of the field as they are."""
        ...

    @property
    def field(self) -> str | tuple[str, ...] | None:
        """The field of the decoded value that `add` is given; None: it needs none.

        Of several, `add` is given tuples, and the field's type is that of the first one.
        """
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

    def results(self, columns: Columns) -> list[Any]:
        """What readers see of many states, given by column."""
        ...

    def result_type(self, field_type: DataType | None) -> DataType:
        """The column's type, given the field's.

        Raises:
            ConfigurationError: the aggregate cannot work on such a field.
        """
        ...

    def stored(self, columns: Columns, rows: Sequence[int]) -> list[Any]:
        """What a snapshot keeps of these rows, by column: plain data, none of it shared with the states."""
        ...

    def restored(self, columns: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """States by column, from whole columns as `stored` made them and a snapshot gave them back."""
        ...

    def partials(self, name: str, field_type: DataType | None) -> list[tuple[str, DataType]]:
        """The columns that a partial table has beside the result's, which is called `name`."""
        ...

    def partial_columns(self, columns: Columns) -> list[list[Any]]:
        """Those columns, of many states given by column."""
        ...

    def merged(self, name: str) -> str | None:
        """The SQL expression that makes the result of a group of partial rows; None: no expression can."""
        ...


class Scalars(msgspec.Struct, frozen=True):
    """What aggregates share whose states are scalars and whose results merge without further columns."""

    int64s: ClassVar[Collection[int]] = ()
    keeps_values: ClassVar[bool] = False

    def stored(self, columns: Columns, rows: Sequence[int]) -> list[Any]:
        """The scalars."""
        return scalars_of(columns, rows)

    def result(self, state: State) -> Any:
        """The scalar, where there is one."""
        return state[0]

    def results(self, columns: Columns) -> list[Any]:
        """The scalars, where each state is one."""
        return list(columns[0])

    def restored(self, columns: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """As they are."""
        return list(columns)

    def partials(self, name: str, field_type: DataType | None) -> list[tuple[str, DataType]]:
        """None."""
        return []

    def partial_columns(self, columns: Columns) -> list[list[Any]]:
        """None."""
        return []


def scalars_of(columns: Columns, rows: Sequence[int]) -> list[Any]:
    """The scalars of these rows, by column; a range from 0 on is cut out as it is."""
    if isinstance(rows, range):
        return [column[: rows.stop] for column in columns]
    return [list(map(column.__getitem__, rows)) for column in columns]


class Count(Scalars, frozen=True):
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

    def result_type(self, field_type: DataType | None) -> DataType:
        """A 64-bit integer."""
        return DataType.int64()

    def merged(self, name: str) -> str:
        """The sum of the counts."""
        return f"sum({quoted(name)})"


class _OfField(Scalars, frozen=True):
    """What the aggregates of one field share: one scalar, None (SQL's NULL) without a value, that is the result."""

    field: str
    """The field to aggregate."""

    def initial(self) -> State:
        """No value yet."""
        return (None,)

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
                total = value if total is None else total + value
                # Without a call, which would take most of the time.
                totals[row] = (
                    total if total.__class__ is float or MIN_INT64 <= total <= MAX_INT64 else _saturated(total)
                )

    def merge(self, earlier: State, later: State) -> State:
        """Add the two sums."""
        return (_combined(earlier[0], later[0], lambda a, b: _saturated(a + b)),)

    def result_type(self, field_type: DataType | None) -> DataType:
        """A 64-bit integer for integers, else a double."""
        return _total_type(self._number(field_type))

    def merged(self, name: str) -> str:
        """The sum of the sums."""
        return f"sum({quoted(name)})"


class Min(_OfField, frozen=True):
    """Smallest value of a field; NaN is no value."""

    keeps_values: ClassVar[bool] = True

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the smallest, ignoring absent values."""
        (smallest,) = columns
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                kept = smallest[row]
                if value < kept if kept is not None else value == value:  # noqa: PLR0124 - NaN does not equal itself
                    smallest[row] = value

    def merge(self, earlier: State, later: State) -> State:
        """The smaller of the two."""
        return (_combined(earlier[0], later[0], min),)

    def merged(self, name: str) -> str:
        """The smallest of all."""
        return f"min({quoted(name)})"


class Max(_OfField, frozen=True):
    """Largest value of a field; NaN is no value."""

    keeps_values: ClassVar[bool] = True

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep the largest, ignoring absent values."""
        (largest,) = columns
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                kept = largest[row]
                if value > kept if kept is not None else value == value:  # noqa: PLR0124 - NaN does not equal itself
                    largest[row] = value

    def merge(self, earlier: State, later: State) -> State:
        """The larger of the two."""
        return (_combined(earlier[0], later[0], max),)

    def merged(self, name: str) -> str:
        """The largest of all."""
        return f"max({quoted(name)})"


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
                total = totals[row] + value
                totals[row] = (
                    total if total.__class__ is float or MIN_INT64 <= total <= MAX_INT64 else _saturated(total)
                )
                numbers[row] += 1

    def merge(self, earlier: State, later: State) -> State:
        """Add sums and numbers."""
        return (_saturated(earlier[0] + later[0]), earlier[1] + later[1])

    def result(self, state: State) -> Any:
        """Sum over number; None without values."""
        return state[0] / state[1] if state[1] else None

    def results(self, columns: Columns) -> list[Any]:
        """One by one."""
        return [total / number if number else None for total, number in zip(*columns, strict=True)]

    def result_type(self, field_type: DataType | None) -> DataType:
        """A double."""
        self._number(field_type)
        return DataType.float64()

    def partials(self, name: str, field_type: DataType | None) -> list[tuple[str, DataType]]:
        """The sum and the number of values."""
        return [(f"{name}__sum", _total_type(self._number(field_type))), (f"{name}__count", DataType.int64())]

    def partial_columns(self, columns: Columns) -> list[list[Any]]:
        """The states."""
        return [list(column) for column in columns]

    def merged(self, name: str) -> str:
        """Sum over number, in doubles: Athena would divide integers to an integer."""
        return f"cast(sum({quoted(f'{name}__sum')}) as double) / nullif(sum({quoted(f'{name}__count')}), 0)"


class _Timed(_OfField, frozen=True):
    """What First and Last share: the state is a value and its event time."""

    int64s: ClassVar[Collection[int]] = (1,)
    keeps_values: ClassVar[bool] = True

    def partials(self, name: str, field_type: DataType | None) -> list[tuple[str, DataType]]:
        """Its event time, in epoch milliseconds."""
        return [(f"{name}__at", DataType.int64())]

    def partial_columns(self, columns: Columns) -> list[list[Any]]:
        """The times."""
        return [list(columns[1])]


class First(_Timed, frozen=True):
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

    def merged(self, name: str) -> str:
        """The value of the earliest partial row; at equal times that of any."""
        return _value_at("min", name)


class Last(_Timed, frozen=True):
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

    def merged(self, name: str) -> str:
        """The value of the latest partial row; at equal times that of any."""
        return _value_at("max", name)


def merge_rule(group_by: Sequence[str], aggregates: Mapping[str, Aggregate]) -> dict[str, Any]:
    """How the rows of a partial table merge, as plain data: what its files say under `headrace.merge`.

    `group_by` has the columns that are equal in partial rows of one window and key; `columns` an SQL expression for
    each result; `sketches` names what is kept of the results that no SQL expression makes, in their `__sketch`
    columns; `aggregates` has each aggregate's class and members, for readers that have this library.
    """
    columns = {name: aggregate.merged(name) for name, aggregate in aggregates.items()}
    return {
        "group_by": list(group_by),
        "columns": {name: expression for name, expression in columns.items() if expression is not None},
        "sketches": {name: type(aggregates[name]).__name__ for name, merged in columns.items() if merged is None},
        "aggregates": {name: [type(a).__name__, msgspec.to_builtins(a)] for name, a in aggregates.items()},
    }


def quoted(name: str) -> str:
    """The name of a column, in SQL."""
    return '"' + name.replace('"', '""') + '"'


_time_ms = itemgetter(1)


def _total_type(field_type: DataType) -> DataType:
    return DataType.int64() if DataType.is_integer(field_type) else DataType.float64()


def _value_at(extreme: str, name: str) -> str:
    # The engines differ in whether `min_by` sees an absent value, so it is asked only where there is one.
    value, time_ms = quoted(name), quoted(f"{name}__at")
    of_a_value = f"case when {value} is not null then {time_ms} end"
    return f"case when {extreme}({time_ms}) = {extreme}({of_a_value}) then {extreme}_by({value}, {time_ms}) end"


def _combined(earlier: Any, later: Any, combine: Callable[[Any, Any], Any]) -> Any:
    if earlier is None or later is None:
        return later if earlier is None else earlier
    return combine(earlier, later)


def _saturated(total: Any) -> Any:
    # Floats first: comparing one with such large integers is slow, and they need no bound.
    if total.__class__ is float or MIN_INT64 <= total <= MAX_INT64:
        return total
    return MAX_INT64 if total > 0 else MIN_INT64
