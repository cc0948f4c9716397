"""`headrace lake iceberg`: what the Iceberg function does on its schedule, by hand: commit, compact, expire."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace_cli.commands.examples import examples
from headrace_cli.commands.options import store_options
from headrace_cli.commands.rendering import columns_text
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.stores import lake_url, open_objects, open_stores

if TYPE_CHECKING:
    from headrace_iceberg.tables import TableId, Tables

CATALOG = "iceberg.db"
"""The SQLite catalog beside a lake that is a folder."""
NAMESPACE = "headrace"
"""Of a catalog that is a file; Glue's is named by --catalog."""
HOUR_MS = 3_600_000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@click.group(
    epilog=examples(
        """
        headrace lake iceberg commit ./out
        headrace lake iceberg compact ./out --closed-hours 0
        headrace lake iceberg expire ./out --json
        headrace lake iceberg commit s3://my-lake --checkpoints dynamodb:my-table --catalog glue:headrace_dev
        """
    )
)
def iceberg() -> None:
    """Keep Iceberg tables of the landed topics: commit, compact, expire.

    A table per topic and generation, e.g. clicks_g1. On AWS a function does this on a schedule; needs the extra
    `headrace-cli[iceberg]`.
    """


def catalog_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where the tables are."""
    return click.option(
        "--catalog",
        metavar="CATALOG",
        help=f"glue:DATABASE, or an SQLite file.  [default: `{CATALOG}` in LAKE, if that is a folder]",
    )(command)


json_option = click.option("--json", "as_json", is_flag=True, help="Print a JSON object per table, one per line.")


@iceberg.command(
    epilog=examples(
        """
        headrace lake iceberg commit ./out
        headrace lake iceberg commit ./out --accept-missing --json
        """
    )
)
@click.argument("location", metavar="LAKE")
@store_options
@click.option("--pipeline", default="landing", show_default=True, help="Whose topics.")
@click.option("--accept-missing", is_flag=True, help="Begin with the files there are, though some were deleted.")
@catalog_option
@json_option
def commit(
    *,
    location: str,
    checkpoints: str | None,
    application: str,
    pipeline: str,
    accept_missing: bool,
    catalog: str | None,
    as_json: bool,
) -> None:
    """Add what is published since the last time to the tables, each in one snapshot."""
    tables = _tables(location, catalog)
    from headrace_iceberg.committer import Committer  # noqa: PLC0415 - see `_tables`

    stores = open_stores(location, checkpoints)
    committer = Committer(
        tables,
        stores.objects,
        stores.checkpoints,
        application=application,
        pipeline=pipeline,
        accept_missing=accept_missing,
    )
    run = committer.run()
    _print(run.added, run.failures, as_json=as_json)


@iceberg.command(
    epilog=examples(
        """
        headrace lake iceberg compact ./out
        headrace lake iceberg compact ./out --closed-hours 0 --target-mib 128
        """
    )
)
@click.argument("location", metavar="LAKE")
@click.option("--target-mib", type=click.IntRange(1, 1024), default=256, show_default=True, help="Size of a file.")
@click.option(
    "--closed-hours",
    type=click.IntRange(0),
    default=6,
    show_default=True,
    help="Rewrite buckets whose last hour began at least so long ago.",
)
@catalog_option
@json_option
def compact(*, location: str, target_mib: int, closed_hours: int, catalog: str | None, as_json: bool) -> None:
    """Make few large files of each bucket's many small ones.

    The landed files stay where they are: deleting them is the landing zone's own retention's business.
    """
    tables = _tables(location, catalog)
    from headrace_iceberg.compaction import MIB, Compaction, Rules  # noqa: PLC0415 - see `_tables`

    closed_ms = closed_hours * HOUR_MS
    rules = Rules(target_bytes=target_mib * MIB, closed_ms=closed_ms, settled_ms=closed_ms)
    compaction = Compaction(tables, rules, _now_ms)
    failures: dict[str, Exception] = {}
    _print([compaction.run(table, failures) for table in _owned(tables)], failures, as_json=as_json)


@iceberg.command(
    epilog=examples(
        """
        headrace lake iceberg expire ./out
        headrace lake iceberg expire ./out --keep-hours 72 --grace-hours 96
        """
    )
)
@click.argument("location", metavar="LAKE")
@click.option(
    "--keep-hours", type=click.IntRange(0), default=24, show_default=True, help="How far back a query may travel."
)
@click.option(
    "--grace-hours", type=click.IntRange(1), default=72, show_default=True, help="How old unused files must be."
)
@catalog_option
@json_option
def expire(*, location: str, keep_hours: int, grace_hours: int, catalog: str | None, as_json: bool) -> None:
    """Let old snapshots go, and delete the tables' own files that nothing refers to any more."""
    tables = _tables(location, catalog)
    from headrace_iceberg.expiry import Expiry, Retention  # noqa: PLC0415 - see `_tables`

    expiry = Expiry(tables, open_objects(location), Retention(keep_hours * HOUR_MS, grace_hours * HOUR_MS))
    _print([expiry.run(table, _now_ms()) for table in _owned(tables)], {}, as_json=as_json)


def _tables(location: str, catalog: str | None) -> "Tables":
    """The catalog's tables over the lake.

    Raises:
        CommandError: pyiceberg is not installed: it and pyarrow are imported only here, and by an extra only.
    """
    try:
        from headrace_iceberg.tables import Tables, glue_catalog, sql_catalog  # noqa: PLC0415
    except ImportError as error:
        raise CommandError(f"Iceberg needs the extra headrace-cli[iceberg] ({error})") from None
    open_objects(location)  # a folder that does not exist is an error, not a new lake
    kind, _, database = (catalog or "").partition(":")
    if kind == "glue" and database:
        return Tables(glue_catalog(), database, lake_url(location))
    return Tables(sql_catalog(_catalog_file(location, catalog)), NAMESPACE, lake_url(location))


def _catalog_file(location: str, catalog: str | None) -> Path:
    if catalog is not None:
        return Path(catalog)
    url = lake_url(location)
    if not url.startswith("file:"):
        raise OptionError(f"{location} is no folder: say --catalog glue:DATABASE or --catalog FILE")
    return Path(url.removeprefix("file:")) / CATALOG


def _owned(tables: "Tables") -> "list[TableId]":
    return sorted(tables.owned())


def _print(done: Iterable[Any], failures: dict[str, Exception], *, as_json: bool) -> None:
    rows = [each._asdict() for each in done]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif rows:
        click.echo(columns_text(rows))
    else:
        click.echo("no tables yet", err=True)
    if failures:
        raise CommandError("; ".join(f"{place}: {type(error).__name__}: {error}" for place, error in failures.items()))
