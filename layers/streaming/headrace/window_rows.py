"""The tables of a windowed operator: rows of windows that closed, and of those that are given out early."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from arro3.core import DataType, Field

from headrace import lake
from headrace.aggregates import Aggregate, Columns, merge_rule
from headrace.avro_types import described
from headrace.errors import ConfigurationError
from headrace.lake import LakeTable, Rows
from headrace.operators import Batch, LateRecord
from headrace.records import TopicPartition
from headrace.schema import Schema
from headrace.windows import SessionWindows, Window, Windows

EARLY = "_early"
"""Ends the name of the table with early results."""

_PLACE_FIELDS = (
    Field("_topic", DataType.string(), nullable=False),
    Field("_partition", DataType.int32(), nullable=False),
)
_REVISION_FIELDS = (
    Field("revision", DataType.int32(), nullable=False),
    Field("retracted", DataType.bool(), nullable=False),
)


class Top(msgspec.Struct, frozen=True):
    """Only the keys of a window with the largest results.

    Equal ones are chosen by their keys, ascending. Of a partial table the rows are the best of one partition: what is
    best over all of them cannot be told from them, unless each partition keeps enough.

    Raises:
        ConfigurationError: the count is not positive.
    """

    count: int
    """How many keys to keep."""
    by: str
    """Name of the aggregate to compare."""

    def __post_init__(self) -> None:
        """Refuse to keep nothing."""
        if self.count <= 0:
            raise ConfigurationError(f"top's count must be positive, not {self.count}")


class Declared(Protocol):
    """What the tables and the running logic need to know of the operator's declaration."""

    @property
    def table(self) -> str:
        """See `windowed.Windowed`."""
        ...

    @property
    def window(self) -> Windows:
        """See `windowed.Windowed`."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """See `windowed.Windowed`."""
        ...

    @property
    def aggregates(self) -> dict[str, Aggregate]:
        """See `windowed.Windowed`."""
        ...

    @property
    def complete(self) -> bool:
        """See `windowed.Windowed`."""
        ...

    @property
    def top(self) -> Top | None:
        """See `windowed.Windowed`."""
        ...

    @property
    def early_results(self) -> bool:
        """See `windowed.Windowed`."""
        ...


class Closed(msgspec.Struct):
    """Windows to be given out, by column."""

    windows: list[Window]
    keys: Sequence[Sequence[Any]]
    """The fields of the key, a column each."""
    states: Sequence[tuple[Aggregate, Columns]]
    """Each aggregate with its states, by column."""
    revisions: list[tuple[int, bool]] = []
    """Of early results: number of the revision, and whether it takes back what was given out."""


class Table:
    """Makes rows."""

    def __init__(self, declared: Declared, schema: Schema, place: TopicPartition) -> None:
        """Work out the columns.

        Raises:
            ConfigurationError: a key field is an array or a double, an aggregate cannot work on its field, a field's
                values cannot be kept in state, `top` is by results without an order, or two columns have one name.
            SchemaError: the schema does not have a field.
        """
        self.name = declared.table
        self._place = place
        self._top = declared.top
        self._top_by = list(declared.aggregates).index(declared.top.by) if declared.top else 0
        self._partial = not declared.complete
        bounds = _bounds(declared.window)
        keys, columns = key_fields(schema, declared.key), self._columns(declared.aggregates, schema)
        fields = (*bounds, *keys, *columns)
        check_names(self.name, [*fields, *(_REVISION_FIELDS if declared.early_results else ()), *_PLACE_FIELDS])
        if declared.top is not None:
            _check_order(declared.top, columns)
        by_key = [field.name for field in (*bounds, *keys)]
        # Not all of these windows can be merged, nor what the best keys of one partition leave out: readers say so.
        which = {"window": type(declared.window).__name__, "top": msgspec.to_builtins(declared.top)}
        merge = merge_rule(by_key, declared.aggregates) | which if self._partial else None
        self._final = LakeTable(self.name, (*fields, *_PLACE_FIELDS), declared.complete, merge)
        early = (*fields, *_REVISION_FIELDS, *_PLACE_FIELDS)
        self._early = LakeTable(f"{self.name}{EARLY}", early, declared.complete)
        self._given_out: dict[str, tuple[LakeTable, list[list[Any]]]] = {}

    def final(self, closed: Closed) -> None:
        """Give out closed windows. Results are taken at once: their states may go on changing."""
        if closed.windows:
            self._add(self._final, self._best(closed, self._top) if self._top else closed, [])

    def early(self, over: Closed) -> None:
        """Give out windows that are over and still open."""
        if over.windows:
            self._add(self._early, over, [list(column) for column in zip(*over.revisions, strict=True)])

    def take(self) -> list[Rows]:
        """The rows of everything given out since the last call."""
        given_out, self._given_out = self._given_out, {}
        return [self._rows(table, columns) for table, columns in given_out.values()]

    def _columns(self, aggregates: Mapping[str, Aggregate], schema: Schema) -> list[Field]:
        fields = []
        for name, aggregate in aggregates.items():
            read = (aggregate.field,) if isinstance(aggregate.field, str) else aggregate.field or ()
            field_type = next((kept for kept in [_kept_type(schema, each) for each in read]), None)
            fields.append(Field(name, aggregate.result_type(field_type), nullable=True))
            if self._partial:
                fields += [Field(n, kind, nullable=True) for n, kind in aggregate.partials(name, field_type)]
        return fields

    def _best(self, closed: Closed, top: Top) -> Closed:
        """The best keys of each window, the best one first."""
        aggregate, states = closed.states[self._top_by]
        results = aggregate.results(states)
        by_window: dict[Window, list[int]] = {}
        for index in sorted(range(len(results)), key=lambda i: [_orderly(column[i]) for column in closed.keys]):
            by_window.setdefault(closed.windows[index], []).append(index)
        kept: list[int] = []
        for indices in by_window.values():  # sorting is stable, reversed or not: equal ones stay in the order of keys
            kept += sorted(indices, key=lambda i: _orderly(results[i]), reverse=True)[: top.count]
        return Closed(
            [closed.windows[i] for i in kept],
            [[column[i] for i in kept] for column in closed.keys],
            [(each, [[column[i] for i in kept] for column in columns]) for each, columns in closed.states],
        )

    def _add(self, table: LakeTable, closed: Closed, more: list[list[Any]]) -> None:
        starts_ms = lake.within_years([window.start_ms for window in closed.windows])
        ends_ms = lake.within_years([window.end_ms for window in closed.windows])
        columns = [starts_ms, ends_ms, *map(list, closed.keys), *self._results(closed), *more]
        _, there = self._given_out.setdefault(table.name, (table, columns))
        if there is not columns:
            for column, values in zip(there, columns, strict=True):
                column.extend(values)

    def _rows(self, table: LakeTable, columns: list[list[Any]]) -> Rows:
        place: list[list[Any]] = [[value] * len(columns[0]) for value in self._place]
        arrays = [lake.column(v, field.type) for v, field in zip([*columns, *place], table.fields, strict=True)]
        return Rows(table, columns[0], arrays)

    def _results(self, closed: Closed) -> list[list[Any]]:
        results = []
        for aggregate, columns in closed.states:
            results.append(aggregate.results(columns))
            if self._partial:
                results += aggregate.partial_columns(columns)
        return results


def late(operator: str, batch: Batch, index: int, missed: Sequence[Window], lateness_ms: int) -> LateRecord:
    """One record of the batch, and the windows that had closed before it, the earliest first."""
    watermark_ms = batch.watermarks_ms[index]
    end_ms = missed[-1].end_ms
    return LateRecord(
        operator=operator,
        record=batch.records[index],
        time_ms=batch.times_ms[index],
        start_ms=missed[0].start_ms,
        end_ms=end_ms,
        windows=len(missed),
        watermark_ms=watermark_ms,
        late_by_ms=watermark_ms - end_ms - lateness_ms,
    )


def _bounds(window: Windows) -> list[Field]:
    what = "session" if isinstance(window, SessionWindows) else "window"
    return [Field(f"{what}_{bound}", lake.TIMESTAMP, nullable=False) for bound in ("start", "end")]


def key_fields(schema: Schema, names: Sequence[str]) -> list[Field]:
    """The columns of fields by which rows are told apart.

    Raises:
        ConfigurationError: a field is an array or a double, or its values cannot be kept in state.
        SchemaError: the schema does not have it.
    """
    fields = schema.project(names).arrow_fields()
    for field in fields:
        _kept_type(schema, field.name)
        if DataType.is_list(field.type):
            raise ConfigurationError(f"field {field.name!r} is an array: it cannot be part of a key")
        if DataType.is_floating(field.type):
            raise ConfigurationError(
                f"field {field.name!r} is a double: it cannot be part of a key, because NaN equals nothing, and 0.0 "
                "equals -0.0"
            )
    return fields


def check_table(what: str, table: str) -> None:
    """Refuse a table that the lake could not have.

    Args:
        what: whose table it is, as the sentence begins.
        table: its name.

    Raises:
        ConfigurationError: in a sentence.
    """
    if not all(map(lake.is_name, table.split("/"))):
        raise ConfigurationError(f"{what}: its name may have letters, digits, '.', '_', '-', and '/' between names")


def check_names(table: str, fields: Sequence[Field]) -> None:
    """Refuse a table with two columns of one name.

    Raises:
        ConfigurationError: in a sentence.
    """
    names = [field.name for field in fields]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise ConfigurationError(f"table {table!r} would have two columns {twice[0]!r}")


def _check_order(top: Top, columns: Sequence[Field]) -> None:
    for field in columns:
        if field.name == top.by and (DataType.is_list(field.type) or DataType.is_struct(field.type)):
            raise ConfigurationError(f"top is by {top.by!r}, whose results have several values: which are better?")


def _kept_type(schema: Schema, name: str) -> DataType:
    """The type of a field whose values go into state, which msgpack has to give back as they were."""
    found = schema.arrow_type(name)
    item = found
    while item.value_type is not None and DataType.is_list(item):
        item = item.value_type
    if any(of(item) for of in (DataType.is_struct, DataType.is_map, DataType.is_decimal)):
        what = described(schema.project((name,)).fields[0].avro_type)
        raise ConfigurationError(f"field {name!r} is {what}: windows keep no records, maps, unions or decimals")
    return found


def _orderly(scalar: Any) -> tuple[bool, Any]:
    """To sort by: absent, and NaN, before everything else."""
    is_value = scalar is not None and scalar == scalar  # noqa: PLR0124 - NaN does not equal itself
    return (is_value, scalar if is_value else 0)
