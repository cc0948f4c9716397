"""`headrace logs`: what the logs function makes of a file, before anything is deployed."""

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.event_time import event_time_ms
from headrace.log_formats.format import Unparsable
from headrace.logs import AUTO
from headrace_cli.commands.examples import examples
from headrace_cli.commands.progress import tracked
from headrace_cli.commands.rendering import plain
from headrace_cli.errors import OptionError
from headrace_cli.main import FAILURE
from headrace_cli.sources.lines import STDIN, LineReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace_cli.trial.trial import Trial, Turn

ROWS = 5


@click.group()
def logs() -> None:
    """Log lines: what the logs function makes of a file."""


@logs.command(
    name="try",
    epilog=examples(
        """
        headrace logs try access.log
        headrace logs try app.log.gz --json | jq 'select(.severity == "ERROR")'
        headrace logs try flows.log --format 'vpc_flow:version srcaddr dstaddr bytes start end'
        headrace logs try nginx.log --format 'access:$remote_addr [$time_local] "$request" $status $body_bytes_sent'
        kubectl logs deploy/shop | headrace logs try - --unparsed --max-unparsed 1
        """
    ),
)
@click.argument("file")
@click.option(
    "--format",
    "declared",
    default=AUTO,
    show_default=True,
    metavar="FORMAT",
    help="As the setting LogFormats has it: `auto`, a name, or a name with parameters after a colon.",
)
@click.option("--kafka-time", metavar="TIME", help="When Kafka got the lines (ISO 8601).  [default: the file's time]")
@click.option("--key", help="The records' key: what lines that name no service are counted under.")
@click.option("--rows", type=click.IntRange(min=0), default=ROWS, show_default=True, help="Parsed rows to show.")
@click.option("--unparsed", "only_unparsed", is_flag=True, help="Print only the lines that cannot be read.")
@click.option("--json", "as_json", is_flag=True, help="Print an object per event, then one of counts.")
@click.option(
    "--max-unparsed",
    type=click.FloatRange(0, 100),
    default=100.0,
    metavar="PERCENT",
    help="Exit with 1 if more of the lines cannot be read.  [default: never]",
)
def try_(
    *,
    file: str,
    declared: str,
    kafka_time: str | None,
    key: str | None,
    rows: int,
    only_unparsed: bool,
    as_json: bool,
    max_unparsed: float,
) -> int:
    """Show what the logs function would make of the lines of FILE (gzip or not; `-` is standard input).

    Runs the function's own code in memory, over the lines as one partition that ends: which formats they are in, the
    first rows, what cannot be read and why, the busiest minutes, the most frequent patterns, the alerts that would have
    been raised, and how fast that went. Nothing is stored or sent. Blank lines are no records, and neither is a first
    line that names a flow log's fields.

    With --json fields without a value are left out, and lines that cannot be read at all have `dead_letter`.

    Exit status 0; 1: more than --max-unparsed of the lines cannot be read; 2: wrong usage.
    """
    # Here, because `--help` must not pay for them.
    from headrace_cli.commands import logs_text  # noqa: PLC0415
    from headrace_cli.trial.trial import Trial, named_format, trial_settings  # noqa: PLC0415

    kafka_ms = _kafka_ms(file, kafka_time)
    wanted = None if as_json or only_unparsed else rows
    with LineReader(file) as reader:
        lines = tracked(reader, f"Reading {plain(reader.name)}", reader.fraction)
        first = next(lines, b"")
        named = named_format(first) if declared == AUTO else None
        settings = trial_settings(named or declared)
        trial = Trial(settings, kafka_ms, key=None if key is None else key.encode(), events=wanted)
        turns = trial.turns(lines, 2) if named else trial.turns(itertools.chain([first], lines))
        if as_json or only_unparsed:
            show = logs_text.json_lines if as_json else logs_text.unread_lines
            for turn in turns:
                _echo(show(_unread(turn) if only_unparsed else turn))
        else:
            events = [event for turn in turns for event in turn.events]
            _echo(logs_text.summary(reader.name, trial.tally, events, named))
    if as_json:
        _echo([logs_text.counts_json(trial.tally)])
    return FAILURE if _share_unread(trial) > max_unparsed else 0


def _unread(turn: "Turn") -> "Turn":
    return turn._replace(events=[event for event in turn.events if event["is_unparsed"]])


def _share_unread(trial: "Trial") -> float:
    """In percent of the lines."""
    return 100 * trial.tally.unread / max(1, trial.tally.lines)


def _echo(lines: "list[str] | Iterator[str]") -> None:
    text = "\n".join(lines)
    if text:
        click.echo(text)


def _kafka_ms(file: str, chosen: str | None) -> int:
    if chosen is not None:
        return _time_ms(chosen)
    modified_ns = time.time_ns() if file == STDIN else Path(file).stat().st_mtime_ns
    return modified_ns // 1_000_000


def _time_ms(text: Any) -> int:
    try:
        return event_time_ms(text)
    except Unparsable as error:
        raise OptionError(f"--kafka-time: {error.detail}") from None
