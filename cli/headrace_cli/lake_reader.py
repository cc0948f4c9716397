"""What is in the lake: its tables, their files, and their rows in one schema. Reads a file at a time."""

import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from arro3.core import Array, Field, RecordBatch, RecordBatchReader, Schema
from arro3.io import read_parquet

from headrace.lake import ALIASES, COMPLETENESS, LAKE, MERGE
from headrace_cli import lake_types
from headrace_cli.errors import CommandError, OptionError

BATCH_ROWS = 8192
UNKNOWN = "unknown"
"""The completeness of a file that does not say."""

_KEY = re.compile(rf"{LAKE}/(?P<table>.+)/date=(?P<date>[^/]+)/(?:hour=(?P<hour>[^/]+)/)?[^/]+\.parquet")
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
    """The hour of event time that its rows are of, e.g. `2024-03-13T10` (UTC); of a table by day, `2024-03-13`."""


class Contents(NamedTuple):
    """What a table holds."""

    table: str
    files: int
    rows: int
    bytes: int
    first_hour: str
    last_hour: str
    completeness: str
    """What its files say of their rows: `complete`, `partial` or `unknown`; both names if they differ."""


def tables(objects: LakeObjects) -> dict[str, list[TableFile]]:
    """The published files of every table, `pipeline/table` by name, hours ascending."""
    found: dict[str, list[TableFile]] = {}
    for key in objects.keys(f"{LAKE}/"):
        if match := _KEY.fullmatch(key):
            hour = f"{match['date']}T{match['hour']}" if match["hour"] else match["date"]
            found.setdefault(match["table"], []).append(TableFile(key, hour))
    for files in found.values():
        files.sort(key=lambda file: (file.hour, file.key))
    return dict(sorted(found.items()))


def table_files(objects: LakeObjects, table: str) -> list[TableFile]:
    """The files of one table; arguments and errors as of `find_table`."""
    return find_table(objects, table)[1]


def find_table(objects: LakeObjects, table: str) -> tuple[str, list[TableFile]]:
    """One table's full name and files, by its full name or by the last part of it if only one table has that.

    Raises:
        OptionError: there is no such table; names those that there are.
    """
    found = tables(objects)
    matches = [name for name in found if name == table] or [n for n in found if n.endswith(f"/{table}")]
    if len(matches) != 1:
        problem = "could be several tables" if matches else "is no table"
        raise OptionError(f"{table} {problem} of this lake; it has {', '.join(matches or found) or 'none'}")
    return matches[0], found[matches[0]]


def of_hour(files: list[TableFile], hour: str | None) -> list[TableFile]:
    """Those of one hour (of a table by day: of one date); None: all of them.

    Raises:
        OptionError: there is none; says which hours there are.
    """
    matching = [file for file in files if hour in {None, file.hour}]
    if not matching:
        raise OptionError(f"--where-hour {hour}: no rows; there are hours {files[0].hour} to {files[-1].hour}")
    return matching


def contents(objects: LakeObjects, table: str, files: Sequence[TableFile]) -> Contents:
    """Count a table's rows and bytes; reads every file once."""
    rows = size = 0
    said = set()
    for file in files:
        data = objects.read(file.key)
        size += len(data)
        with _opened(file.key, data) as reader:
            said.add(completeness(reader.schema))
            rows += sum(batch.num_rows for batch in reader)
    return Contents(table, len(files), rows, size, files[0].hour, files[-1].hour, " and ".join(sorted(said)))


def file_schema(objects: LakeObjects, file: TableFile) -> Schema:
    """The columns of one file, with what its footer says."""
    with _opened(file.key, objects.read(file.key)) as reader:
        return reader.schema


def completeness(schema: Schema) -> str:
    """What a file says of its rows: `complete`, `partial` or `unknown`."""
    return said(schema, COMPLETENESS) or UNKNOWN


def said(schema: Schema, name: str) -> str | None:
    """An entry of a schema's metadata."""
    value = schema.metadata.get(name.encode())
    return None if value is None else value.decode()


class TableSchema:
    """The columns of all files of a table: the first file's, then what later ones added, widened or renamed."""

    def __init__(self, objects: LakeObjects, files: Sequence[TableFile]) -> None:
        """Read the schema of every file.

        Raises:
            CommandError: two files have columns of one name that no type has room for.
        """
        self._fields: dict[str, Field] = {}
        self._empty: dict[str, Array] = {}
        heads = [(file, batch) for file in files if (batch := next(file_batches(objects, file), None)) is not None]
        self._names = _new_names([batch.schema for _, batch in heads])
        for number, (file, batch) in enumerate(heads):
            self._add(file, batch, first=number == 0)
        self.schema = Schema(list(self._fields.values()), metadata=_agreed([batch.schema for _, batch in heads]))
        """The unified schema; a column that not every file has is nullable. It says of rows what all files say."""

    def _add(self, file: TableFile, batch: RecordBatch, *, first: bool) -> None:
        columns = self._columns(batch)
        for name, column in columns.items():
            field = batch.schema.field(column.name).with_name(name)
            empty, known = column.values.slice(0, 0), self._fields.get(name)
            if known is None:
                self._fields[name] = field if first else field.with_nullable(True)
                self._empty[name] = empty
                continue
            found = lake_types.common(self._empty[name], empty)
            if found is None:
                raise CommandError(f"{file.key}: column {name} is {field.type}, in an earlier file {known.type}")
            self._empty[name] = found
            self._fields[name] = Field(name, found.type, nullable=known.nullable or field.nullable)
        for name in self._fields.keys() - columns.keys():
            self._fields[name] = self._fields[name].with_nullable(True)

    def _columns(self, batch: RecordBatch) -> "dict[str, _Column]":
        """A file's columns by the names that they have now."""
        has = set(batch.schema.names)
        named = {name: self._names.get(name, name) for name in batch.schema.names}
        # A file that has both was written while both were columns.
        return {(name if now in has else now): _Column(name, batch.column(name)) for name, now in named.items()}

    def conform(self, batch: RecordBatch) -> RecordBatch:
        """The batch with all columns in the table's order; those it lacks are null."""
        has = self._columns(batch)
        columns = [
            lake_types.converted(has[name].values, empty) if name in has else lake_types.nulls(empty, batch.num_rows)
            for name, empty in self._empty.items()
        ]
        return RecordBatch.from_arrays(columns, schema=self.schema)


def _agreed(schemas: Sequence[Schema]) -> dict[str, str]:
    """Whether rows are complete, and how partial ones merge, where all files say the same (generations may not)."""
    found = {name: {said(schema, name) for schema in schemas} for name in (COMPLETENESS, MERGE)}
    return {name: value for name, (value, *others) in found.items() if value is not None and not others}


class _Column(NamedTuple):
    name: str
    """In its file."""
    values: Array


def _new_names(schemas: Sequence[Schema]) -> dict[str, str]:
    """What columns of older files are called now, as newer files say."""
    names: dict[str, str] = {}
    for schema in schemas:
        for now, before in json.loads(said(schema, ALIASES) or "{}").items():
            names |= dict.fromkeys(before, now)
    return names


def rows(
    objects: LakeObjects,
    files: Sequence[TableFile],
    on_schema: Callable[[Schema], None] = lambda _schema: None,
    names: Mapping[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Every row, with the columns that its own file has; each file's schema goes to `on_schema` before its rows.

    Args:
        objects: where the files are.
        files: of one table.
        on_schema: is called once for each file.
        names: what columns of older files are called now, as `new_names` answers.
    """
    for file in files:
        for batch in file_batches(objects, file, on_schema):
            found = batch.to_struct_array().to_pylist()
            yield from (
                ({_now(name, names, row): value for name, value in row.items()} for row in found) if names else found
            )


def _now(name: str, names: Mapping[str, str], row: Mapping[str, Any]) -> str:
    now = names.get(name, name)
    return name if now in row else now


def new_names(objects: LakeObjects, file: TableFile) -> dict[str, str]:
    """What columns of older files are called now, as this file says."""
    return _new_names([file_schema(objects, file)])


def batches(objects: LakeObjects, files: Sequence[TableFile], schema: TableSchema) -> Iterator[RecordBatch]:
    """Every row, in batches of the table's schema."""
    for file in files:
        for batch in file_batches(objects, file):
            yield schema.conform(batch)


def file_batches(
    objects: LakeObjects, file: TableFile, on_schema: Callable[[Schema], None] = lambda _schema: None
) -> Iterator[RecordBatch]:
    """The rows of one file; its schema goes to `on_schema` before them.

    Raises:
        CommandError: it is not a Parquet file, or damaged.
    """
    with _opened(file.key, objects.read(file.key)) as reader:
        on_schema(reader.schema)
        yield from reader


@contextmanager
def _opened(key: str, data: bytes) -> Iterator[RecordBatchReader]:
    whole = len(data) >= _SHORTEST_PARQUET and data.startswith(_PARQUET_MAGIC) and data.endswith(_PARQUET_MAGIC)
    if not whole:
        raise CommandError(f"{key} is not a Parquet file, or only a part of one")
    try:
        yield read_parquet(io.BytesIO(data), batch_size=BATCH_ROWS)
    except BaseException as error:
        # arro3 answers damaged files with a bare Exception or a panic, which is not even one.
        if type(error) not in {Exception, ValueError} and type(error).__name__ != "PanicException":
            raise
        raise CommandError(f"{key} is a damaged Parquet file: {error}") from None
