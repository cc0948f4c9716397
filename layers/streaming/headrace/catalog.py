"""What a catalog of the lake's tables is: tables, their partitions, their names; and the port to change it by."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

DATE, HOUR = "date", "hour"
"""The lake's folders, and the names of the partition columns unless a table has columns of these names."""
PARAMETER_PREFIX = "headrace."
LAKE_TABLE = "headrace.table"
"""Table parameter: the table's name in the lake, `pipeline/table`. Who has it is ours."""
COLUMNS = "headrace.columns"
"""Partition parameter: a digest of the columns that it was registered with."""
STORAGE = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
}
MAX_NAME_CHARS = 128
"""Athena's limit for the name of a table, in letters of one byte each."""
_UNSAFE = re.compile(r"[^a-z0-9_]")

Values = tuple[str, ...]
"""A partition's values of the partition columns."""


class Column(msgspec.Struct, frozen=True):
    """A column of a table."""

    name: str
    type: str
    """As `hive.HiveType` prints it."""
    comment: str = ""


class Table(msgspec.Struct, frozen=True):
    """A table of the catalog."""

    name: str
    location: str
    """Of all its files, `s3://…/`."""
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    """Names of the partition columns, all of them strings."""
    parameters: Mapping[str, str]
    description: str = ""
    storage: Mapping[str, str] = msgspec.field(default_factory=lambda: STORAGE)
    rest: Mapping[str, Any] = msgspec.field(default_factory=dict)
    """What the catalog holds besides, to be written back as it is; with the version that it was read in."""

    @property
    def digest(self) -> str:
        """Of the columns' names and types: what a partition was registered with."""
        text = ",".join(f"{column.name} {column.type}" for column in self.columns)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Partition(msgspec.Struct, frozen=True):
    """A partition of a table: an hour of event time, or a day."""

    values: Values
    location: str
    parameters: Mapping[str, str]


class Changes(msgspec.Struct, frozen=True):
    """What has to be done to one table, in this order."""

    table: Table
    """As it will be."""
    create: bool = False
    update: tuple[str, ...] = ()
    """What of the table's own will change, in words; empty if nothing."""
    add: tuple[Partition, ...] = ()
    replace: tuple[Partition, ...] = ()
    """Registered with other columns, or for another place."""
    remove: tuple[Partition, ...] = ()
    """Their files are gone."""

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.add or self.replace or self.remove)

    @property
    def partitions(self) -> int:
        """How many of them change."""
        return len(self.add) + len(self.replace) + len(self.remove)


class Catalog(Protocol):
    """A database of the catalog. Raises `InfrastructureError` on anything passing."""

    def tables(self) -> Mapping[str, Table]:
        """Its tables by name."""
        ...

    def partitions(self, table: str) -> Mapping[Values, Partition]:
        """The partitions of one of its tables."""
        ...

    def apply(self, changes: Changes) -> None:
        """Make the changes. What others have made, or removed, meanwhile is no error.

        Raises:
            CatalogConflict: somebody made a table of that name that is another one, or the catalog refuses the table.
        """
        ...


def table_names(lake_tables: Iterable[str], known: Mapping[str, Table]) -> dict[str, str]:
    """The catalog's name of each table of the lake: small letters, digits and underscores.

    Of two tables whose names become the same, the one that has it in the catalog keeps it, else the first one by its
    name in the lake; the other's name gets a digest.
    """
    owners = {table.parameters.get(LAKE_TABLE): name for name, table in known.items()}
    taken = {name for owner, name in owners.items() if owner is not None}
    names: dict[str, str] = {}
    for lake_table in sorted(lake_tables):
        name = owners.get(lake_table) or plain_name(lake_table)
        if lake_table not in owners and (name in taken or len(name) > MAX_NAME_CHARS):
            digest = hashlib.sha256(lake_table.encode()).hexdigest()[:8]
            name = f"{name[: MAX_NAME_CHARS - 9]}_{digest}"
        taken.add(name)
        names[lake_table] = name
    return names


def plain_name(lake_table: str) -> str:
    """`pipeline/table` as a catalog names it, if no other table has that name."""
    return _UNSAFE.sub("_", lake_table.lower())


def folder(values: Values) -> str:
    """A partition's folder, within its table's."""
    return "".join(f"{key}={value}/" for key, value in zip((DATE, HOUR), values, strict=False))


class MemoryCatalog:
    """A catalog in this process."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}
        self._partitions: dict[str, dict[Values, Partition]] = {}

    def tables(self) -> Mapping[str, Table]:
        """See `Catalog.tables`."""
        return dict(self._tables)

    def partitions(self, table: str) -> Mapping[Values, Partition]:
        """See `Catalog.partitions`."""
        return dict(self._partitions.get(table, {}))

    def apply(self, changes: Changes) -> None:
        """See `Catalog.apply`."""
        name = changes.table.name
        if changes.create or changes.update:
            self._tables[name] = changes.table
        partitions = self._partitions.setdefault(name, {})
        partitions.update({partition.values: partition for partition in (*changes.add, *changes.replace)})
        for partition in changes.remove:
            partitions.pop(partition.values, None)

    def drop(self, table: str, values: Values | None = None) -> None:
        """Take a partition away, or the whole table, as somebody else might."""
        if values is None:
            self._tables.pop(table, None)
            self._partitions.pop(table, None)
        else:
            self._partitions.get(table, {}).pop(values, None)
