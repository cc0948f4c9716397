"""The query that merges a partial table, for whoever has an SQL engine: DuckDB, Athena (Trino) or Spark.

Windows of one time and key are a group. Sessions are not: partitions that saw different events of a user have different
bounds for what is one session, so those that overlap or touch are found first ("gaps and islands").
"""

import re
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from headrace.lake import LAKE
from headrace_cli.lake_windows import Merging, WindowedTable

Engine = Literal["duckdb", "athena", "spark"]

_IDENTIFIER = re.compile(r'"(\w+)"')
_BEGINS, _SESSION = '"__begins"', '"__session"'


class Source(NamedTuple):
    """Where an engine finds the rows of one generation."""

    relation: str
    """What stands after `from`."""
    conditions: tuple[str, ...]
    """What stands after `where`."""


def duckdb_source(lake: str, table: WindowedTable, hour: str | None) -> Source:
    """The files themselves: a name begins with its generation.

    Args:
        lake: the folder or `s3://BUCKET[/PREFIX]`.
        table: whose rows.
        hour: only the files of this hour; None: all.
    """
    date, _, hour_of_day = (hour or "").partition("T")
    folders = f"date={date}/hour={hour_of_day}" if hour else "**"
    files = f"{lake.rstrip('/')}/{LAKE}/{table.name}/{folders}/{table.generation}-*.parquet"
    # A column of the table's own by that name would be replaced by the folder's.
    folders_are_columns = not {"date", "hour"} & set(table.schema.names)
    text = files.replace("'", "''")
    return Source(f"read_parquet('{text}', hive_partitioning = {str(folders_are_columns).lower()})", ())


def catalog_source(engine: Engine, relation: str, table: WindowedTable, hour: str | None) -> Source:
    """A table of the Glue catalog, partitioned by `date` and `hour`; its files' names begin with their generation.

    Where the table has columns of these names, the partitions' begin with an underscore.

    Args:
        engine: Athena or Spark.
        relation: the table's name in the catalog.
        table: whose rows.
        hour: only rows of this hour's folder; None: all.
    """
    path = "input_file_name()" if engine == "spark" else '"$path"'
    pattern = f"'%/hour=__/{table.generation.replace('_', '!_')}-%'"
    conditions = [f"{path} like {pattern}" + (" escape '!'" if "_" in table.generation else "")]
    if hour is not None:
        date, _, hour_of_day = hour.partition("T")
        keys = (f'"_{key}"' if key in table.schema.names else f'"{key}"' for key in ("date", "hour"))
        conditions += [f"{key} = '{value}'" for key, value in zip(keys, (date, hour_of_day), strict=True)]
    return Source(relation, tuple(conditions))


def catalog_name(table: str) -> str:
    """`pipeline/table` as a catalog names it: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9_]", "_", table.lower())


def merging_query(engine: Engine, table: WindowedTable, source: Source, hour: str | None) -> str:
    """The query, ready to paste.

    Args:
        engine: whose dialect.
        table: what merges; one whose rows are complete is selected as it is.
        source: where its rows are; of sessions those of all hours, as one may go over several.
        hour: only sessions that start in this hour.
    """
    if table.merging is None:
        lines = _complete(table, source)
    elif table.bounds == "session":
        lines = _sessions(engine, table, table.merging, source, hour)
    else:
        lines = _windows(table, table.merging, source)
    return "\n".join(_in_dialect(engine, line) for line in lines) + ";"


def _complete(table: WindowedTable, source: Source) -> list[str]:
    return ["select *", *_from(source), f"order by {_quoted(table.bound_columns[0])}"]


def _windows(table: WindowedTable, merging: Merging, source: Source) -> list[str]:
    keys = [*table.bound_columns, *table.key_columns]
    names = ", ".join(map(_quoted, keys))
    return [
        *_select([names], merging),
        *_from(source),
        f"group by {names}",
        f"order by {names}",
    ]


def _sessions(engine: Engine, table: WindowedTable, merging: Merging, source: Source, hour: str | None) -> list[str]:
    start, end = map(_quoted, table.bound_columns)
    keys = [_quoted(name) for name in table.key_columns]
    # A total order: both windows must number the rows of one start alike.
    of_key = f'{_partitioned(keys)}order by {start}, "_topic", "_partition" rows between unbounded preceding and'
    query = [
        "with parts as (",
        f"  select *, case when {start} <= max({end}) over ({of_key} 1 preceding) then 0 else 1 end as {_BEGINS}",
        *(f"  {line}" for line in _from(source)),
        "), sessions as (",
        f"  select *, sum({_BEGINS}) over ({of_key} current row) as {_SESSION}",
        "  from parts",
        ")",
        *_select([f"min({start}) as {start}", f"max({end}) as {end}", *keys], merging),
        "from sessions",
        f"group by {', '.join([*keys, _SESSION])}",
    ]
    if hour is not None:
        query.append(f"having min(sessions.{start}) >= {_time(engine, hour, 0)}")
        query.append(f"  and min(sessions.{start}) < {_time(engine, hour, 1)}")
    return [*query, f"order by {', '.join([start, *keys])}"]


def _select(first: list[str], merging: Merging) -> list[str]:
    columns = [*first, *(f"{merged} as {_quoted(name)}" for name, merged in merging.columns.items())]
    lines = [f"  {column}," for column in columns]
    lines[-1] = lines[-1].removesuffix(",")
    left_out = [
        f"  -- {name} ({kind}): no SQL expression merges it; `headrace lake merge` does"
        for name, kind in merging.sketches.items()
    ]
    return ["select", *lines, *left_out]


def _from(source: Source) -> list[str]:
    return [f"from {source.relation}", *([f"where {' and '.join(source.conditions)}"] if source.conditions else [])]


def _partitioned(keys: list[str]) -> str:
    return f"partition by {', '.join(keys)} " if keys else ""


def _time(engine: Engine, hour: str, later_by_hours: int) -> str:
    moment = datetime.fromisoformat(f"{hour}:00:00") + timedelta(hours=later_by_hours)
    zone = {"duckdb": "+00", "athena": "", "spark": "Z"}[engine]
    return f"{'timestamptz' if engine == 'duckdb' else 'timestamp'} '{moment.isoformat(' ')}{zone}'"


def _in_dialect(engine: Engine, line: str) -> str:
    # In Spark, unless it is configured, what stands in double quotes is text.
    return _IDENTIFIER.sub(r"`\1`", line) if engine == "spark" else line


def _quoted(name: str) -> str:
    return f'"{name}"'
