"""`headrace generation`: how far each generation is, how one ends, how the next one begins."""

import functools
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import click

from headrace.checkpoint import Checkpoint
from headrace.errors import CheckpointCorrupt
from headrace.settings import Settings
from headrace_cli.commands.examples import examples
from headrace_cli.commands.options import Assignment, GenerationName, store_options
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.generations.replacement import REPLACEABLE, Replacement, Step, Target
from headrace_cli.generations.report import as_json_object, as_text
from headrace_cli.generations.state import described, next_free, progress, refuse_consumed, undrained
from headrace_cli.stores import APPLICATION, Checkpoints, checkpoints_url, lake_url, open_stores

MOST_MINUTES = 9_999
PARTITIONS_SHOWN = 50
IDLE_TIMEOUT_S = Settings().idle_timeout_ms / 1000


class Lake(NamedTuple):
    """Where a deployment's stores are."""

    location: str
    checkpoints: str | None
    application: str

    def open(self) -> Checkpoints:
        """Its checkpoints; raises as `open_stores`."""
        return open_stores(self.location, self.checkpoints).checkpoints

    def __str__(self) -> str:
        """As the command line has it."""
        checkpoints = () if self.checkpoints is None else ("--checkpoints", self.checkpoints)
        application = () if self.application == APPLICATION else ("--application", self.application)
        return shlex.join((self.location, *checkpoints, *application))


class Consent(NamedTuple):
    """How far a command may go without asking."""

    dry_run: bool
    yes: bool

    def given(self) -> bool:
        """Whether to go on after the plan was shown; nobody at the terminal is a no.

        Raises:
            CommandError: it was refused.
        """
        if self.dry_run:
            return False
        if self.yes or (sys.stdin.isatty() and click.confirm("Go on?")):
            return True
        raise CommandError("not confirmed: nothing was changed (--yes does not ask)")


def _lake_or_stack(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what it works on, as `lake` or `stack`, and `consent`."""

    @click.argument("location", required=False)
    @store_options
    @click.option("--stack", metavar="NAME", help="The application's stack on AWS, e.g. headrace-dev.")
    @click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @functools.wraps(command)
    def gathered(
        *,
        location: str | None,
        checkpoints: str | None,
        application: str,
        stack: str | None,
        dry_run: bool,
        yes: bool,
        **options: Any,
    ) -> Any:
        if (location is None) == (stack is None):
            raise OptionError("of what? give either a LOCATION or --stack NAME")
        if stack is not None and checkpoints is not None:
            raise OptionError("--checkpoints belongs to a LOCATION: a stack knows its own table")
        lake = None if location is None else Lake(location, checkpoints, application)
        return command(lake=lake, stack=stack, consent=Consent(dry_run, yes), **options)

    return gathered


_timeout_option = click.option(
    "--timeout-minutes",
    type=click.IntRange(1, MOST_MINUTES),
    default=60,
    show_default=True,
    help="For each wait for the stack.",
)


@click.group(
    epilog=examples(
        """
        headrace generation show ./out
        headrace generation drain ./out --generation 1 --dry-run
        headrace generation new --stack headrace-dev --generation 2
        """
    )
)
def generation() -> None:
    """Look at generations, end one, begin the next.

    A generation is one reading of the topics from their beginning: with its own consumer groups, checkpoints and
    files, beside those of the generations before. What a window means, or a topic that was made again, needs a new one.

    LOCATION is the lake: what `headrace demo --out` keeps, or s3://BUCKET with --checkpoints dynamodb:TABLE.
    """


@generation.command(
    epilog=examples(
        """
        headrace generation show ./out
        headrace generation show s3://my-lake --checkpoints dynamodb:my-checkpoints --json
        """
    )
)
@click.argument("location")
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per pipeline and topic, one per line.")
def show(*, location: str, checkpoints: str | None, application: str, as_json: bool) -> None:
    """Show how far each generation is, by pipeline and topic.

    `drained`: nothing is open and nothing waits to be published. `consuming?`: the last commit is younger than five
    minutes. `open`: neither.
    """
    corrupt: list[Exception] = []
    found = open_stores(location, checkpoints).checkpoints.checkpoints(application, corrupt.append)
    rows = progress(found, now_ms=_now_ms(), idle_timeout_ms=int(IDLE_TIMEOUT_S * 1000))
    if as_json:
        for each in rows:
            click.echo(json.dumps(as_json_object(each)))
    elif rows:
        click.echo(as_text(rows))
    else:
        click.echo(f"{location} has no checkpoints of {application} yet", err=True)
    if corrupt:
        raise CommandError(f"{len(corrupt)} checkpoint(s) are not shown: {corrupt[0]}")


@generation.command(
    epilog=examples(
        """
        headrace generation drain ./out --generation 1 --dry-run
        headrace generation drain s3://my-lake --checkpoints dynamodb:my-checkpoints --generation 1
        headrace generation drain --stack headrace-dev
        """
    )
)
@_lake_or_stack
@_timeout_option
@click.option("--generation", "name", type=GenerationName(), help="The generation to end.")
@click.option(
    "--idle-timeout",
    "idle_timeout_s",
    type=click.FloatRange(min=0.001),
    default=IDLE_TIMEOUT_S,
    show_default=True,
    help="Seconds without a commit after which nobody consumes any more.",
)
def drain(
    *,
    lake: Lake | None,
    stack: str | None,
    consent: Consent,
    name: str | None,
    timeout_minutes: int,
    idle_timeout_s: float,
) -> None:
    """End a generation: publish what waits and close what is open.

    Of a LOCATION, this process does it, with the functions of this checkout: their code, and HEADRACE_ variables where
    they differ from the template's, must be those that made the windows. Of a --stack, its consumers are stopped and
    its own sweeper does it; afterwards nothing consumes.
    """
    if stack is not None:
        if name is not None:
            raise OptionError("--generation belongs to a LOCATION: of a stack, the one that is deployed ends")
        _replace(stack, Target(None, {}), consent, timeout_minutes)
    elif name is None:
        raise OptionError("which generation? name it with --generation; `headrace generation show` lists them")
    elif lake is not None:
        _drain_lake(lake, name, consent, int(idle_timeout_s * 1000))


def _drain_lake(lake: Lake, name: str, consent: Consent, idle_timeout_ms: int) -> None:
    catalog = lake.open()
    own = _own(catalog, lake.application, name)
    left = undrained(own, name)
    if not left:
        click.echo(f"generation {name} is drained")
        return
    refuse_consumed(own, now_ms=_now_ms(), idle_timeout_ms=idle_timeout_ms)
    for number, each in enumerate(left[:PARTITIONS_SHOWN], 1):
        click.echo(f"{number}. {described(each)}")
    if len(left) > PARTITIONS_SHOWN:
        click.echo(f"… and {len(left) - PARTITIONS_SHOWN:,} more")
    if not consent.given():
        return
    from headrace_cli.generations import drain as draining  # noqa: PLC0415 - reads the template: not for a plan

    settings = draining.settings_of(
        lake_url(lake.location),
        checkpoints_url(lake.location, lake.checkpoints),
        generation=name,
        application=lake.application,
        idle_timeout_ms=idle_timeout_ms,
    )
    done = draining.drain(settings, catalog)
    click.echo(f"generation {name} is drained: {done['recovered']} published, {done['ticked']} closed")


@generation.command(
    epilog=examples(
        """
        headrace generation new ./out
        headrace generation new --stack headrace-dev --generation 2 --dry-run
        headrace generation new --stack headrace-dev --generation 2 --set ClicksTopic=clicks_v2
        """
    )
)
@_lake_or_stack
@_timeout_option
@click.option("--generation", "name", type=GenerationName(), help="Name of the new generation, never used before.")
@click.option(
    "--set",
    "changes",
    type=Assignment(),
    multiple=True,
    metavar="NAME=VALUE",
    help=f"Also change {', '.join(REPLACEABLE)}.",
)
@click.option("--abandon", is_flag=True, help="Do not wait for the old one: for a generation that cannot end.")
def new(
    *,
    lake: Lake | None,
    stack: str | None,
    consent: Consent,
    name: str | None,
    changes: Sequence[tuple[str, str]],
    abandon: bool,
    timeout_minutes: int,
) -> None:
    """Begin the next generation, which reads the topics from the beginning.

    Of a --stack: stop its consumers, wait until its sweeper has ended the old generation, start the new one.
    Interrupted, the same command goes on where it was. Of a LOCATION: tell the next free name and how to use it.
    """
    if stack is not None:
        if name is None:
            raise OptionError("name the new generation with --generation: repeated, the command must mean the same one")
        _replace(stack, Target(name, dict(changes), abandon), consent, timeout_minutes)
    elif changes or abandon:
        raise OptionError("--set and --abandon belong to --stack: here nothing is started")
    elif lake is not None:
        corrupt: list[CheckpointCorrupt] = []
        found = list(lake.open().checkpoints(lake.application, corrupt.append))
        for error in corrupt:
            click.echo(f"{error.place} cannot be read: its generation cannot end; do not use that one's name again")
        for line in _advice(lake, found, name):
            click.echo(line)


def _advice(lake: Lake, found: Sequence[Checkpoint], name: str | None) -> Iterable[str]:
    used = sorted({each.key.generation for each in found})
    name = name or next_free(used)
    if name in used:
        raise OptionError(f"generation {name} has been used; the next free name is {next_free(used)}")
    for old in used:
        if left := undrained(found, old):
            yield (
                f"generation {old} is not drained: {len(left)} partition(s), first {described(left[0])}; stop its "
                f"consumers, then headrace generation drain {lake} --generation {old}"
            )
    yield f"generation {name} is free: start the functions with HEADRACE_GENERATION={name} and new consumer groups"


def _replace(stack: str, target: Target, consent: Consent, timeout_minutes: int) -> None:
    from headrace.dynamodb import DynamoDBCheckpointStore  # noqa: PLC0415 - and botocore, which --help must not pay for
    from headrace_cli.generations.stack import CloudFormationStack  # noqa: PLC0415 - as above

    cloud = CloudFormationStack(stack)
    catalog = DynamoDBCheckpointStore(cloud.describe().table)
    replacement = Replacement(cloud, catalog, timeout_s=60 * timeout_minutes, say=click.echo)
    try:
        steps = replacement.plan(target)
        _show(steps)
        if steps and consent.given():
            replacement.run(steps)
            click.echo("done")
    except CheckpointCorrupt as error:
        restore = f"{error.place} cannot be read: restore exactly what was written last"
        raise CommandError(f"{restore}, or go on without it: headrace generation new --abandon") from error
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        raise


def _show(steps: Sequence[Step]) -> None:
    for number, step in enumerate(steps, 1):
        click.echo(" ".join((f"{number}. {step.title}", *(f"{name}={value}" for name, value in step.changes.items()))))
    if not steps:
        click.echo("nothing to do: this is what is deployed")


def _own(catalog: Checkpoints, application: str, name: str) -> list[Checkpoint]:
    found = list(catalog.checkpoints(application))
    own = [each for each in found if each.key.generation == name]
    if not own:
        used = ", ".join(sorted({each.key.generation for each in found})) or "none"
        raise OptionError(f"there is no generation {name} of {application} here; there are: {used}")
    return own


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
