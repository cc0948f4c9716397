"""Rows into columnar files, one per table and hour of event time, and the names that readers find them under.

    lake/<pipeline>/<table>/date=2024-03-13/hour=10/<generation>-<topic>-<partition>-<version>-<n>.parquet

The date and hour are UTC; `version` is the commit's, so a name belongs to one commit only.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
from arro3.core import Array, DataType, Field, RecordBatch, Schema, Table, list_array, struct_array
from arro3.io import write_parquet

from headrace.errors import InvariantError
from headrace.records import Record

LAKE = "lake"
"""First part of the key of everything that readers see."""

LATE, DEAD_LETTERS = OWN_TABLES = ("late", "dead_letters")
"""Tables that every pipeline has, whatever its topics."""

HOUR_MS = 3_600_000
LARGE_FILES = "zstd(1)"
"""Compression: against zstd(3) half the CPU time for 2 to 4 % more bytes."""
SMALL_FILES = "snappy"
"""zstd starts anew for each column: 0.4 instead of 0.1 ms for a file of 150 rows and eight columns, which is 8 % larger
with this."""
SMALL_ROWS = 2000
MIN_TIME_MS = -62_135_596_800_000
"""0001-01-01T00:00:00Z: the earliest hour that has a name."""
MAX_TIME_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: the latest."""

TIMESTAMP = DataType.timestamp("ms", tz="UTC")
COMPLETENESS = "headrace.rows"
"""Metadata key of every table: `complete` rows, or `partial` ones that readers merge by key over partitions."""
MERGE = "headrace.merge"
"""Metadata key of partial tables: JSON that says how rows of one key merge (`aggregates.merge_rule`)."""

_HEADER = [
    Field("key", DataType.string(), nullable=False),
    Field("value", DataType.binary(), nullable=True),
]
# Iceberg wants list items named `element`, not arrow's `item`.
_HEADERS = DataType.list(Field("element", DataType.struct(_HEADER), nullable=False))

RECORD_FIELDS = [
    Field("_topic", DataType.string(), nullable=False),
    Field("_partition", DataType.int32(), nullable=False),
    Field("_offset", DataType.int64(), nullable=False),
    Field("_timestamp_ms", DataType.int64(), nullable=False),
    Field("_key", DataType.binary(), nullable=True),
    Field("_headers", _HEADERS, nullable=False),
]
"""Columns that say where a row came from, for tables with a row per record."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SAFE_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
# A dash ends the generation in a file's name.
_GENERATION = re.compile(r"[a-z0-9_]{1,32}")
_KEY = re.compile(
    rf"{LAKE}/(?P<pipeline>[\w.-]+)/(?P<table>[\w./-]+)/date=(?P<date>\d{{4}}-\d\d-\d\d)/hour=(?P<hour>[01]\d|2[0-3])/"
    r"(?P<generation>[a-z0-9_]{1,32})-(?P<topic>[\w.-]+)-(?P<partition>\d{1,10})-(?P<version>\d{1,18})-(?P<number>\d{1,18})"
    r"\.parquet",
    re.ASCII,
)


class LakeTable(msgspec.Struct, frozen=True):
    """A table of the lake: where its files are and what their columns are."""

    name: str
    fields: tuple[Field, ...]
    complete: bool
    """Whether a row is the whole truth of its key, or a partial that readers merge over partitions."""
    merge: dict[str, Any] | None = None
    """How readers do that, as plain data; None: by themselves."""

    def schema(self) -> Schema:
        """The files' schema, metadata included."""
        metadata = {COMPLETENESS: "complete" if self.complete else "partial"}
        if self.merge is not None:
            metadata[MERGE] = msgspec.json.encode(self.merge).decode()
        return Schema(list(self.fields), metadata=metadata)


class Rows(msgspec.Struct, frozen=True):
    """Rows of one table, by column, with the time that decides each row's hour."""

    table: LakeTable
    times_ms: Sequence[int]
    columns: Sequence[Array]


class HourRows(msgspec.Struct, frozen=True):
    """The rows of one table in one hour, about to be encoded."""

    table: str
    hour_ms: int
    rows: int
    batch: RecordBatch
    indices: Sequence[int] | None
    """Which rows of the batch they are; None: all of them."""


class LakeFile(msgspec.Struct, frozen=True):
    """One encoded file: the rows of one table in one hour."""

    table: str
    hour_ms: int
    content: bytes
    rows: int


def split(rows: Rows) -> Iterator[HourRows]:
    """The rows by hour of their times, hours ascending: each becomes a file."""
    batch = RecordBatch.from_arrays(list(rows.columns), schema=rows.table.schema())
    hours = [time_ms // HOUR_MS for time_ms in rows.times_ms]
    if min(hours) == max(hours):
        yield HourRows(rows.table.name, hours[0] * HOUR_MS, len(hours), batch, None)
        return
    for hour, indices in sorted(_by_hour(hours).items()):
        yield HourRows(rows.table.name, hour * HOUR_MS, len(indices), batch, indices)


def encode(part: HourRows, metadata: Mapping[str, str]) -> LakeFile:
    """The rows as a Parquet file, with the metadata in its footer: not in its schema, which all files share."""
    batch = part.batch if part.indices is None else part.batch.take(Array(part.indices, DataType.uint32()))
    return LakeFile(part.table, part.hour_ms, _parquet(batch, metadata), part.rows)


def _by_hour(hours: list[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for index, hour in enumerate(hours):
        found.setdefault(hour, []).append(index)
    return found


def _parquet(batch: RecordBatch, metadata: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    table = Table.from_batches([batch])
    compression = SMALL_FILES if batch.num_rows < SMALL_ROWS else LARGE_FILES
    write_parquet(table, buffer, compression=compression, key_value_metadata=dict(metadata))
    return buffer.getvalue()


def in_micros(of: DataType) -> DataType:
    """The type with times in microseconds: Iceberg knows no coarser ones, and Spark takes milliseconds for them."""
    if DataType.is_timestamp(of) and of.time_unit == "ms":
        return DataType.timestamp("us", tz=of.tz)
    if DataType.is_list(of) and of.value_field is not None:
        return DataType.list(of.value_field.with_type(in_micros(of.value_field.type)))
    return of


def column(values: list[Any], arrow_type: DataType) -> Array:
    """An Arrow column of Python values; times are integers in the type's unit, structs are dicts.

    Raises:
        OverflowError: a value does not fit the type.
    """
    if DataType.is_timestamp(arrow_type):
        return Array(values, DataType.int64()).cast(arrow_type)
    if DataType.is_date32(arrow_type):
        return Array(values, DataType.int32()).cast(arrow_type)
    if DataType.is_list(arrow_type):
        return _list_column(values, arrow_type)
    if DataType.is_struct(arrow_type):
        return _struct_column(values, arrow_type)
    return Array(values, arrow_type)


def _list_column(values: list[list[Any] | None], arrow_type: DataType) -> Array:
    item_type = arrow_type.value_type
    assert item_type is not None  # noqa: S101 - a list type has one
    items = column([item for value in values for item in value or ()], item_type)
    offsets = Array(list(accumulate((len(value or ()) for value in values), initial=0)), DataType.int32())
    absent = Array([value is None for value in values], DataType.bool())
    return list_array(offsets, items, type=arrow_type, mask=absent)


def _struct_column(values: list[dict[str, Any] | None], arrow_type: DataType) -> Array:
    absent = [value is None for value in values]
    rows = [value or {} for value in values]
    members = [column([row.get(field.name) for row in rows], field.type) for field in arrow_type.fields]
    return struct_array(members, fields=arrow_type.fields, type=arrow_type, mask=Array(absent, DataType.bool()))


def record_columns(records: Sequence[Record]) -> list[Array]:
    """The columns of `RECORD_FIELDS`."""
    return [
        Array([record.topic for record in records], DataType.string()),
        Array([record.partition for record in records], DataType.int32()),
        Array([record.offset for record in records], DataType.int64()),
        Array([record.timestamp_ms for record in records], DataType.int64()),
        Array([record.key for record in records], DataType.binary()),
        _header_column(records),
    ]


def _header_column(records: Sequence[Record]) -> Array:
    headers = [record.headers for record in records]
    offsets = Array(list(accumulate(map(len, headers), initial=0)), DataType.int32())
    names = Array([name for pairs in headers for name, _ in pairs], DataType.string())
    values = Array([value for pairs in headers for _, value in pairs], DataType.binary())
    return list_array(offsets, struct_array([names, values], fields=_HEADER), type=_HEADERS)


def final_key(
    file: LakeFile, *, pipeline: str, generation: str, topic: str, partition: int, version: int, number: int
) -> str:
    """The key under which readers find the file.

    It is unique: the first dash ends the generation, the last three numbers are partition, version and number
    whatever dashes the topic has, and a commit's condition gives a version of a partition to one commit only.

    Raises:
        InvariantError: a name that Kafka itself would refuse (it could leave the table's folder), or a generation of
            anything but small letters, digits and underscores.
    """
    for name in (pipeline, topic, *file.table.split("/")):
        if not _SAFE_NAME.fullmatch(name) or name in {".", ".."}:
            raise InvariantError(f"{name!r} cannot be part of an object key")
    if not _GENERATION.fullmatch(generation):
        raise InvariantError(f"generation {generation!r} cannot be part of an object key")
    hour = _EPOCH + timedelta(milliseconds=file.hour_ms)
    folder = f"{LAKE}/{pipeline}/{file.table}/date={hour.date().isoformat()}/hour={hour.hour:02d}"
    return f"{folder}/{generation}-{topic}-{partition}-{version}-{number}.parquet"


class FileName(NamedTuple):
    """What the key of a published file says."""

    pipeline: str
    generation: str
    topic: str
    partition: int
    table: str
    """Without the pipeline."""
    hour_ms: int
    """The hour that its rows are of."""
    version: int
    """Of the commit that made it."""
    number: int
    """Among the files of that commit, from 0."""


def read_final_key(key: str) -> FileName | None:
    """The inverse of `final_key`; None for a key that it never makes."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    part = match.groupdict()
    partition, version, number = (int(part[name]) for name in ("partition", "version", "number"))
    hour_ms = _hour_ms(part["date"], int(part["hour"]))
    if hour_ms is None or not key.endswith(f"-{partition}-{version}-{number}.parquet"):
        return None  # 07 is no number of ours
    pipeline, generation, topic, table = (part[name] for name in ("pipeline", "generation", "topic", "table"))
    return FileName(pipeline, generation, topic, partition, table, hour_ms, version, number)


def _hour_ms(date: str, hour: int) -> int | None:
    try:
        days = datetime.fromisoformat(f"{date}T00:00:00+00:00") - _EPOCH
    except ValueError:
        return None
    return (days.days * 24 + hour) * HOUR_MS
