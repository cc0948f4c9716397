"""A table's columns: those of its files, all of them optional, and the bucket.

Iceberg reads old and new files as one table by the ids of its columns. Landed files carry none: the table's name
mapping gives them, which also knows former names. Every column is optional, because a file from before or after a
change may not have it. `_bucket` is the start of the hour or day that a row is filed under. It is in no file: as the
table is partitioned by it (identity), readers take it from the metadata. Partitioning by the hour of the event time
itself would be wrong for rows whose event time is null: they are filed under Kafka's, and nobody would find them.

`_partition` is a name that Iceberg keeps for itself, and Spark refuses a table with such a column: in the table it is
`_kafka_partition`, in all files `_partition`.
"""

from typing import Any

import msgspec
import pyarrow as pa
from pyiceberg.exceptions import ResolveError, ValidationError
from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids, promote
from pyiceberg.table import Transaction
from pyiceberg.table.name_mapping import NameMapping
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import PrimitiveType

from headrace.lake import ALIASES
from headrace_iceberg.errors import SchemaConflict

BUCKET = "_bucket"
RESERVED = {"_partition": "_kafka_partition"}
"""Names of columns in files to those in the table, where Iceberg has another use for the name."""


def table_schema(files: pa.Schema) -> Schema:
    """The columns of a new table for files of this schema.

    Raises:
        SchemaConflict: a column has a type that Iceberg does not have.
    """
    bucket = pa.field(BUCKET, pa.timestamp("us", tz="UTC"))
    return assign_fresh_schema_ids(_without_ids(pa.schema([*files, bucket])))


def name_mapping(schema: Schema) -> NameMapping:
    """The names under which the columns are found in files without ids."""
    in_files = {name: kept for kept, name in RESERVED.items()}
    return NameMapping(
        [
            field.model_copy(update={"names": [*field.names, *(in_files[n] for n in field.names if n in in_files)]})
            for field in schema.name_mapping.root
        ]
    )


def partitioning(schema: Schema) -> PartitionSpec:
    """One partition per bucket."""
    return PartitionSpec(PartitionField(schema.find_field(BUCKET).field_id, 1000, IdentityTransform(), BUCKET))


def adopt(transaction: Transaction, files: pa.Schema) -> None:
    """Make the table able to read files of this schema too: new columns, wider types, new names of old columns.

    Raises:
        SchemaConflict: it cannot be; what the columns are called may have changed by then.
    """
    wanted = _without_ids(files)
    try:
        # An update of its own: to add by name, the new names have to be there.
        with transaction.update_schema() as renaming:
            for old, new in _renamed(files, transaction.table_metadata.schema()):
                renaming.rename_column(old, new)
        update = transaction.update_schema()
        update.union_by_name(wanted)
        _check(wanted, update._apply())  # noqa: SLF001 - the schema that it would become
        update.commit()
    except (ResolveError, ValidationError, ValueError, TypeError) as error:
        raise SchemaConflict(_differing(wanted, transaction.table_metadata.schema()) or str(error)) from error


def _differing(files: Schema, table: Schema) -> str:
    """The first plain column with a type that the table's cannot become, in words; empty if it is a part of one."""
    known = {field.name: field.field_type for field in table.fields}
    for field in files.fields:
        kind = known.get(field.name, field.field_type)
        if kind != field.field_type and isinstance(kind, PrimitiveType) and isinstance(field.field_type, PrimitiveType):
            try:
                promote(kind, field.field_type)
            except ResolveError:
                return f"column {field.name!r} is {field.field_type} in the file and {kind} in the table"
    return ""


def _renamed(files: pa.Schema, table: Schema) -> list[tuple[str, str]]:
    here = {field.name for field in table.fields}
    aliases = msgspec.json.decode((files.metadata or {}).get(ALIASES.encode(), b"{}"), type=dict[str, list[str]])
    renamed = []
    for name, former_names in aliases.items():
        former = [known for known in former_names if known in here]
        if name not in here and former:
            renamed.append((former[0], name))
    return renamed


def _check(files: Schema, table: Schema) -> None:
    """`union_by_name` lets a list, a map or a record meet something else; the next reader would not."""
    for field in files.fields:
        kind, known = field.field_type, table.find_field(field.name).field_type
        if kind.is_primitive != known.is_primitive or (not kind.is_primitive and type(kind) is not type(known)):
            raise SchemaConflict(f"column {field.name!r} is {known} in the table and {kind} in a file")


def _without_ids(files: pa.Schema) -> Schema:
    try:
        return _pyarrow_to_schema_without_ids(
            pa.schema([_optional(field, RESERVED.get(field.name)) for field in files])
        )
    except (TypeError, NotImplementedError, ValueError) as error:
        raise SchemaConflict(str(error)) from error


def _optional(field: pa.Field, name: str | None = None) -> pa.Field:
    return pa.field(name or field.name, _optional_inside(field.type), nullable=True)


def _optional_inside(kind: pa.DataType) -> Any:
    if pa.types.is_timestamp(kind) and kind.unit in {"s", "ms"}:
        raise TypeError(f"{kind} is no type of Iceberg's: Spark would take the numbers for microseconds")
    if pa.types.is_struct(kind):
        return pa.struct([_optional(kind.field(i)) for i in range(kind.num_fields)])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("element", _optional_inside(kind.value_type), nullable=True))
    if pa.types.is_map(kind):
        return pa.map_(_optional_inside(kind.key_type), _optional_inside(kind.item_type))
    return kind
