"""What the catalog should say about a table of the lake, and what has to change in it for that. Pure.

    footers of files ─► columns ─┐
    folders ─► partitions ───────┴─► what should be ─┐
                     the catalog ─► what is ─────────┴─► changes

Columns, storage and the `headrace.*` parameters of a table are ours and are corrected; columns, parameters, comments
and descriptions that we say nothing about stay as they are. No column is ever taken away: older files have it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from arro3.core import Field, Schema

from headrace import hive
from headrace.catalog import COLUMNS, DATE, HOUR, LAKE_TABLE, PARAMETER_PREFIX, Column, Partition, Table, Values, folder
from headrace.errors import CatalogConflict, SchemaError
from headrace.lake import COMPLETENESS, MERGE

DOC = b"doc"
"""Metadata key of a file's column: what its schema says about it."""
MAX_COMMENT_CHARS, MAX_DESCRIPTION_CHARS = 255, 2048
"""Glue's limits."""

_COLUMN = re.compile(r"[^,<>:`\x00-\x1f]{1,255}")


class Listed(NamedTuple):
    """What is in a table's folder in the lake, as far as it was looked at."""

    dates: Collection[str]
    """Every date that has files."""
    hours: Mapping[str, Collection[str]]
    """The hours of the dates that were looked into; none for a table by the day."""
    by_hour: bool = True


class Columns(NamedTuple):
    """The columns of some files."""

    columns: tuple[Column, ...]
    left_out: Mapping[str, str]
    """Columns that a Hive table cannot have, and why."""


def columns_of(schemas: Sequence[Schema]) -> Columns:
    """The columns of files together, each of the widest type; of types that do not go together the last one's."""
    found: dict[str, Column] = {}
    left_out: dict[str, str] = {}
    for schema in schemas:
        seen: set[str] = set()
        for field in map(schema.field, schema.names):
            try:
                column = _column(field, seen)
            except SchemaError as error:
                left_out[field.name] = str(error)
            else:
                found[column.name] = _merged_column(found.get(column.name), column)
    return Columns(tuple(found.values()), left_out)


def desired_table(name: str, lake_table: str, location: str, schemas: Sequence[Schema], *, by_hour: bool) -> Table:
    """The table as the files say that it should be; the last schema is the newest."""
    columns = columns_of(schemas).columns
    names = {column.name for column in columns}
    keys = tuple(f"_{key}" if key in names else key for key in ((DATE, HOUR) if by_hour else (DATE,)))
    said = {key.decode(): value.decode() for key, value in schemas[-1].metadata.items()} if schemas else {}
    parameters = {"classification": "parquet", "EXTERNAL": "TRUE", LAKE_TABLE: lake_table}
    told = {key: said[key] for key in (COMPLETENESS, MERGE) if key in said}
    return Table(name, location, columns, keys, parameters | told, _description(lake_table, said))


def merged_table(desired: Table, known: Table | None) -> Table:
    """What the table should become, given what it is.

    Raises:
        CatalogConflict: the catalog's table is not the lake's, or has other partition columns, which cannot be changed.
    """
    if known is None:
        return desired
    lake_table = desired.parameters[LAKE_TABLE]
    if known.parameters.get(LAKE_TABLE) != lake_table and known.location.rstrip("/") != desired.location.rstrip("/"):
        raise CatalogConflict(
            f"table {known.name!r} is somebody else's: it is at {known.location!r}, {lake_table} is not"
        )
    if len(known.keys) != len(desired.keys):
        raise CatalogConflict(
            f"table {known.name!r} is partitioned by {known.keys}, the lake's {lake_table} by {desired.keys}: drop the "
            "table in the catalog (no file is touched); it is made again"
        )
    theirs = {key: value for key, value in known.parameters.items() if not key.startswith(PARAMETER_PREFIX)}
    return msgspec.structs.replace(
        known,
        location=desired.location,
        columns=_merged_columns(known, desired),
        parameters={**theirs, **desired.parameters},
        description=desired.description or known.description,
        storage=desired.storage,
    )


def table_changes(merged: Table, known: Table) -> tuple[str, ...]:
    """What of a table will change, in words."""
    types = {column.name: column.type for column in known.columns}
    words = [f"new column {c.name} {c.type}" for c in merged.columns if c.name not in types]
    words += [
        f"column {c.name} from {types[c.name]} to {c.type}"
        for c in merged.columns
        if types.get(c.name, c.type) != c.type
    ]
    if not words and merged.columns != known.columns:
        words.append("comments")
    for part in ("location", "parameters", "description", "storage"):
        if getattr(merged, part) != getattr(known, part):
            words.append(part)
    return tuple(words)


def partition_changes(
    table: Table, listed: Listed, known: Mapping[Values, Partition], limit: int
) -> tuple[tuple[Partition, ...], tuple[Partition, ...], tuple[Partition, ...]]:
    """The partitions to add, newest first, to replace and to remove; together at most as many as the limit says.

    Partitions with a place of their own are somebody else's. They are neither replaced nor removed.
    """
    wanted = {values: _partition(table, values) for values in wanted_values(listed)}
    add = [wanted[values] for values in sorted(wanted.keys() - known.keys(), reverse=True)]
    replace, remove = [], []
    for values, partition in sorted(known.items(), reverse=True):
        if partition.location.rstrip("/") != partition_location(table.location, values).rstrip("/"):
            if values in wanted:
                replace.append(wanted[values])
        elif _is_gone(listed, values):
            remove.append(partition)
        elif partition.parameters.get(COLUMNS) != table.digest:
            replace.append(_partition(table, values, partition.parameters))
    add = add[:limit]
    replace = replace[: limit - len(add)]
    return tuple(add), tuple(replace), tuple(remove[: limit - len(add) - len(replace)])


def partition_location(table_location: str, values: Values) -> str:
    """Where a partition's files are."""
    return f"{table_location.rstrip('/')}/{folder(values)}"


def wanted_values(listed: Listed) -> list[Values]:
    """The partitions that were found."""
    if not listed.by_hour:
        return [(date,) for date in listed.dates]
    return [(date, hour) for date, hours in listed.hours.items() for hour in hours]


def _is_gone(listed: Listed, values: Values) -> bool:
    date, *hour = values
    if date not in listed.dates:
        return True
    return bool(hour) and date in listed.hours and hour[0] not in listed.hours[date]


def _partition(table: Table, values: Values, parameters: Mapping[str, str] | None = None) -> Partition:
    return Partition(values, partition_location(table.location, values), {**(parameters or {}), COLUMNS: table.digest})


def _column(field: Field, seen: set[str]) -> Column:
    """The column of a file's field.

    Raises:
        SchemaError: a table cannot have it.
    """
    name = field.name.lower()
    if not _COLUMN.fullmatch(name):
        raise SchemaError("the catalog has no column of such a name")
    if name in seen:
        raise SchemaError("there is another column of this name: large and small letters are alike")
    seen.add(name)
    doc = (field.metadata or {}).get(DOC, b"").decode(errors="replace")
    return Column(name, str(hive.of_arrow(field.type)), _cut(doc, MAX_COMMENT_CHARS))


def _merged_columns(known: Table, desired: Table) -> tuple[Column, ...]:
    ours = {column.name: column for column in desired.columns}
    columns = []
    for column in known.columns:
        mine = ours.pop(column.name.lower(), None)
        columns.append(column if mine is None else _merged_column(column, mine))
    return (*columns, *(column for column in ours.values() if column.name not in known.keys))


def _merged_column(known: Column | None, ours: Column) -> Column:
    if known is None:
        return ours
    return Column(known.name, _wider(known.type, ours.type), ours.comment or known.comment)


def _wider(known: str, ours: str) -> str:
    try:
        wider = hive.widest(hive.parse(known), hive.parse(ours))
    except SchemaError:
        return ours
    return ours if wider is None else str(wider)


def _description(lake_table: str, said: Mapping[str, str]) -> str:
    text = f"{lake_table} of the lake, kept up to date by Headrace. "
    if said.get(COMPLETENESS) == "partial":
        text += f"Rows are partial, one per partition of the topic{_how_to_merge(said.get(MERGE))}. "
    elif said.get(COMPLETENESS) == "complete":
        text += "Rows are complete. "
    return _cut(f'{text}Files of every generation are here: "$path" tells them apart.', MAX_DESCRIPTION_CHARS)


def _how_to_merge(rule: str | None) -> str:
    try:
        grouped = msgspec.json.decode(rule or "{}", type=dict[str, Any])
        columns = ", ".join(grouped["group_by"])
        merged = ", ".join(f"{name} = {expression}" for name, expression in grouped["columns"].items())
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError):
        return ""
    return f": group by {columns}, {merged}" if merged else f": group by {columns}"


def _cut(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
