"""`headrace dead`: dead letters and late rows listed, shown, and sent back to a topic."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from headrace.kafka import KafkaAuth
from headrace_cli.commands import dead_text
from headrace_cli.commands.examples import examples
from headrace_cli.commands.letter_filters import letter_filters
from headrace_cli.commands.options import BootstrapServers, TopicName, auth_option
from headrace_cli.commands.progress import tracked
from headrace_cli.dead.letters import Letter, letter_files, letters
from headrace_cli.dead.redrive_log import RedriveLog
from headrace_cli.dead.selection import Selection
from headrace_cli.dead.summary import summary
from headrace_cli.errors import OptionError
from headrace_cli.interrupts import interrupts_later
from headrace_cli.lake_reader import LakeObjects
from headrace_cli.main import FAILURE
from headrace_cli.stores import open_objects

if TYPE_CHECKING:
    from headrace_cli.dead.redrive import Redrive, Report


@click.group(
    epilog=examples(
        """
        headrace dead list ./out
        headrace dead show s3://my-lake --topic clicks --reason invalid_json --limit 5
        headrace dead redrive s3://my-lake --topic clicks --kafka localhost:9092
        """
    )
)
def dead() -> None:
    """Dead letters and late rows: list, show, redrive.

    LAKE is a folder, file:DIR or s3://BUCKET[/PREFIX]: the value of the functions' HEADRACE_LAKE. Filters that are
    given several times are alternatives.
    """


@dead.command(
    "list",
    epilog=examples(
        """
        headrace dead list ./out
        headrace dead list s3://my-lake --since 2024-03-13T10:00 --json
        headrace dead list ./out --late --pipeline clickstream
        """
    ),
)
@click.argument("location", metavar="LAKE")
@letter_filters
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line of the table.")
def list_letters(*, location: str, selection: Selection, as_json: bool) -> None:
    """Count the dead letters by pipeline, topic and reason.

    With the first and last Kafka timestamp, and how many records were redriven, may have been (unknown), and had been
    redriven before they ended here again.
    """
    objects = open_objects(location)
    counts = summary(_selected(objects, selection), RedriveLog(objects, clock_ms=_now_ms))
    if as_json:
        for kind, count in counts.items():
            click.echo(json.dumps(dead_text.count_json(kind, count)))
    elif counts:
        click.echo(dead_text.counts_text(counts))
    else:
        _say_none(location)


@dead.command(
    epilog=examples(
        """
        headrace dead show ./out --reason invalid_json
        headrace dead show ./out --position clicks-0@41 --json
        headrace dead show s3://my-lake --topic clicks --since 2024-03-13 --limit 3
        """
    )
)
@click.argument("location", metavar="LAKE")
@letter_filters
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many letters.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per letter: everything, bytes in base64.")
def show(*, location: str, selection: Selection, limit: int, as_json: bool) -> None:
    """Show dead letters: where they were, why they ended here, and what was sent.

    Bytes are shown as text if they are printable, else in hex, long ones cut; --json has all of them.
    """
    objects = open_objects(location)
    log = RedriveLog(objects, clock_ms=_now_ms)
    letter = None
    for letter in itertools.islice(_selected(objects, selection), limit):
        fates = log.fates(str(letter.record))
        if as_json:
            click.echo(json.dumps(dead_text.letter_json(letter, fates), ensure_ascii=False))
        else:
            click.echo(dead_text.letter_text(letter, fates))
    if letter is None and not as_json:
        _say_none(location)


@dead.command(
    epilog=examples(
        r"""
        headrace dead redrive ./out --reason from_the_future --kafka localhost:9092
        headrace dead redrive ./out --reason from_the_future --kafka localhost:9092 --limit 1 --send
        headrace dead redrive ./out --late --to clicks-late --kafka localhost:9092 --send
        headrace dead redrive s3://my-lake --topic clicks --send --settle --kafka-auth iam \
            --kafka boot-abc.c1.kafka-serverless.eu-west-1.amazonaws.com:9098
        """
    )
)
@click.argument("location", metavar="LAKE")
@letter_filters
@click.option("--kafka", "bootstrap_servers", type=BootstrapServers(), required=True, help="Brokers to start from.")
@auth_option("--kafka-auth", "auth")
@click.option("--to", type=TopicName(), help="The topic for all of them.  [default: the topic each came from]")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many records.")
@click.option("--send", is_flag=True, help="Send them; without, only say what would be sent.")
@click.option("--settle", is_flag=True, help="First look in the topics for letters whose sending was cut short.")
@click.option("--resend-unknown", is_flag=True, help="Send again what may have been sent: it may arrive twice.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def redrive(
    *,
    location: str,
    selection: Selection,
    bootstrap_servers: str,
    auth: KafkaAuth,
    to: str | None,
    limit: int | None,
    send: bool,
    settle: bool,
    resend_unknown: bool,
    as_json: bool,
) -> int:
    """Send dead letters back to their topic, or to another one.

    Payload, key and headers are as they were; one more header, headrace-redrive, says which record it is. A record is
    sent once, however many pipelines and generations have a letter of it, and is written down below redriven/ in LAKE:
    the same command again sends what is new. All consumers of a topic get what is sent there: a late record that
    was landed is landed again, unless --to names another topic.

    Ends with 1 if some letters were not sent, or it is not known whether they were.
    """
    from headrace_cli.dead.kafka_topics import KafkaTopics  # noqa: PLC0415 - `--help` must not pay for it
    from headrace_cli.dead.redrive import Options, Redrive  # noqa: PLC0415 - same

    objects = open_objects(location)
    log = RedriveLog(objects, clock_ms=_now_ms)
    with (
        interrupts_later() as interrupts,
        KafkaTopics(bootstrap_servers, auth, stop=lambda: bool(interrupts)) as topics,
    ):
        options = Options(to=to, limit=limit, resend_unknown=resend_unknown)
        run = Redrive(log, topics, options, clock_ms=_now_ms, stop=lambda: bool(interrupts))
        if settle:
            click.echo(dead_text.settled_text(run.settle()), err=True)
        _act(run, _selected(objects, selection), send=send, as_json=as_json)
    return FAILURE if send and not run.report.complete else 0


def _say_none(location: str) -> None:
    click.echo(f"{location} has no such letters", err=True)


def _act(run: "Redrive", selected: Iterator[Letter], *, send: bool, as_json: bool) -> None:
    act = run.run if send else run.plan
    try:
        act(selected)
    except Exception:
        if run.report.tried:  # what went out before the failure has to be told
            _print_report(run.report, send=send, as_json=as_json)
        raise
    _print_report(run.report, send=send, as_json=as_json)


def _print_report(report: "Report", *, send: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dead_text.report_json(report, send=send)))
    else:
        click.echo(dead_text.report_text(report, send=send))


def _selected(objects: LakeObjects, selection: Selection) -> Iterator[Letter]:
    """The letters of the selection; shows the progress through their files."""
    found = letter_files(objects)
    unknown = selection.pipelines - {file.pipeline for file in found}
    if unknown:
        known = ", ".join(sorted({file.pipeline for file in found})) or "none"
        raise OptionError(f"--pipeline {min(unknown)}: it has no letters here; those that have: {known}")
    files = [file for file in found if selection.may_be_in(file)]
    done = itertools.count()
    reading = tracked(files, "Reading letters", lambda: next(done) / len(files), look_every=1)
    return (letter for letter in letters(objects, reading) if selection.takes(letter))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
