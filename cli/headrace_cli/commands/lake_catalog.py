"""`headrace lake catalog`: the lake's tables in a Glue database, compared (`plan`) or brought up to date (`apply`)."""

import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from headrace_cli.commands.examples import examples
from headrace_cli.commands.rendering import columns_text
from headrace_cli.errors import OptionError
from headrace_cli.stores import open_objects

if TYPE_CHECKING:
    from headrace.glue import GlueCatalog
    from headrace.registrar import Plan, Registrar

FAILURE = 1
EVERYTHING = 2**31
"""A command takes the time that a scheduled run has not got."""
DATABASE = click.option("--database", required=True, metavar="NAME", help="Database of the Glue catalog.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON object per table, one per line.")


@click.group(
    "catalog",
    epilog=examples(
        """
        headrace lake catalog plan s3://my-lake --database headrace_dev
        headrace lake catalog apply s3://my-lake --database headrace_dev
        """
    ),
)
def catalog() -> None:
    """Tables and hours of a lake on S3 in the Glue catalog, which Athena and Spark go by.

    In a deployment its catalog function does this every few minutes; here it is looked at, or done at once.
    """


@catalog.command(
    epilog=examples(
        """
        headrace lake catalog plan s3://my-lake --database headrace_dev
        headrace lake catalog plan s3://my-lake --database headrace_dev --json
        """
    )
)
@click.argument("location", metavar="LAKE")
@DATABASE
@JSON
def plan(*, location: str, database: str, as_json: bool) -> int:
    """Show what the catalog lacks, and change nothing.

    Exit status 0: it is up to date; 1: something has to change, or a table cannot be told.
    """
    registrar, _ = _open(location, database)
    plans = list(registrar.plans(_now_ms()))
    _show(plans, as_json=as_json)
    return FAILURE if any(each.changes or each.failure for each in plans) else 0


@catalog.command(
    epilog=examples(
        """
        headrace lake catalog apply s3://my-lake --database headrace_dev
        """
    )
)
@click.argument("location", metavar="LAKE")
@DATABASE
@JSON
def apply(*, location: str, database: str, as_json: bool) -> int:
    """Bring the catalog up to date, all of it, and show what was done. Makes the database if there is none.

    Exit status 0: done; 1: a table could not be brought up to date.
    """
    registrar, glue = _open(location, database)
    glue.create_database("Tables of a Headrace lake")
    plans = list(registrar.applied(_now_ms()))
    _show(plans, as_json=as_json)
    return FAILURE if any(each.failure for each in plans) else 0


def _open(location: str, database: str) -> "tuple[Registrar, GlueCatalog]":
    if not location.startswith("s3://"):
        raise OptionError(f"{location}: the catalog's readers find tables at s3://BUCKET[/PREFIX] only")
    # Here, because `--help` must not pay for them.
    from headrace.glue import GlueCatalog  # noqa: PLC0415
    from headrace.registrar import Registrar  # noqa: PLC0415

    glue = GlueCatalog(database)
    bounds = {"max_partitions": EVERYTHING, "max_fruitless": EVERYTHING}
    return Registrar(open_objects(location), glue, location, **bounds), glue


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _show(plans: "Iterable[Plan]", *, as_json: bool) -> None:
    rows = sorted((_row(each) for each in plans), key=lambda row: str(row["table"]))
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif rows:
        click.echo(columns_text([{**row, "changes": "; ".join(row["changes"])} for row in rows]))
    else:
        click.echo("the lake has no tables yet", err=True)


def _row(plan: "Plan") -> dict[str, Any]:
    changes = plan.changes
    return {
        "table": plan.lake_table,
        "name": plan.name,
        "add": len(changes.add) if changes else 0,
        "replace": len(changes.replace) if changes else 0,
        "remove": len(changes.remove) if changes else 0,
        "changes": list(_words(plan)),
    }


def _words(plan: "Plan") -> Iterator[str]:
    if plan.failure is not None:
        yield f"error: {plan.failure}"
    if plan.changes:
        if plan.changes.create:
            yield "new table"
        yield from plan.changes.update
    for column, why in plan.left_out.items():
        yield f"column {column} left out: {why}"
