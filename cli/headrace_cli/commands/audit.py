"""`headrace audit`: whether every offset that a deployment passed is accounted for, and every file still there."""

import itertools
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from headrace_cli.commands.examples import examples
from headrace_cli.commands.options import BootstrapServers, TopicName, auth_option, several, store_options
from headrace_cli.commands.progress import tracked
from headrace_cli.main import FAILURE
from headrace_cli.stores import open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from headrace.kafka import KafkaAuth
    from headrace_cli.ledger.finding import PartitionReport, Report
    from headrace_cli.ledger.lake_files import LakeEntry

PARTITIONS_SHOWN = 50
FINDINGS_SHOWN = 20
NOTES_SHOWN = 5


@click.command(
    epilog=examples(
        """
        headrace audit /tmp/shop
        headrace audit s3://my-lake --checkpoints dynamodb:my-checkpoints
        headrace audit s3://my-lake --checkpoints dynamodb:my-checkpoints --pipeline landing --json
        headrace audit /tmp/shop --kafka localhost:9092
        """
    )
)
@click.argument("location", metavar="LOCATION")
@store_options
@several("--pipeline", "pipelines", help="Only this pipeline; may be repeated.")
@several("--topic", "topics", type=TopicName(), help="Only this topic; may be repeated.")
@click.option("--kafka", type=BootstrapServers(), help="Compare with the log's own ends on this cluster too.")
@auth_option("--kafka-auth")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object; ranges of offsets are [first, end), without the end.",
)
def audit(
    *,
    location: str,
    checkpoints: str | None,
    application: str,
    pipelines: frozenset[str],
    topics: frozenset[str],
    kafka: str | None,
    kafka_auth: "KafkaAuth",
    as_json: bool,
) -> int:
    """Say whether the books balance, by partition.

    LOCATION is what `headrace demo --out` kept, or a deployment's lake: a folder, file:DIR or s3://BUCKET[/PREFIX].

    Every offset from the first one on must be applied, dead-lettered or a counted gap; every file that was counted must
    be there with its rows, and none that was not. What is missing is named with its offsets. Files that are committed
    and wait for their publication are no loss. Reads the end of every file; a running deployment may be audited.

    Exit status 0: balanced; 1: not.
    """
    # Here, because `--help` must not pay for them.
    from headrace.kafka import KafkaLog  # noqa: PLC0415
    from headrace_cli.ledger.auditor import Scope  # noqa: PLC0415
    from headrace_cli.ledger.auditor import audit as compare  # noqa: PLC0415

    stores = open_stores(location, checkpoints)
    with ExitStack() as stack:
        log = stack.enter_context(KafkaLog(kafka, kafka_auth)) if kafka else None
        report = compare(stores.objects, stores.checkpoints, Scope(application, pipelines, topics), log, _watched)
    if as_json:
        click.echo(json.dumps({"location": location, "application": application} | report.as_json()))
    else:
        _show(report)
    return 0 if report.balanced else FAILURE


def _watched(files: "Iterator[LakeEntry]", expected: int) -> "Iterator[LakeEntry]":
    done = itertools.count()
    return tracked(files, "Reading files", lambda: min(1.0, next(done) / max(1, expected)), look_every=1)


def _show(report: "Report") -> None:
    from rich.console import Console  # noqa: PLC0415 - 60 ms that `--json` does not pay
    from rich.text import Text  # noqa: PLC0415 - same

    console = Console()
    console.print(_partitions(report))
    notes = report.notes[:NOTES_SHOWN] + _more(len(report.notes) - NOTES_SHOWN, "notes")
    for line in [*_more(len(report.partitions) - PARTITIONS_SHOWN, "partitions"), *notes]:
        console.print(Text(line), soft_wrap=True)
    counted = f"{len(report.partitions):,} partitions, {report.files_read:,} files"
    if report.balanced:
        console.print(f"BALANCED: {counted}.", style="bold green")
        return
    console.print(f"NOT BALANCED: {report.differences:,} wrong in {counted}, the first:", style="bold red")
    findings = [f"  {finding}" for finding in report.findings[:FINDINGS_SHOWN]]
    for line in [*findings, *_more(report.differences - FINDINGS_SHOWN, "differences")]:
        console.print(Text(line), soft_wrap=True)


def _partitions(report: "Report") -> "Table":
    from rich.table import Column, Table  # noqa: PLC0415 - as above

    with_log = any(line.log for line in report.partitions)
    counted = ["offsets", "applied", "dead", "gaps", "late", "files", "rows", *(["behind"] if with_log else [])]
    columns = (Column(name, justify="right", no_wrap=True) for name in counted)
    # Where there is no room, only names are folded.
    name = Column("partition", overflow="fold")
    table = Table(name, *columns, Column("books", no_wrap=True), box=None, padding=(0, 1, 0, 0))
    # Those with differences first: they must not be among the lines that are left out.
    for line in sorted(report.partitions, key=lambda each: not each.findings)[:PARTITIONS_SHOWN]:
        table.add_row(*_cells(line, with_log=with_log))
    return table


def _cells(line: "PartitionReport", *, with_log: bool) -> list[str]:
    place = line.place
    counts = (line.applied, line.dead, line.gaps, line.late, line.files, line.rows)
    behind = [f"{line.log.behind:,}" if line.log else ""] if with_log else []
    books = f"{line.findings:,} wrong" if line.findings else "balanced"
    waiting = f", {line.unpublished:,} unpublished" if line.unpublished else ""
    return [
        f"{place.pipeline} {place.generation} {place.topic}-{place.partition}",
        f"{line.base_offset}-{line.next_offset - 1}",
        *(f"{count:,}" for count in counts),
        *behind,
        books + waiting,
    ]


def _more(count: int, of_what: str) -> list[str]:
    return [f"  … and {count:,} more {of_what}"] if count > 0 else []
