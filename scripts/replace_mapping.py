"""Replaces the event source mappings of a deployed application: `replace_mapping.py headrace-dev --generation 2`.

For what CloudFormation cannot change in place: a mapping's topic, consumer group or starting position. Stops the
consumers, waits until the sweeper has closed and published everything, starts a new generation. The plan is shown
first. After an interruption the same command goes on where it was.

--drain-only stops after the wait: before a change of the template itself (a starting position, another topology), or
before the stack is deleted.

Exit status: 0 done, nothing to do, or planned with --dry-run; 1 AWS or the time limit; 2 a wrong argument; 3 not
confirmed.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from mapping_replacement import (
    EXIT_FAILED,
    EXIT_NOT_CONFIRMED,
    EXIT_USAGE,
    REPLACEABLE,
    Deployment,
    Replacement,
    ReplacementError,
    Target,
)

from headrace.dynamodb import DynamoDBCheckpointStore, client_config
from headrace.errors import HeadraceError

GENERATION_PATTERN = r"[a-z0-9_]{1,32}"
DEFAULT_TIMEOUT_MINUTES = 60


class CloudFormationStack:
    """The stack in AWS."""

    def __init__(self, name: str) -> None:
        client = botocore.session.get_session().create_client("cloudformation", config=client_config())
        # botocore's stubs type every service's client alike.
        self._client = cast("Any", client)
        self._name = name

    def describe(self) -> Deployment:
        """See `Stack.describe`."""
        stack = self._client.describe_stacks(StackName=self._name)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if "CheckpointTableName" not in outputs:
            raise ReplacementError(f"stack {self._name} has no checkpoint table: is it the application's?", EXIT_USAGE)
        parameters = {p["ParameterKey"]: p["ParameterValue"] for p in stack.get("Parameters", [])}
        return Deployment(stack["StackStatus"], parameters, outputs["CheckpointTableName"])

    def update(self, changes: Mapping[str, str]) -> None:
        """See `Stack.update`."""
        names = self.describe().parameters
        self._client.update_stack(
            StackName=self._name,
            UsePreviousTemplate=True,
            Parameters=[update_parameter(name, changes) for name in names],
            # The second is for SAM's transform, which runs anew.
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )


def update_parameter(name: str, changes: Mapping[str, str]) -> Mapping[str, Any]:
    """One parameter of an update: the new value, or the one that is deployed."""
    if name in changes:
        return {"ParameterKey": name, "ParameterValue": changes[name]}
    return {"ParameterKey": name, "UsePreviousValue": True}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="replace_mapping.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("stack", help="the application's stack, e.g. headrace-dev")
    aim = result.add_mutually_exclusive_group(required=True)
    aim.add_argument("--generation", type=_generation, help="name of the new generation, never used before")
    aim.add_argument("--drain-only", action="store_true", help="stop and drain, start nothing")
    result.add_argument(
        "--set", action="append", default=[], type=_assignment, metavar="NAME=VALUE", help=", ".join(REPLACEABLE)
    )
    result.add_argument("--dry-run", action="store_true", help="show the plan and stop")
    result.add_argument("--yes", action="store_true", help="do not ask")
    result.add_argument("--timeout-minutes", type=_minutes, default=DEFAULT_TIMEOUT_MINUTES, help="for each wait")
    return result


def _generation(text: str) -> str:
    if not re.fullmatch(GENERATION_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 32 of a-z, 0-9 and _")
    return text


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _minutes(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes from 1 to 9999")
    return int(text)


def confirmed() -> bool:
    """Ask the person at the terminal; nobody there is a no."""
    return sys.stdin.isatty() and input("Go on? [y/N] ").strip().lower() in {"y", "yes"}


def replace(replacement: Replacement, target: Target, *, dry_run: bool, confirm: Callable[[], bool]) -> None:
    """Show the plan, ask, do it.

    Raises:
        ReplacementError: nobody agreed, or see `Replacement`.
    """
    steps = replacement.plan(target)
    for number, step in enumerate(steps, 1):
        print(f"{number}. {step.title}", *(f"{name}={value}" for name, value in step.changes.items()))
    if not steps:
        print("nothing to do: this is what is deployed")
    if not steps or dry_run:
        return
    if not confirm():
        raise ReplacementError("not confirmed: nothing was changed (--yes does not ask)", EXIT_NOT_CONFIRMED)
    replacement.run(steps)
    print("done")


def main(arguments: Sequence[str] | None = None) -> None:
    """Replace as the command line says."""
    options = parser()
    given = options.parse_args(arguments)
    if given.drain_only and given.set:
        options.error("--set belongs to --generation: draining starts nothing")
    target = Target(given.generation, dict(given.set))
    try:
        stack = CloudFormationStack(given.stack)
        catalog = DynamoDBCheckpointStore(stack.describe().table)
        replacement = Replacement(stack, catalog, timeout_s=60 * given.timeout_minutes)
        replace(replacement, target, dry_run=given.dry_run, confirm=lambda: given.yes or confirmed())
    except ReplacementError as error:
        print(f"replace_mapping: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except (BotoCoreError, ClientError, HeadraceError) as error:
        print(f"replace_mapping: {error}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        print("replace_mapping: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
