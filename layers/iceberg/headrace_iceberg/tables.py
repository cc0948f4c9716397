"""The catalog, and the tables in it: their names, where they live, what is remembered in them, how a commit ends.

A table belongs to one topic and one generation (a new generation reads the topic from the beginning: its rows beside
the old ones would be every row twice). Metadata and compacted files are at `tables/<pipeline>/<topic>/<generation>/`.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import FileIO, InputFile, OutputFile, load_file_io
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update.snapshot import UpdateSnapshot

from headrace.errors import HeadraceError
from headrace_iceberg import high_water
from headrace_iceberg.columns import name_mapping, partitioning, table_schema
from headrace_iceberg.errors import CatalogFailed, MarksLost, TableTaken
from headrace_iceberg.high_water import PROPERTY, Source

TABLES = "tables"
"""First part of the key of everything that belongs to Iceberg tables."""
OWNER = "headrace.source"
"""Property of a table: whose rows it has."""
PROPERTIES = {
    "format-version": "2",
    # Metadata files that newer ones replaced; expiry removes them from the store.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.parquet.compression-codec": "zstd",
}
_NAMES = "schema.name-mapping.default"
_NO_RETRIES = {"commit.retry.num-retries": "0"}


class TableId(NamedTuple):
    """Which table of the lake, in which generation."""

    pipeline: str
    topic: str
    generation: str

    @property
    def folder(self) -> str:
        """The folder of everything that is the table's own."""
        return f"{TABLES}/{self.pipeline}/{self.topic}/{self.generation}"

    @property
    def name(self) -> str:
        """Its name in the catalog: of small letters, digits and underscores, as Glue and Athena like it."""
        return re.sub(r"[^a-z0-9_]", "_", f"{self.topic}_g{self.generation}".lower())


class Tables:
    """The tables of one namespace of a catalog, over one lake."""

    def __init__(self, catalog: Catalog, namespace: str, lake: str) -> None:
        """Open them.

        Args:
            catalog: of pyiceberg.
            namespace: Glue calls it a database; it is made when the first table is.
            lake: `s3://BUCKET[/PREFIX]` or `file:DIR`: where keys are relative to.
        """
        self._catalog, self._namespace = catalog, namespace
        self._root = _url(lake)

    def location(self, key: str) -> str:
        """The address of an object in the lake."""
        return f"{self._root}/{key}"

    def key(self, location: str) -> str | None:
        """The inverse; None for an address outside of the lake. `file:/x` and `file:///x` are the same."""
        plain = re.sub(r"^file:/+", "file:///", location)
        return plain.removeprefix(f"{self._root}/") if plain.startswith(f"{self._root}/") else None

    def io(self) -> FileIO:
        """Reads and writes files, before there is a table that would."""
        return load_file_io(self._catalog.properties, self._root)

    def load(self, table: TableId) -> Table | None:
        """The table as it is now; None if there is none.

        Raises:
            TableTaken: it belongs to something else.
            CatalogFailed: the catalog did not answer.
        """
        with answering(f"load {table.name}"):
            try:
                found = self._catalog.load_table((self._namespace, table.name))
            except NoSuchTableError:
                return None
        owner, wanted = found.properties.get(OWNER), "/".join(table)
        if owner != wanted:
            raise TableTaken(f"Iceberg table {self._namespace}.{table.name} is of {owner}, not of {wanted}")
        return found

    def create(self, table: TableId, files: pa.Schema) -> Table:
        """A new, empty table for files of this schema; the one that somebody else made meanwhile.

        Raises:
            SchemaConflict: the schema has a type that Iceberg does not have.
        """
        schema = table_schema(files)
        with answering(f"create {table.name}"):
            try:
                self._create(table, schema)
            except NoSuchNamespaceError:
                with suppress(NamespaceAlreadyExistsError):
                    self._catalog.create_namespace(self._namespace)
                self._create(table, schema)
        found = self.load(table)
        if found is None:
            raise CatalogFailed(f"Iceberg table {self._namespace}.{table.name} was made and is not there")
        return found

    def _create(self, table: TableId, schema: Schema) -> None:
        with suppress(TableAlreadyExistsError):
            self._catalog.create_table(
                (self._namespace, table.name),
                schema,
                location=self.location(table.folder),
                partition_spec=partitioning(schema),
                properties={**PROPERTIES, OWNER: "/".join(table), _NAMES: name_mapping(schema).model_dump_json()},
            )

    def owned(self) -> Iterator[TableId]:
        """Every table of the namespace that this application made."""
        with answering("list tables"):
            try:
                names = self._catalog.list_tables(self._namespace)
            except NoSuchNamespaceError:
                return
        for name in names:
            with answering(f"load {name[-1]}"):
                owner = self._catalog.load_table(name).properties.get(OWNER, "")
            if len(parts := owner.split("/")) == len(TableId._fields):
                yield TableId(*parts)


def marks(table: Table) -> dict[Source, high_water.Mark]:
    """How far each source is in the table, by its current snapshot or the latest before it that says so.

    Raises:
        MarksLost: the table has snapshots, and none says it.
    """
    if table.current_snapshot() is None:
        return {}
    *_, last = since_marks(table)
    if (text := _entry(last)) is not None:
        return high_water.decode(text)
    raise MarksLost(
        f"no snapshot of {'.'.join(table.name())} says which files it holds: those that did were expired after others "
        "wrote to the table. Drop the table (the landing zone has every row) and it is made again"
    )


def since_marks(table: Table) -> Iterator[Snapshot]:
    """The current snapshot and those before it, back to the latest that has marks.

    Other writers' snapshots (a deletion by Athena, a compaction by Spark) say nothing about it and change nothing.
    """
    snapshot = table.current_snapshot()
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent_snapshot_id
        if _entry(snapshot) is not None or parent is None:
            return
        snapshot = table.metadata.snapshot_by_id(parent)


def commit(
    table: Table,
    marks_after: high_water.Marks,
    prepare: Callable[[Transaction], None],
    change: Callable[[Transaction, UpdateSnapshot], None],
) -> Table:
    """One snapshot, or nothing: what `prepare` does to the columns, what `change` does to the files, and the marks.

    It is never repeated on top of somebody else's commit, which may have added the same files: pyiceberg would. Nor is
    anything deleted after a conflict: the client repeats a request whose answer got lost, and then hears of its own
    success as one. pyiceberg would delete the manifests, which the current snapshot needs. Expiry does that.

    Raises:
        CatalogFailed: somebody else committed first, or the outcome is unknown. Load the table again and look.
    """
    mine = table.metadata.model_copy(update={"properties": {**table.metadata.properties, **_NO_RETRIES}})
    here = Table(table._identifier, mine, table.metadata_location, _Keeping(table.io), table.catalog)  # noqa: SLF001
    with answering(f"commit to {'.'.join(table.name())}"):
        transaction = here.transaction()
        prepare(transaction)
        change(transaction, transaction.update_snapshot(snapshot_properties={PROPERTY: high_water.encode(marks_after)}))
        committed = transaction.commit_transaction()
    return Table(table._identifier, committed.metadata, committed.metadata_location, table.io, table.catalog)  # noqa: SLF001


class _Keeping(FileIO):
    """Files that can be read and written, and stay."""

    def __init__(self, inner: FileIO) -> None:
        super().__init__(inner.properties)
        self._inner = inner

    def new_input(self, location: str) -> InputFile:
        return self._inner.new_input(location)

    def new_output(self, location: str) -> OutputFile:
        return self._inner.new_output(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        del location


def sql_catalog(file: Path) -> Catalog:
    """The catalog of a laptop: an SQLite file, made if needed."""
    return load_catalog("headrace", type="sql", uri=f"sqlite:///{file.absolute()}", **{"py-io-impl": _ARROW_IO})


def glue_catalog() -> Catalog:
    """AWS's catalog. Credentials, region and, for local servers, endpoints come from AWS's standard environment."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    everywhere = os.environ.get("AWS_ENDPOINT_URL")
    places = {
        "glue.region": region,
        "s3.region": region,
        "glue.endpoint": os.environ.get("AWS_ENDPOINT_URL_GLUE") or everywhere,
        "s3.endpoint": os.environ.get("AWS_ENDPOINT_URL_S3") or everywhere,
    }
    known = {name: place for name, place in places.items() if place}
    return load_catalog("headrace", type="glue", **{"py-io-impl": _ARROW_IO}, **known)


_ARROW_IO = "pyiceberg.io.pyarrow.PyArrowFileIO"


def _entry(snapshot: Snapshot) -> str | None:
    return None if snapshot.summary is None else snapshot.summary.additional_properties.get(PROPERTY)


def _url(lake: str) -> str:
    scheme, _, rest = lake.partition(":")
    return f"s3:{rest.rstrip('/')}" if scheme == "s3" else Path(rest).absolute().as_uri()


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Whatever the catalog and its storage raise is one error of ours."""
    try:
        yield
    except HeadraceError:
        raise
    except CommitFailedException as error:
        raise CatalogFailed(f"cannot {what}: somebody else changed the table: {error}") from error
    except Exception as error:  # SQLAlchemy's, botocore's, pyarrow's, pyiceberg's
        raise CatalogFailed(f"cannot {what}: {type(error).__name__}: {error}") from error
