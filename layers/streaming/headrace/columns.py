"""Avro's types as Arrow's, and values as Arrow columns.

Chosen so that pyarrow, DuckDB, Spark, Athena and Iceberg read the same from one Parquet file: times of day and
nanosecond timestamps are plain integers in their own unit (one column of such a type makes Spark refuse the file),
uuids text, a union of several types a struct with a nullable member for each, the names in lists and maps Parquet's.
"""

import io
from collections.abc import Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any

from arro3.core import Array, DataType, Field, RecordBatch, Schema, Table, list_array, struct_array
from arro3.io import read_ipc_stream, write_ipc_stream
from msgspec.structs import replace

from headrace.avro_types import ArrayType, AvroType, Decimal, Enum, Fixed, MapType, Nullable, RecordType, Scalar, Union

_SCALARS = {
    "boolean": DataType.bool(),
    "int": DataType.int32(),
    "long": DataType.int64(),
    "float": DataType.float32(),
    "double": DataType.float64(),
    "bytes": DataType.binary(),
    "string": DataType.string(),
    "uuid": DataType.string(),
    "date": DataType.date32(),
    "time-millis": DataType.int32(),
    "time-micros": DataType.int64(),
    "timestamp-millis": DataType.timestamp("ms", tz="UTC"),
    "timestamp-micros": DataType.timestamp("us", tz="UTC"),
    "timestamp-nanos": DataType.int64(),
    "local-timestamp-millis": DataType.timestamp("ms"),
    "local-timestamp-micros": DataType.timestamp("us"),
    "local-timestamp-nanos": DataType.int64(),
}


def arrow_type(of: AvroType) -> DataType:  # noqa: PLR0911 - a case per type
    """The type of the column."""
    match of:
        case Nullable():
            return arrow_type(of.of)
        case Scalar():
            return _SCALARS[of.kind]
        case Decimal():
            return DataType.decimal128(of.precision, of.scale)
        case Fixed():
            return DataType.binary(of.size)
        case Enum():
            return DataType.string()
        case ArrayType():
            return DataType.list(_field("element", of.items))
        case MapType():
            return _map_type(_field("value", of.values))
        case RecordType():
            return DataType.struct([_field(field.name, field.of) for field in of.fields])
        case Union():
            return DataType.struct([Field(b.member, arrow_type(b.of), nullable=True) for b in of.branches])


def landed_type(of: AvroType) -> DataType:
    """The type of the column in a table of records, which its `arrow_type` is cast to.

    Its times are microseconds: Iceberg knows no coarser ones, and Spark takes milliseconds for them.
    """
    return arrow_type(_in_micros(of))


def _in_micros(of: AvroType) -> AvroType:  # noqa: PLR0911 - a case per type
    match of:
        case Scalar():
            return replace(of, kind=of.kind.replace("timestamp-millis", "timestamp-micros"))
        case Nullable():
            return replace(of, of=_in_micros(of.of))
        case ArrayType():
            return replace(of, items=_in_micros(of.items))
        case MapType():
            return replace(of, values=_in_micros(of.values))
        case RecordType():
            return replace(of, fields=tuple(replace(field, of=_in_micros(field.of)) for field in of.fields))
        case Union():
            return replace(of, branches=tuple(replace(branch, of=_in_micros(branch.of)) for branch in of.branches))
    return of


def _field(name: str, of: AvroType) -> Field:
    return Field(name, arrow_type(of), nullable=isinstance(of, Nullable))


def column(values: Sequence[Any], of: DataType, *, nullable: bool = True) -> Array:  # noqa: PLR0911 - a case per type
    """An Arrow column of Python values.

    Times are integers in the type's unit, structs dicts or objects, maps dicts, decimals `decimal.Decimal`.

    Args:
        values: of the rows.
        of: the column's type.
        nullable: whether a value can be None; of nested columns that are not, nobody has to look for it.

    Raises:
        OverflowError: a value does not fit the type.
    """
    if DataType.is_timestamp(of):
        return Array(values, DataType.int64()).cast(of)
    if DataType.is_date32(of):
        return Array(values, DataType.int32()).cast(of)
    if DataType.is_list(of):
        return _list_column(values, of, nullable=nullable)
    if DataType.is_struct(of):
        return _struct_column(values, of, nullable=nullable)
    if DataType.is_map(of):
        return _map_column(values, of)
    if DataType.is_decimal(of):
        # Not from decimals, which arro3 does not take; whoever decoded them has checked precision and scale.
        return Array([None if value is None else f"{value:f}" for value in values], DataType.string()).cast(of)
    return Array(values, of)


def _list_column(values: Sequence[Any], of: DataType, *, nullable: bool) -> Array:
    assert of.value_field is not None  # noqa: S101 - a list type has one
    present = [value or () for value in values] if nullable else values
    items = column(list(chain.from_iterable(present)), of.value_field.type, nullable=of.value_field.nullable)
    return list_array(_offsets(present), items, type=of, mask=_absent(values) if nullable else None)


def _struct_column(values: Sequence[Any], of: DataType, *, nullable: bool) -> Array:
    present = next((value for value in values if value is not None), None)
    rows: Sequence[Any]
    if present is None or isinstance(present, dict):
        rows = [value or {} for value in values]
        members = [column([row.get(field.name) for row in rows], field.type) for field in of.fields]
    else:
        # Under the mask any value will do.
        rows = [present if value is None else value for value in values] if nullable else values
        members = [_member(rows, field) for field in of.fields]
    return struct_array(members, fields=of.fields, type=of, mask=_absent(values) if nullable else None)


def _member(rows: Sequence[Any], field: Field) -> Array:
    return column(list(map(attrgetter(field.name), rows)), field.type, nullable=field.nullable)


def _offsets(values: Sequence[Any]) -> Array:
    return Array(list(accumulate(map(len, values), initial=0)), DataType.int32())


def _absent(values: Sequence[Any]) -> Array:
    return Array([value is None for value in values], DataType.bool())


_MAP_VALUES: dict[str, Field] = {}
"""The values of every map type made here: arro3 does not tell."""


def _map_type(value: Field) -> DataType:
    of = _map_array([], value).type
    _MAP_VALUES[repr(of)] = value
    return of


def _map_column(values: Sequence[Any], of: DataType) -> Array:
    return _map_array(values, _MAP_VALUES[repr(of)])


def _map_array(values: Sequence[Any], value: Field) -> Array:
    entries = [Field("key", DataType.string(), nullable=False), value]
    pairs = DataType.list(Field("key_value", DataType.struct(entries), nullable=False))
    present = [of_row for of_row in values if of_row]
    keys = Array(list(chain.from_iterable(present)), DataType.string())
    items = column([item for of_row in present for item in of_row.values()], value.type)
    found = struct_array([keys, items], fields=entries)
    return _relabelled(
        list_array(_offsets([of_row or () for of_row in values]), found, type=pairs, mask=_absent(values))
    )


_IPC_LIST, _IPC_MAP = 12, 17
"""The numbers of the types `List` and `Map` in Arrow's `Schema.fbs`."""


def _relabelled(pairs: Array) -> Array:
    """A list of pairs as a map.

    arro3 makes no maps, and its map type calls the pairs `entries`, which Parquet does not and pyiceberg does not find.
    A list of pairs and a map differ in Arrow's format by the number of their type only, so the array goes through an
    IPC stream and that number is changed on the way.
    """
    stream = io.BytesIO()
    batch = RecordBatch.from_arrays([pairs], schema=Schema([Field("x", pairs.type, nullable=True)]))
    write_ipc_stream(Table.from_batches([batch]), stream)
    content = bytearray(stream.getvalue())
    place = _place_of_type_number(content)
    assert content[place] == _IPC_LIST, "Arrow's IPC format is not what it was"  # noqa: S101 - of arro3, not of input
    content[place] = _IPC_MAP
    (found,) = read_ipc_stream(bytes(content))
    return found.column(0)


def _place_of_type_number(stream: bytearray) -> int:
    """Where the stream's schema tells the type of its first field: a walk through three flatbuffers tables."""

    def follow(place: int) -> int:
        return place + int.from_bytes(stream[place : place + 4], "little")

    def member(table: int, number: int) -> int:
        directory = table - int.from_bytes(stream[table : table + 4], "little", signed=True)
        offset = directory + 4 + 2 * number
        return table + int.from_bytes(stream[offset : offset + 2], "little")

    message = follow(8)  # after the continuation mark and the length
    schema = follow(member(message, 2))
    first = follow(follow(member(schema, 1)) + 4)  # fields: a vector, its length first
    return member(first, 2)
