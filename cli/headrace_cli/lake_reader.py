"""What is in the lake: its tables, their files, and their rows in one schema. Reads a file at a time."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from arro3.core import Array, DataType, Field, RecordBatch, Schema
from arro3.io import read_parquet

from headrace.lake import LAKE
from headrace_cli.errors import CommandError, OptionError

BATCH_ROWS = 8192

_KEY = re.compile(rf"{LAKE}/(?P<table>.+)/date=(?P<date>[^/]+)/hour=(?P<hour>[^/]+)/[^/]+\.parquet")
_PARQUET_MAGIC = b"PAR1"
_SHORTEST_PARQUET = 12


class LakeObjects(Protocol):
    """The part of `ObjectCatalog` and `Outbox` that reading takes."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys under the prefix, sorted."""
        ...

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        ...


class TableFile(NamedTuple):
    """A published file of a table."""

    key: str
    hour: str
    """The hour of event time that its rows are of, e.g. `2024-03-13T10` (UTC)."""


class Contents(NamedTuple):
    """What a table holds."""

    table: str
    files: int
    rows: int
    bytes: int
    first_hour: str
    last_hour: str


def tables(objects: LakeObjects) -> dict[str, list[TableFile]]:
    """The published files of every table, `pipeline/table` by name, hours ascending."""
    found: dict[str, list[TableFile]] = {}
    for key in objects.keys(f"{LAKE}/"):
        if match := _KEY.fullmatch(key):
            hour = f"{match['date']}T{match['hour']}"
            found.setdefault(match["table"], []).append(TableFile(key, hour))
    for files in found.values():
        files.sort(key=lambda file: (file.hour, file.key))
    return dict(sorted(found.items()))


def table_files(objects: LakeObjects, table: str) -> list[TableFile]:
    """The files of one table, by its full name or by the last part of it if only one table has that.

    Raises:
        OptionError: there is no such table; names those that there are.
    """
    found = tables(objects)
    matches = [name for name in found if name == table] or [n for n in found if n.endswith(f"/{table}")]
    if len(matches) != 1:
        problem = "could be several tables" if matches else "is no table"
        raise OptionError(f"{table} {problem} of this lake; it has {', '.join(matches or found) or 'none'}")
    return found[matches[0]]


def contents(objects: LakeObjects, table: str, files: Sequence[TableFile]) -> Contents:
    """Count a table's rows and bytes; reads every file once."""
    rows = size = 0
    for file in files:
        data = objects.read(file.key)
        size += len(data)
        rows += sum(batch.num_rows for batch in _batches(file.key, data))
    return Contents(table, len(files), rows, size, files[0].hour, files[-1].hour)


class TableSchema:
    """The columns of all files of a table: the first file's, then what later ones added."""

    def __init__(self, objects: LakeObjects, files: Sequence[TableFile]) -> None:
        """Read the schema of every file.

        Raises:
            CommandError: two files disagree about a column's type.
        """
        self._fields: dict[str, Field] = {}
        self._empty: dict[str, Array] = {}
        for number, file in enumerate(files):
            self._add(file, next(_batches(file.key, objects.read(file.key)), None), first=number == 0)
        self.schema = Schema(list(self._fields.values()))
        """The unified schema; a column that not every file has is nullable."""

    def _add(self, file: TableFile, batch: RecordBatch | None, *, first: bool) -> None:
        if batch is None:
            return
        for name in batch.schema.names:
            field, known = batch.schema.field(name), self._fields.get(name)
            if known is None:
                self._fields[name] = field if first else field.with_nullable(True)
                self._empty[name] = batch.column(name).slice(0, 0)
            elif known.type != field.type:
                raise CommandError(f"{file.key}: column {name} is {field.type}, in an earlier file {known.type}")
            elif field.nullable:
                self._fields[name] = known.with_nullable(True)
        for name in self._fields.keys() - set(batch.schema.names):
            self._fields[name] = self._fields[name].with_nullable(True)

    def conform(self, batch: RecordBatch) -> RecordBatch:
        """The batch with all columns in the table's order; those it lacks are null."""
        has = set(batch.schema.names)
        columns = [batch.column(n) if n in has else self._nulls(n, batch.num_rows) for n in self._fields]
        return RecordBatch.from_arrays(columns, schema=self.schema)

    def _nulls(self, name: str, count: int) -> Array:
        # Taking nothing makes nulls of every type, nested ones too, which arro3's constructor does not.
        return self._empty[name].take(Array([None] * count, DataType.uint32()))


def rows(objects: LakeObjects, files: Sequence[TableFile]) -> Iterator[dict[str, Any]]:
    """Every row, with the columns that its own file has."""
    for file in files:
        for batch in _batches(file.key, objects.read(file.key)):
            yield from batch.to_struct_array().to_pylist()


def batches(objects: LakeObjects, files: Sequence[TableFile], schema: TableSchema) -> Iterator[RecordBatch]:
    """Every row, in batches of the table's schema."""
    for file in files:
        for batch in _batches(file.key, objects.read(file.key)):
            yield schema.conform(batch)


def _batches(key: str, data: bytes) -> Iterator[RecordBatch]:
    whole = len(data) >= _SHORTEST_PARQUET and data.startswith(_PARQUET_MAGIC) and data.endswith(_PARQUET_MAGIC)
    if not whole:
        raise CommandError(f"{key} is not a Parquet file, or only a part of one")
    try:
        yield from read_parquet(io.BytesIO(data), batch_size=BATCH_ROWS)
    except BaseException as error:
        # arro3 answers damaged files with a bare Exception or a panic, which is not even one.
        if type(error) not in {Exception, ValueError} and type(error).__name__ != "PanicException":
            raise
        raise CommandError(f"{key} is a damaged Parquet file: {error}") from None
