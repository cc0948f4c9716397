"""The Glue Data Catalog: one database, its tables and their partitions.

A table is written back as it was read, but for what is ours. Who was faster, or took something away meanwhile, is no
error: the next run looks again. botocore is imported by the first client.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from headrace import aws
from headrace.catalog import Changes, Column, Partition, Table, Values
from headrace.errors import CatalogConflict, ConfigurationError, HeadraceError, InfrastructureError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

CREATE_OR_UPDATE, DELETE = 100, 25
"""Partitions of one call, as Glue limits them."""
CALL_BYTES = 1_000_000
"""Columns of a call's partitions, which each have them all, take about so much at most."""
READ_TIMEOUT_S = 15
"""A page of a thousand partitions takes its time."""
PASSING = {
    "ConcurrentModificationException",
    "EntityNotFoundException",
    "FederationSourceRetryableException",
    "InternalServiceException",
    "OperationTimeoutException",
    "ResourceNotReadyException",
    "ThrottlingException",
}
"""Error codes that the next run may not meet again: what was there a moment ago is made again by it."""

_OVERTAKEN = {"AlreadyExistsException", "ConcurrentModificationException"}
_DONE = {"AlreadyExistsException", "EntityNotFoundException"}
"""Of a single partition: somebody else has made it, or taken it away, meanwhile."""
_KEPT = (
    *("Owner", "LastAccessTime", "LastAnalyzedTime", "Retention", "PartitionKeys", "ViewOriginalText"),
    *("ViewExpandedText", "TableType", "TargetTable"),
)
"""What an update of a table takes that an answer has, besides what is ours."""
_VERSION = "VersionId"


class GlueCatalog:
    """A database of the catalog.

    Besides the port's errors every method raises `ConfigurationError` for what no retry can heal: no such database,
    region or credentials, a denied access.
    """

    def __init__(self, database: str, client: Any = None) -> None:
        """Open it; whether it exists is found out by its first use.

        Args:
            database: its name.
            client: a botocore client for `glue`; None: by AWS's standard environment.
        """
        self._database = database
        with self._errors("open"):
            self._client = client or aws.client("glue", aws.client_config(read_timeout_s=READ_TIMEOUT_S))

    def create_database(self, description: str) -> bool:
        """Make the database unless it exists; whether it had to be made."""
        try:
            with self._errors("create"):
                self._client.create_database(DatabaseInput={"Name": self._database, "Description": description})
        except _Overtaken:
            return False
        return True

    def tables(self) -> Mapping[str, Table]:
        """See `Catalog.tables`.

        Raises:
            ConfigurationError: there is no such database.
        """
        try:
            return {raw["Name"]: _table(raw) for raw in self._pages("get_tables", "TableList")}
        except _Gone as error:
            raise ConfigurationError(f"there is no database {self._database!r} in the Glue catalog: {error}") from error

    def partitions(self, table: str) -> Mapping[Values, Partition]:
        """See `Catalog.partitions`."""
        raws = self._pages("get_partitions", "Partitions", TableName=table, ExcludeColumnSchema=True)
        found = (
            Partition(
                tuple(raw["Values"]), raw.get("StorageDescriptor", {}).get("Location", ""), raw.get("Parameters", {})
            )
            for raw in raws
        )
        return {partition.values: partition for partition in found}

    def apply(self, changes: Changes) -> None:
        """See `Catalog.apply`."""
        try:
            self._apply_table(changes)
        except _Overtaken:
            return  # the table may not be what its partitions would be registered for
        except ConfigurationError as error:
            raise CatalogConflict(str(error)) from error
        table = changes.table
        for batch in _batches([_partition_input(table, each) for each in changes.add], _per_call(table)):
            self._batch("batch_create_partition", table, PartitionInputList=batch)
        entries = [
            {"PartitionValueList": list(each.values), "PartitionInput": _partition_input(table, each)}
            for each in changes.replace
        ]
        for batch in _batches(entries, _per_call(table)):
            self._batch("batch_update_partition", table, Entries=batch)
        for batch in _batches([{"Values": list(each.values)} for each in changes.remove], DELETE):
            self._batch("batch_delete_partition", table, PartitionsToDelete=batch)

    def _apply_table(self, changes: Changes) -> None:
        table = changes.table
        if changes.create:
            with self._errors(f"create table {table.name} in"):
                self._client.create_table(DatabaseName=self._database, TableInput=_table_input(table))
        elif changes.update:
            version = {_VERSION: table.rest[_VERSION]} if _VERSION in table.rest else {}
            with self._errors(f"update table {table.name} in"):
                self._client.update_table(
                    DatabaseName=self._database, TableInput=_table_input(table), SkipArchive=True, **version
                )

    def _batch(self, operation: str, table: Table, **arguments: Any) -> None:
        call = getattr(self._client, operation)
        with self._errors(f"change partitions of {table.name} in"):
            answer = call(DatabaseName=self._database, TableName=table.name, **arguments)
        for failed in answer.get("Errors", []):
            detail = failed.get("ErrorDetail", {})
            code = detail.get("ErrorCode", "unknown")
            if code not in _DONE:
                values = failed.get("PartitionValues") or failed.get("PartitionValueList")
                kind = InfrastructureError if code in PASSING else CatalogConflict
                raise kind(f"cannot change partition {values} of {table.name}: {code}: {detail.get('ErrorMessage')}")

    def _pages(self, operation: str, part: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        call = getattr(self._client, operation)
        token: dict[str, str] = {}
        while True:
            with self._errors(f"read {arguments.get('TableName', 'the tables')} of"):
                page = call(DatabaseName=self._database, **arguments, **token)
            yield from page[part]
            if not page.get("NextToken"):
                return
            token = {"NextToken": page["NextToken"]}

    def _errors(self, action: str) -> AbstractContextManager[None]:
        return aws.errors(f"cannot {action} Glue database {self._database!r}", _of_answer)


class _Overtaken(InfrastructureError):
    """Somebody else did it, or something else, a moment before."""


class _Gone(InfrastructureError):
    """What was asked for is not there."""


def _of_answer(error: "ClientError", what: str) -> HeadraceError:
    """The error that an answer of Glue means."""
    meant = aws.error_of_answer(error, what, PASSING)
    if aws.code_of(error) in _OVERTAKEN:
        return _Overtaken(str(meant))
    return _Gone(str(meant)) if aws.code_of(error) == "EntityNotFoundException" else meant


def _table(raw: Mapping[str, Any]) -> Table:
    storage = raw.get("StorageDescriptor", {})
    serde = storage.get("SerdeInfo", {})
    formats = {name: storage[name] for name in ("InputFormat", "OutputFormat") if name in storage}
    if "SerializationLibrary" in serde:
        formats["SerializationLibrary"] = serde["SerializationLibrary"]
    return Table(
        raw["Name"],
        storage.get("Location", ""),
        tuple(_column(each) for each in storage.get("Columns", [])),
        tuple(key["Name"] for key in raw.get("PartitionKeys", [])),
        raw.get("Parameters", {}),
        raw.get("Description", ""),
        formats,
        {name: raw[name] for name in (*_KEPT, _VERSION) if name in raw} | {"StorageDescriptor": storage},
    )


def _column(raw: Mapping[str, Any]) -> Column:
    return Column(raw["Name"], raw.get("Type", ""), raw.get("Comment", ""))


def _table_input(table: Table) -> dict[str, Any]:
    kept = {name: table.rest[name] for name in _KEPT if name in table.rest}
    storage = table.rest.get("StorageDescriptor", {})
    raw_columns = {raw["Name"]: raw for raw in storage.get("Columns", [])}
    return {
        "TableType": "EXTERNAL_TABLE",
        "PartitionKeys": [{"Name": key, "Type": "string"} for key in table.keys],
        **kept,
        "Name": table.name,
        "Description": table.description,
        "Parameters": dict(table.parameters),
        "StorageDescriptor": {
            **storage,
            **_storage(table.storage, storage.get("SerdeInfo", {"Parameters": {"serialization.format": "1"}})),
            "Location": table.location,
            "Columns": [{**raw_columns.get(each.name, {}), **_column_input(each)} for each in table.columns],
        },
    }


def _partition_input(table: Table, partition: Partition) -> dict[str, Any]:
    return {
        "Values": list(partition.values),
        "Parameters": dict(partition.parameters),
        "StorageDescriptor": {
            **_storage(table.storage, {}),
            "Location": partition.location,
            "Columns": [_column_input(each) for each in table.columns],
        },
    }


def _storage(formats: Mapping[str, str], serde: Mapping[str, Any]) -> dict[str, Any]:
    library = {"SerializationLibrary": formats["SerializationLibrary"]}
    return {name: formats[name] for name in ("InputFormat", "OutputFormat")} | {"SerdeInfo": {**serde, **library}}


def _column_input(column: Column) -> dict[str, str]:
    return {"Name": column.name, "Type": column.type, "Comment": column.comment}


def _per_call(table: Table) -> int:
    """How many partitions fit into a call, each with all columns."""
    size = sum(len(column.name) + len(column.type) + len(column.comment) + 40 for column in table.columns)
    return max(1, min(CREATE_OR_UPDATE, CALL_BYTES // max(size, 1)))


def _batches(items: Sequence[Any], size: int) -> Iterable[list[Any]]:
    return (list(items[start : start + size]) for start in range(0, len(items), size))
