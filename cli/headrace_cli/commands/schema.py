"""`headrace schema`: what a new `.avsc` file does to records and files of the old one; a file's columns."""

import json
from pathlib import Path

import click

from headrace import schema as schemas
from headrace.avro_types import described
from headrace.evolution import Change, changes
from headrace_cli.commands.examples import examples
from headrace_cli.commands.rendering import columns_text, plain
from headrace_cli.main import FAILURE

AvscFile = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(
    epilog=examples(
        """
        headrace schema show functions/schemas/clicks.avsc
        headrace schema check old.avsc functions/schemas/clicks.avsc
        """
    )
)
def schema() -> None:
    """Look into Avro schemas: columns, and whether a new version can follow an old one."""


@schema.command(
    epilog=examples(
        """
        headrace schema show functions/schemas/clicks.avsc
        headrace schema show functions/schemas/clicks.avsc --json
        """
    )
)
@click.argument("file", type=AvscFile)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per column, one per line.")
def show(*, file: Path, as_json: bool) -> None:
    """Show what the fields of FILE are as columns.

    Exit status 0; 2: FILE is no schema that can be used, and why.
    """
    schema = schemas.load(file)
    rows = [
        {"field": f.name, "avro": described(f.avro_type), "arrow": _column(landed.type), "needed": _needed(f)}
        for f, landed in zip(schema.fields, schema.landed_fields(), strict=True)
    ]
    click.echo("\n".join(map(json.dumps, rows)) if as_json else columns_text(rows))


def _column(arrow_type: object) -> str:
    return repr(arrow_type).strip().removeprefix("arro3.core.DataType<").removesuffix(">")


def _needed(field: schemas.Field) -> str:
    if field.optional:
        return "no"
    return "yes" if field.written_default is schemas.REQUIRED else "has a default"


@schema.command(
    epilog=examples(
        """
        headrace schema check old.avsc new.avsc
        headrace schema check old.avsc new.avsc --iceberg --json
        """
    )
)
@click.argument("old", type=AvscFile)
@click.argument("new", type=AvscFile)
@click.option("--iceberg", is_flag=True, help="Demand also that an Iceberg table can follow.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per change, one per line.")
def check(*, old: Path, new: Path, iceberg: bool, as_json: bool) -> int:
    """Say what changes from OLD to NEW, and whether NEW can follow.

    It can if records written with OLD can be decoded with NEW, and files of both can be read as one table.

    Exit status 0: it can; 1: it cannot, and why; 2: a file is no schema that can be used.
    """
    following = schemas.load(new)
    following.landed_fields()  # refuses what cannot be landed
    found = list(changes(schemas.load(old).record_type, following.record_type))
    refused = [change for change in found if change.problem or (iceberg and not change.iceberg)]
    if as_json:
        for change in found:
            click.echo(json.dumps(_as_dict(change)))
    elif found:
        click.echo(
            columns_text([{**_as_dict(change), "iceberg": "yes" if change.iceberg else "no"} for change in found])
        )
    verdict = f"{len(refused)} of {len(found)} changes cannot be made" if refused else "compatible"
    click.echo(f"{plain(str(old))} → {plain(str(new))}: {verdict}", err=True)
    return FAILURE if refused else 0


def _as_dict(change: Change) -> dict[str, object]:
    return {
        "field": change.path,
        "change": change.kind,
        "detail": change.detail,
        "problem": change.problem,
        "iceberg": change.iceberg,
    }
