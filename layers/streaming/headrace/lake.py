"""Rows into columnar files, one per table and bucket of event time, and the names that readers find them under.

    lake/<pipeline>/<table>/date=2024-03-13/hour=10/<generation>-<topic>-<partition>-<version>-<n>.parquet

A bucket is an hour, or for tables that say so a day, whose files have no `hour=` part. The date and hour are UTC;
`version` is the commit's, so a name belongs to one commit only.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
from arro3.core import Array, DataType, Field, RecordBatch, Schema, list_array, struct_array

from headrace import parquet
from headrace.columns import column as column  # noqa: PLC0414 - part of what this module offers
from headrace.errors import InvariantError
from headrace.records import Record, different_headers

LAKE = "lake"
"""First part of the key of everything that readers see."""

LATE, DEAD_LETTERS = OWN_TABLES = ("late", "dead_letters")
"""Tables that every pipeline has, whatever its topics."""

HOUR_MS = 3_600_000
HOURS = {"hour": 1, "day": 24}
"""The buckets there are, and how many hours each has."""
MIN_TIME_MS = -62_135_596_800_000
"""0001-01-01T00:00:00Z: the earliest hour that has a name."""
MAX_TIME_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z: the latest."""

TIMESTAMP = DataType.timestamp("ms", tz="UTC")
COMPLETENESS = "headrace.rows"
"""Metadata key of every table: `complete` rows, or `partial` ones that readers merge by key over partitions."""
MERGE = "headrace.merge"
"""Metadata key of partial tables: JSON that says how rows of one key merge (`aggregates.merge_rule`)."""
HOLDS_ROWS = "headrace.holds_rows"
"""Metadata key of tables whose rows may be written by a later commit than the one that passed their record."""
ALIASES = "headrace.aliases"
"""Metadata key of tables with renamed columns: JSON, a column's name to its names in older files."""

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
    rf"{LAKE}/(?P<pipeline>[\w.-]+)/(?P<table>[\w./-]+)/date=(?P<date>\d{{4}}-\d\d-\d\d)/(?:hour=(?P<hour>[01]\d|2[0-3])/)?"
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
    bucket_hours: int = 1
    """How many hours a file's rows can be of: one of `HOURS`."""
    aliases: Mapping[str, Sequence[str]] | None = None
    """What columns are called in older files, of those that were renamed."""
    holds_rows: bool = False
    """Whether a row may be written by a later commit than the one that passed its record."""

    def schema(self) -> Schema:
        """The files' schema, metadata included."""
        metadata = {COMPLETENESS: "complete" if self.complete else "partial"}
        if self.merge is not None:
            metadata[MERGE] = msgspec.json.encode(self.merge).decode()
        if self.aliases:
            metadata[ALIASES] = msgspec.json.encode(self.aliases).decode()
        if self.holds_rows:
            metadata[HOLDS_ROWS] = "true"
        return Schema(list(self.fields), metadata=metadata)


class Rows(msgspec.Struct, frozen=True):
    """Rows of one table, by column, with the time that decides each row's bucket."""

    table: LakeTable
    times_ms: Sequence[int]
    columns: Sequence[Array]


class BucketRows(msgspec.Struct, frozen=True):
    """The rows of one table in one bucket, about to be encoded."""

    table: str
    hour_ms: int
    """The first hour of the bucket."""
    bucket_hours: int
    rows: int
    batch: RecordBatch
    encoding: parquet.Encoding
    indices: Sequence[int] | None
    """Which rows of the batch they are; None: all of them."""


class LakeFile(msgspec.Struct, frozen=True):
    """One encoded file: the rows of one table in one bucket."""

    table: str
    hour_ms: int
    """The first hour of the bucket."""
    content: bytes
    rows: int
    bucket_hours: int = 1


def split(rows: Rows) -> Iterator[BucketRows]:
    """The rows by bucket of their times, buckets ascending: each becomes a file."""
    table = rows.table
    batch = RecordBatch.from_arrays(list(rows.columns), schema=table.schema())
    encoding = parquet.encoding_of(batch)
    bucket_ms = table.bucket_hours * HOUR_MS
    first, last = min(rows.times_ms) // bucket_ms, max(rows.times_ms) // bucket_ms
    if first == last:
        yield BucketRows(table.name, first * bucket_ms, table.bucket_hours, len(rows.times_ms), batch, encoding, None)
        return
    found: dict[int, list[int]] = {}
    for index, time_ms in enumerate(rows.times_ms):
        found.setdefault(time_ms // bucket_ms, []).append(index)
    for bucket, indices in sorted(found.items()):
        yield BucketRows(table.name, bucket * bucket_ms, table.bucket_hours, len(indices), batch, encoding, indices)


def encode(part: BucketRows, metadata: Mapping[str, str]) -> LakeFile:
    """The rows as a Parquet file, with the metadata in its footer: not in its schema, which all files share."""
    batch = part.batch if part.indices is None else part.batch.take(Array(part.indices, DataType.uint32()))
    return LakeFile(
        part.table, part.hour_ms, parquet.encode(batch, part.encoding, metadata), part.rows, part.bucket_hours
    )


def within_years(times_ms: list[int]) -> list[int]:
    """Times that every reader can read: those outside of the years 1 to 9999 become their first or last moment.

    Bounds of windows can lie there, beyond the events in them.
    """
    if not times_ms or (min(times_ms) >= MIN_TIME_MS and max(times_ms) <= MAX_TIME_MS):
        return times_ms
    return [min(max(time_ms, MIN_TIME_MS), MAX_TIME_MS) for time_ms in times_ms]


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
    different, which = different_headers(records)
    offsets = Array(list(accumulate(map(len, different), initial=0)), DataType.int32())
    names = Array([name for pairs in different for name, _ in pairs], DataType.string())
    values = Array([value for pairs in different for _, value in pairs], DataType.binary())
    column = list_array(offsets, struct_array([names, values], fields=_HEADER), type=_HEADERS)
    return column.take(Array(which, DataType.uint32()))


def is_name(name: str) -> bool:
    """Whether it can be part of an object key: what Kafka allows topics to be called."""
    return _SAFE_NAME.fullmatch(name) is not None and name not in {".", ".."}


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
        if not is_name(name):
            raise InvariantError(f"{name!r} cannot be part of an object key")
    if not _GENERATION.fullmatch(generation):
        raise InvariantError(f"generation {generation!r} cannot be part of an object key")
    hour = _EPOCH + timedelta(milliseconds=file.hour_ms)
    folder = f"{LAKE}/{pipeline}/{file.table}/date={hour.date().isoformat()}"
    if file.bucket_hours == 1:
        folder += f"/hour={hour.hour:02d}"
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
    """The hour that its rows are of; the first one of a day."""
    version: int
    """Of the commit that made it."""
    number: int
    """Among the files of that commit, from 0."""
    bucket_hours: int = 1
    """How many hours its rows are of: one of `HOURS`."""


def read_final_key(key: str) -> FileName | None:
    """The inverse of `final_key`; None for a key that it never makes."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    part = match.groupdict()
    partition, version, number = (int(part[name]) for name in ("partition", "version", "number"))
    hour_ms = _hour_ms(part["date"], int(part["hour"] or 0))
    if hour_ms is None or not key.endswith(f"-{partition}-{version}-{number}.parquet"):
        return None  # 07 is no number of ours
    pipeline, generation, topic, table = (part[name] for name in ("pipeline", "generation", "topic", "table"))
    bucket_hours = HOURS["hour" if part["hour"] else "day"]
    return FileName(pipeline, generation, topic, partition, table, hour_ms, version, number, bucket_hours)


def _hour_ms(date: str, hour: int) -> int | None:
    try:
        days = datetime.fromisoformat(f"{date}T00:00:00+00:00") - _EPOCH
    except ValueError:
        return None
    return (days.days * 24 + hour) * HOUR_MS
