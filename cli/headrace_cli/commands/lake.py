"""`headrace lake`: list tables, show rows, copy a table, in a folder or S3; see also `lake_merge`, `lake_catalog`."""

import csv
import itertools
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import click
from arro3.core import RecordBatch, RecordBatchReader
from arro3.io import write_parquet

from headrace_cli import lake_reader
from headrace_cli.commands.examples import examples
from headrace_cli.commands.lake_catalog import catalog
from headrace_cli.commands.lake_iceberg import iceberg
from headrace_cli.commands.lake_merge import merge
from headrace_cli.commands.progress import tracked
from headrace_cli.commands.rendering import cell, columns_text, json_line, print_table
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.lake_reader import TableSchema
from headrace_cli.stores import open_objects


@click.group(
    epilog=examples(
        """
        headrace lake tables ./out/lake
        headrace lake show ./out/lake clickstream/sessions --limit 5
        headrace lake merge ./out/lake clickstream/page_minutes --limit 5
        headrace lake copy s3://my-lake landing/clicks --out clicks.parquet
        headrace lake iceberg commit ./out/lake
        """
    )
)
def lake() -> None:
    """Look into the lake: tables, rows, rows merged over partitions, copies, its tables in the Glue catalog.

    LAKE is a folder, file:DIR or s3://BUCKET[/PREFIX]: the value of the functions' HEADRACE_LAKE.
    """


lake.add_command(merge)
lake.add_command(catalog)
lake.add_command(iceberg)


@lake.command(
    "tables",
    epilog=examples(
        """
        headrace lake tables ./out/lake
        headrace lake tables s3://my-lake --json
        """
    ),
)
@click.argument("location", metavar="LAKE")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per table, one per line.")
def list_tables(*, location: str, as_json: bool) -> None:
    """List the tables of LAKE.

    With their files, rows, bytes, and the first and last hour (UTC) of event time; and whether their rows are
    complete, or partial: then `headrace lake merge` shows them merged over partitions.
    """
    objects = open_objects(location)
    found = lake_reader.tables(objects)
    done = itertools.count()
    reading = tracked(found.items(), "Counting rows", lambda: next(done) / len(found), look_every=1)
    listed = [lake_reader.contents(objects, table, files) for table, files in reading]
    if as_json:
        for each in listed:
            click.echo(json.dumps(each._asdict()))
    elif listed:
        click.echo(columns_text([each._asdict() for each in listed]))
    else:
        click.echo(f"{location} has no tables yet", err=True)


@lake.command(
    epilog=examples(
        """
        headrace lake show ./out/lake clickstream/sessions
        headrace lake show ./out/lake landing/clicks --where-hour 2024-03-13T10 --json
        """
    )
)
@click.argument("location", metavar="LAKE")
@click.argument("table")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--where-hour", metavar="YYYY-MM-DDThh", help="Only rows of this hour of event time (UTC).")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per row, one per line.")
def show(*, location: str, table: str, limit: int, where_hour: str | None, as_json: bool) -> None:
    """Show rows of TABLE, oldest hour first.

    It says on stderr whether they are complete or partial.
    """
    objects = open_objects(location)
    every = lake_reader.table_files(objects, table)
    files = lake_reader.of_hour(every, where_hour)
    said: set[str] = set()
    names = lake_reader.new_names(objects, every[-1])
    read = lake_reader.rows(objects, files, lambda schema: said.add(lake_reader.completeness(schema)), names)
    rows = list(itertools.islice(read, limit))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if as_json:
        for row in rows:
            click.echo(json_line({name: row.get(name) for name in columns}))
    else:
        print_table(columns, ([cell(row.get(name)) for name in columns] for row in rows))
    click.echo(_of_completeness(table, said), err=True)


def _of_completeness(table: str, said: Collection[str]) -> str:
    if said == {"partial"}:
        return f"{table}: partial rows, one per partition; `headrace lake merge` shows them merged"
    if said == {"complete"}:
        return f"{table}: complete rows"
    return f"{table}: {' and '.join(sorted(said))} rows (complete or partial, as each file says)"


@lake.command(
    epilog=examples(
        """
        headrace lake copy ./out/lake landing/clicks --out clicks.parquet
        headrace lake copy s3://my-lake clickstream/sessions --out sessions.csv
        """
    )
)
@click.argument("location", metavar="LAKE")
@click.argument("table")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="What to write.")
@click.option("--where-hour", metavar="YYYY-MM-DDThh", help="Only rows of this hour of event time (UTC).")
def copy(*, location: str, table: str, out: Path, where_hour: str | None) -> None:
    """Copy TABLE into one file.

    It is Parquet, CSV or NDJSON as the name of --out ends: .parquet, .csv or .ndjson. Files of
    different age may have different columns: the copy has all of them, null where a file had none.
    """
    write = _WRITERS.get(out.suffix)
    if write is None:
        raise OptionError(f"--out {out}: the name must end with {', '.join(_WRITERS)}")
    objects = open_objects(location)
    files = lake_reader.of_hour(lake_reader.table_files(objects, table), where_hour)
    schema = TableSchema(objects, files)
    copied = _Copied(lake_reader.batches(objects, files, schema), table)
    # Under another name until it is complete: half a copy must not look like one.
    part = out.with_name(out.name + ".part")
    try:
        write(copied, schema, part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{out}: {copied.rows:,} rows of {table}", err=True)


class _Copied:
    """Batches on their way into a file, counted."""

    def __init__(self, batches: Iterator[RecordBatch], table: str) -> None:
        self.rows = 0
        self.failure: BaseException | None = None
        self._batches = tracked(batches, f"Copying {table}", lambda: None, look_every=1)

    def __iter__(self) -> Iterator[RecordBatch]:
        try:
            for batch in self._batches:
                self.rows += batch.num_rows
                yield batch
        except (Exception, KeyboardInterrupt) as error:
            self.failure = error  # arro3 raises an error of its own, without this cause
            raise

    def dicts(self) -> Iterator[dict[str, Any]]:
        for batch in self:
            yield from batch.to_struct_array().to_pylist()


def _write_parquet(copied: _Copied, schema: TableSchema, path: Path) -> None:
    try:
        write_parquet(RecordBatchReader.from_batches(schema.schema, copied), path, compression="zstd(3)")
    except Exception as error:  # noqa: BLE001 - arro3 raises nothing narrower
        raise copied.failure or CommandError(f"{path}: {error}") from None


def _write_csv(copied: _Copied, schema: TableSchema, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(schema.schema.names)
        writer.writerows([cell(value) for value in row.values()] for row in copied.dicts())


def _write_ndjson(copied: _Copied, schema: TableSchema, path: Path) -> None:
    del schema
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_line(row) + "\n" for row in copied.dicts())


_WRITERS: dict[str, Callable[[_Copied, TableSchema, Path], None]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".ndjson": _write_ndjson,
}
