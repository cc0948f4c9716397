"""`headrace lake merge`: the rows of a partial table merged over partitions, or the query that merges them."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, get_args

import click

from headrace_cli import lake_merge, lake_query, lake_reader, lake_windows
from headrace_cli.commands.examples import examples
from headrace_cli.commands.progress import tracked
from headrace_cli.commands.rendering import cell, json_line, print_table
from headrace_cli.lake_query import Engine
from headrace_cli.lake_reader import LakeObjects
from headrace_cli.lake_windows import WindowedTable
from headrace_cli.stores import lake_url, open_objects

Rows = Iterable[dict[str, Any]]


@click.command(
    epilog=examples(
        """
        headrace lake merge ./out/lake clickstream/page_minutes
        headrace lake merge ./out/lake page_minutes --where-hour 2024-03-13T10 --limit 1000 --json
        headrace lake merge ./out/lake page_minutes --sql
        headrace lake merge s3://my-lake page_minutes --sql athena --table-name clicks.page_minutes
        """
    )
)
@click.argument("location", metavar="LAKE")
@click.argument("table")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--where-hour", metavar="YYYY-MM-DDThh", help="Only windows that start in this hour (UTC).")
@click.option("--generation", metavar="NAME", help="Whose rows; without it the newest, which is the largest number.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per row, one per line.")
@click.option(
    "--sql",
    "engine",
    type=click.Choice(get_args(Engine)),
    is_flag=False,
    flag_value="duckdb",
    help="Only print the query that merges, for this engine (alone: duckdb).",
)
@click.option("--table-name", metavar="NAME", help="TABLE in the catalog of Athena or Spark. [default: PIPELINE_TABLE]")
def merge(  # one parameter for each option
    *,
    location: str,
    table: str,
    limit: int,
    where_hour: str | None,
    generation: str | None,
    as_json: bool,
    engine: Engine | None,
    table_name: str | None,
) -> None:
    """Show the rows of TABLE merged over its partitions, oldest hour first.

    A windowed table whose topic is not keyed by the table's own key has a row for each partition that saw the key: such
    rows are partial. Merged, they are what one partition would have computed of all events. Sessions that overlap or
    touch become one. Rows of different generations never merge.
    """
    objects = open_objects(location)
    windows, generations = lake_windows.open_windows(objects, table, generation)
    of_hour = lake_windows.files_of_hour(windows, where_hour)
    if windows.bounds == "window" or windows.merging is None:
        windows = of_hour  # of sessions all files: one may have begun in an hour before
    for note in _notes(windows, generations, merging_here=engine is None):
        click.echo(note, err=True)
    if engine is not None:
        click.echo(_query(location, windows, engine, where_hour, table_name))
    else:
        _show(itertools.islice(_rows(objects, windows, where_hour), limit), as_json=as_json)


def _notes(table: WindowedTable, generations: list[str], *, merging_here: bool) -> Iterator[str]:
    """What a reader of the merged rows must know."""
    if len(generations) > 1:
        yield f"generation {table.generation} (--generation takes another one: {', '.join(generations)})"
    if table.merging is None:
        yield f"{table.name}: rows are complete already, nothing is to be merged; query them as they are"
        return
    if top := table.merging.top:
        yield (
            f"warning: of each window, a partition kept its {top.count} best keys by {top.by} only: what it did not "
            "keep is missing in the merged rows"
        )
    left_out = lake_merge.columns(table, table.merging)[1] if merging_here else []
    if left_out:
        yield f"warning: left out, as only the function's own code can merge them: {', '.join(left_out)}"


def _rows(objects: LakeObjects, table: WindowedTable, hour: str | None) -> Rows:
    if table.merging is None:
        return lake_reader.rows(objects, table.files)
    hours = lake_merge.by_hour(table.files)
    done = itertools.count()
    reading = tracked(hours, f"Merging {table.name}", lambda: next(done) / len(hours), look_every=1)
    known, _ = lake_merge.columns(table, table.merging)
    return lake_merge.merged_rows(objects, table, known, reading, only_hour=hour)


def _show(rows: Rows, *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            click.echo(json_line(row))
        return
    shown = list(rows)
    columns = list(dict.fromkeys(name for row in shown for name in row))
    print_table(columns, ([cell(row.get(name)) for name in columns] for row in shown))


def _query(location: str, table: WindowedTable, engine: Engine, hour: str | None, table_name: str | None) -> str:
    # A session may begin in the hour before: its query takes all files, and the merged sessions of the hour.
    of_files = None if table.bounds == "session" and table.merging is not None else hour
    if engine == "duckdb":
        source = lake_query.duckdb_source(lake_url(location).removeprefix("file:"), table, of_files)
    else:
        name = table_name or lake_query.catalog_name(table.name)
        source = lake_query.catalog_source(engine, name, table, of_files)
    return lake_query.merging_query(engine, table, source, hour)
