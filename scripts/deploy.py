"""Deploys one environment, the platform before the application: `deploy.py dev`, `deploy.py dev --dry-run`.

Shows its plan first. Everything that the two stacks are told is in the two samconfig.toml; this adds only the order
and what can be refused before a cluster is paid for. Whether `sam deploy` asks again before it changes a stack is
`confirm_changeset` there.

Exit status: 0 deployed, or planned with --dry-run; 1 a step failed; 2 a wrong argument or configuration; 3 no usable
credentials or no region.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parent.parent
PLATFORM_CONFIG = Path("provisioning/samconfig.toml")
APPLICATION_CONFIG = Path("samconfig.toml")
ENVIRONMENTS = ("dev", "prod")
STEP_TIMEOUT_S = 2 * 60 * 60
"""A cluster takes up to an hour; CloudFormation goes on when `sam deploy` is no longer waited for."""
EXIT_FAILED, EXIT_USAGE, EXIT_NO_CREDENTIALS = 1, 2, 3


class DeployError(Exception):
    """Ends the program with one line and an exit status."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class Stack(NamedTuple):
    """One stack as its samconfig.toml describes it for one environment."""

    title: str
    config: Path
    name: str
    template: Path
    overrides: tuple[str, ...]
    """`Name=value`, none of them a secret: a parameter that held one could not be in a committed file."""
    asks: bool
    """Whether `sam deploy` shows its change set and waits for a yes."""


class Account(NamedTuple):
    """Where the deployment goes, by the credentials that are there."""

    number: str
    region: str


Command = tuple[str, ...]


def read_stack(title: str, config: Path, environment: str, root: Path = ROOT) -> Stack:
    """One stack of one environment.

    Raises:
        DeployError: the file has no such environment, or calls it by another name.
    """
    sections = tomllib.loads((root / config).read_text())
    try:
        values = sections[environment]["deploy"]["parameters"]
        overrides = tuple(values["parameter_overrides"])
        stack = Stack(
            title,
            config,
            values["stack_name"],
            Path(values["template_file"]),
            overrides,
            bool(values["confirm_changeset"]),
        )
    except KeyError as error:
        raise DeployError(f"{config} has no deployment {environment!r}: {error} is missing", EXIT_USAGE) from error
    if f"Environment={environment}" not in overrides:
        raise DeployError(f"{config}: [{environment}.deploy] does not say Environment={environment}", EXIT_USAGE)
    return stack


def read_stacks(environment: str, root: Path = ROOT) -> tuple[Stack, Stack]:
    """The platform's stack and the application's.

    Raises:
        DeployError: ENV is none that both configurations know.
    """
    if environment not in ENVIRONMENTS:
        raise DeployError(f"ENV must be one of {', '.join(ENVIRONMENTS)}, not {environment!r}", EXIT_USAGE)
    return (
        read_stack("platform", PLATFORM_CONFIG, environment, root),
        read_stack("application", APPLICATION_CONFIG, environment, root),
    )


def commands(environment: str, platform: Stack, application: Stack) -> list[Command]:
    """What is run, in order: both are built before anything is created."""
    python = Path(sys.executable)
    sam = str(python.with_name("sam"))
    architecture = application.template.parent.name.removeprefix("build-")
    at_platform = ("--config-file", str(platform.config), "--config-env", environment)
    return [
        (str(python), "scripts/build.py", architecture, "--no-report"),
        (sam, "build", *at_platform),
        (sam, "deploy", *at_platform),
        (sam, "deploy", "--config-file", str(application.config), "--config-env", environment),
    ]


def plan_lines(stacks: Sequence[Stack], account: Account | None, steps: Sequence[Command]) -> list[str]:
    """The plan for a person: where, which stacks with which parameters, which commands."""
    where = f"account {account.number}, region {account.region}" if account else "account unknown"
    lines = [where]
    for number, stack in enumerate(stacks, 1):
        lines.append(f"{number}. {stack.title} stack {stack.name}{' (asks first)' if stack.asks else ''}")
        lines += [f"     {override}" for override in stack.overrides]
    return [*lines, "commands:", *(f"  {shlex.join(step)}" for step in steps)]


def account_of() -> Account:
    """Ask STS whose credentials these are; with three attempts this ends within half a minute.

    Raises:
        DeployError: there are none, they are refused, or no region is set.
    """
    session = botocore.session.Session()
    region = session.get_config_variable("region")
    if not region:
        raise DeployError("no AWS region: set AWS_DEFAULT_REGION or a profile that has one", EXIT_NO_CREDENTIALS)
    config = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
    try:
        if session.get_credentials() is None:
            raise DeployError("no AWS credentials: set AWS_PROFILE, or log in with aws sso login", EXIT_NO_CREDENTIALS)
        # botocore's stubs type every service's client alike.
        sts = cast("Any", session.create_client("sts", region_name=region, config=config))
        identity = sts.get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"AWS credentials cannot be used: {error}", EXIT_NO_CREDENTIALS) from error
    return Account(identity["Account"], region)


def run(steps: Sequence[Command], root: Path = ROOT) -> None:
    """Run the steps one after another, in the foreground, up to the first that fails.

    Raises:
        DeployError: a step failed or did not end; names it.
    """
    # A parent make's job server must not reach the makes that SAM starts.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment["SAM_CLI_TELEMETRY"] = "0"
    for number, step in enumerate(steps, 1):
        print(f"[{number}/{len(steps)}] {shlex.join(step)}", flush=True)
        try:
            status = subprocess.run(step, cwd=root, env=environment, check=False, timeout=STEP_TIMEOUT_S).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeployError(f"step {number} of {len(steps)} did not run to its end: {error}", EXIT_FAILED) from error
        if status:
            raise DeployError(
                f"step {number} of {len(steps)} failed with status {status}; what it said is above", EXIT_FAILED
            )


def deploy(environment: str, *, dry_run: bool, find_account: Callable[[], Account] = account_of) -> None:
    """Show the plan, then do it.

    Raises:
        DeployError: see the exit statuses of this module.
    """
    stacks = read_stacks(environment)
    steps = commands(environment, *stacks)
    try:
        account = find_account()
    except DeployError as error:
        if not dry_run:
            raise
        print(f"deploy: {error}", file=sys.stderr)
        account = None
    print("\n".join(plan_lines(stacks, account, steps)), flush=True)
    if not dry_run:
        run(steps)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="deploy.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("environment", metavar="ENV", help=" or ".join(ENVIRONMENTS))
    result.add_argument("--dry-run", action="store_true", help="print the plan and stop; needs no credentials")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Deploy as the command line says."""
    given = parser().parse_args(arguments)
    try:
        deploy(given.environment, dry_run=given.dry_run)
    except DeployError as error:
        print(f"deploy: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("deploy: interrupted; CloudFormation goes on with what it was told", file=sys.stderr)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
