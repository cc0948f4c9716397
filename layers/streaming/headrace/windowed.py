"""What windowed operators share: keys, the states of the aggregates by column, and the rows of windows that closed.

State is kept by column, not as an object per window and key: a turn then loads, closes and stores tens of thousands of
them in a few calls into C, and leaves next to nothing for the garbage collector.
"""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from arro3.core import DataType, Field

from headrace import lake
from headrace.aggregates import Aggregate
from headrace.errors import CheckpointCorrupt, ConfigurationError
from headrace.lake import LakeTable, Rows
from headrace.operators import Batch, LateRecord
from headrace.records import TopicPartition
from headrace.schema import Schema

Key = Any
"""The value of an operator's key field, or a tuple of the values of several: hashable scalars."""

_PLACE_FIELDS = (
    Field("_topic", DataType.string(), nullable=False),
    Field("_partition", DataType.int32(), nullable=False),
)


class Accumulators:
    """The states of all aggregates: columns for each, a row per window and key."""

    def __init__(self, aggregates: Mapping[str, Aggregate], columns: Sequence[list[Any]] | None, size: int) -> None:
        """Start from a snapshot's columns, or from nothing.

        Raises:
            ConfigurationError: there is no aggregate.
            CheckpointCorrupt: the columns are not those of the aggregates, with `size` rows each.
        """
        if not aggregates:
            raise ConfigurationError("a window needs at least one aggregate")
        self._initial = [scalar for aggregate in aggregates.values() for scalar in aggregate.initial()]
        self._columns: list[list[Any]] = [[] for _ in self._initial] if columns is None else list(columns)
        self._size = size
        if [len(column) for column in self._columns] != [size] * len(self._initial):
            raise CheckpointCorrupt(f"a snapshot has not {len(self._initial)} columns of {size} scalars", "a snapshot")
        places = iter(self._columns)
        self._aggregates = [(a, [next(places) for _ in a.initial()]) for a in aggregates.values()]

    def new_row(self) -> int:
        """A row without events."""
        self._size += 1
        return self._size - 1

    def add(self, batch: Batch, rows: Sequence[int | None], first: int = 0) -> None:
        """Take records in, those of the batch from `first` on: each into its row; None for one that was late."""
        self._grow()
        part = slice(first, first + len(rows))
        taken = [row is not None for row in rows] if None in rows else None
        targets: list[Any] = only(taken, rows)
        times_ms = only(taken, batch.times_ms[part])
        for aggregate, columns in self._aggregates:
            values = only(taken, batch.column(aggregate.field)[part]) if aggregate.field else targets
            aggregate.add(columns, targets, values, times_ms)

    def merge(self, earlier: int, later: int) -> None:
        """Add the second row's events to the first row's."""
        self._grow()
        for aggregate, columns in self._aggregates:
            merged = aggregate.merge(_state(columns, earlier), _state(columns, later))
            for column, scalar in zip(columns, merged, strict=True):
                column[earlier] = scalar

    def results(self, rows: Sequence[int]) -> list[list[Any]]:
        """What readers see of the rows, by column."""
        return [[aggregate.result(_state(columns, row)) for row in rows] for aggregate, columns in self._aggregates]

    @property
    def columns(self) -> list[list[Any]]:
        """All scalars, by column, for a snapshot."""
        self._grow()
        return self._columns

    def _grow(self) -> None:
        missing = self._size - len(self._columns[0])
        for column, scalar in zip(self._columns, self._initial, strict=True):
            column.extend([scalar] * missing)


def only(taken: Sequence[bool] | None, column: Sequence[Any]) -> list[Any]:
    """What is taken of a column; None: all of it."""
    return list(column) if taken is None else list(compress(column, taken))


def _state(columns: Sequence[list[Any]], row: int) -> tuple[Any, ...]:
    return tuple([column[row] for column in columns])


class WindowRows:
    """The table of a windowed operator, and its rows from windows that closed."""

    def __init__(
        self,
        name: str,
        bounds: tuple[str, str],
        key: Sequence[str],
        aggregates: Mapping[str, Aggregate],
        schema: Schema,
        place: TopicPartition,
        *,
        complete: bool,
    ) -> None:
        self._key = key
        self._place = place
        fields = (
            *(Field(bound, lake.TIMESTAMP, nullable=False) for bound in bounds),
            *_key_fields(schema, key),
            *(
                Field(column, a.result_type(schema.arrow_type(a.field) if a.field else None), nullable=True)
                for column, a in aggregates.items()
            ),
            *_PLACE_FIELDS,
        )
        self._table = LakeTable(name, fields, complete)

    def of(self, starts_ms: list[int], ends_ms: list[int], keys: list[Key], results: list[list[Any]]) -> Rows | None:
        """Rows of closed windows, given by column; None of none."""
        if not starts_ms:
            return None
        key_columns = [keys] if len(self._key) == 1 else [list(column) for column in zip(*keys, strict=True)]
        place: list[list[Any]] = [[value] * len(starts_ms) for value in self._place]
        values = [starts_ms, ends_ms, *key_columns, *results, *place]
        columns = [lake.column(v, field.type) for v, field in zip(values, self._table.fields, strict=True)]
        return Rows(self._table, starts_ms, columns)


def _key_fields(schema: Schema, names: Sequence[str]) -> list[Field]:
    fields = schema.project(names).arrow_fields()
    for field in fields:
        if DataType.is_list(field.type):
            raise ConfigurationError(f"field {field.name!r} is an array: it cannot be part of a key")
    return fields


def keys_of(batch: Batch, names: Sequence[str]) -> list[Key]:
    """The key of each record. A single field's values are not wrapped: hashing tuples would cost as much again."""
    columns = [batch.column(name) for name in names]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def key_type(names: Sequence[str]) -> Any:
    """What a snapshot's keys decode to: a tuple, where there are several fields, would come back as a list."""
    return Any if len(names) == 1 else tuple[Any, ...]


def late_record(operator: str, batch: Batch, index: int, start_ms: int, end_ms: int) -> LateRecord:
    """One record of the batch, and the window that had closed before it."""
    return LateRecord(
        operator, batch.records[index], batch.times_ms[index], start_ms, end_ms, batch.watermarks_ms[index]
    )
