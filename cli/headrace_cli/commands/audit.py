"""`headrace audit`: whether every offset that a deployment passed is accounted for, and every file still there."""

import itertools
import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from headrace_cli.commands.examples import examples
from headrace_cli.commands.options import BootstrapServers, TopicName, auth_option, several, store_options
from headrace_cli.commands.progress import tracked
from headrace_cli.commands.rendering import columns_text, plain
from headrace_cli.main import FAILURE
from headrace_cli.stores import open_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    # Those with differences first: they must not be among the lines that are left out.
    partitions = sorted(report.partitions, key=lambda each: not each.findings)[:PARTITIONS_SHOWN]
    click.echo(columns_text([_row(line) for line in partitions]))
    notes = report.notes[:NOTES_SHOWN] + _more(len(report.notes) - NOTES_SHOWN, "notes")
    for line in [*_more(len(report.partitions) - PARTITIONS_SHOWN, "partitions"), *notes]:
        click.echo(plain(line))
    counted = f"{len(report.partitions):,} partitions, {report.files_read:,} files"
    if report.balanced:
        click.secho(f"BALANCED: {counted}.", bold=True, fg="green")
        return
    click.secho(f"NOT BALANCED: {report.differences:,} wrong in {counted}, the first:", bold=True, fg="red")
    findings = [f"  {finding}" for finding in report.findings[:FINDINGS_SHOWN]]
    for line in [*findings, *_more(report.differences - FINDINGS_SHOWN, "differences")]:
        click.echo(plain(line))


def _row(line: "PartitionReport") -> dict[str, Any]:
    place = line.place
    books = f"{line.findings:,} wrong" if line.findings else "balanced"
    waiting = f", {line.unpublished:,} unpublished" if line.unpublished else ""
    return {
        "partition": f"{place.pipeline} {place.generation} {place.topic}-{place.partition}",
        "offsets": f"{line.base_offset}-{line.next_offset - 1}",
        "applied": line.applied,
        "dead": line.dead,
        "gaps": line.gaps,
        "late": line.late,
        "files": line.files,
        "rows": line.rows,
        # As text: where there was a log, nothing to read is worth its column.
        "behind": None if line.log is None else f"{line.log.behind:,}",
        "books": books + waiting,
    }


def _more(count: int, of_what: str) -> list[str]:
    return [f"  … and {count:,} more {of_what}"] if count > 0 else []
