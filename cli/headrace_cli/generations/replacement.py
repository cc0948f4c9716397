"""How a deployed application gets its next generation: the plan, and the way through it.

CloudFormation cannot change a mapping's topic, consumer group or starting position in place. The sequence is

1. stop    Consume=false removes consumers and mappings; the sweeper goes on and closes what is open
2. drain   wait until the generation that is left has no pending output and no open window (unless it is abandoned)
3. start   Consume=true with the new Generation, which has consumer groups and checkpoints of its own

What is left to do is read from the stack's present parameters, so an interrupted run is simply repeated.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from headrace.checkpoint import Checkpoint, CheckpointCatalog, raise_corrupt
from headrace.errors import CheckpointCorrupt
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.generations.state import described, undrained
from headrace_cli.stores import APPLICATION

REPLACEABLE = ("ClicksTopic", "LogsTopic", "ConsumerGroupPrefix")
"""Parameters that only new mappings take; any other one is changed by an ordinary deployment."""
UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")
"""States of a stack in which an update can begin."""
POLL_S = 15.0


class Deployment(NamedTuple):
    """The stack as it is now."""

    status: str
    """CloudFormation's, e.g. `UPDATE_COMPLETE`."""
    parameters: Mapping[str, str]
    table: str
    """The checkpoint table."""


class Stack(Protocol):
    """The stack, as far as this needs it."""

    def describe(self) -> Deployment:
        """What is deployed now."""
        ...

    def update(self, changes: Mapping[str, str]) -> None:
        """Begin an update of these parameters alone, with the template that is deployed."""
        ...


@dataclass(frozen=True)
class Target:
    """What shall be deployed in the end; without a generation nothing consumes in the end."""

    generation: str | None
    changes: Mapping[str, str]
    """New values of `REPLACEABLE` parameters."""
    abandon: bool = False
    """Not to wait for a generation that cannot end: one whose objects or checkpoints are lost."""

    def parameters(self) -> Mapping[str, str]:
        """The parameters of the stack in the end, as far as they are this program's."""
        if self.generation is None:
            return {"Consume": "false"}
        return {**self.changes, "Generation": self.generation, "Consume": "true"}


class Step(NamedTuple):
    """One step of the sequence."""

    title: str
    changes: Mapping[str, str]
    """Parameters to update; none is the step that waits for the drain."""


def plan(deployment: Deployment, target: Target) -> list[Step]:
    """The steps from what is deployed to the target; empty when it is reached.

    Raises:
        OptionError: the target cannot be reached from there; says why.
    """
    present = deployment.parameters
    _refuse_unreachable(present, target)
    wanted = target.parameters()
    differing = {name: value for name, value in wanted.items() if present[name] != value}
    if target.generation is not None and not differing:
        return []
    if target.generation == present["Generation"]:
        raise OptionError(f"generation {target.generation!r} is the one that is deployed: new mappings need a new one")
    steps = []
    if present["Consume"] == "true":
        steps.append(Step("stop: remove the consumers and their mappings", {"Consume": "false"}))
    if not target.abandon:
        title = f"drain: wait until generation {present['Generation']} has no pending output and no open window"
        steps.append(Step(title, {}))
    if target.generation is not None:
        title = f"start: consume as generation {target.generation}, from the beginning"
        steps.append(Step(title, {**differing, "Consume": "true"}))
    return steps


def _refuse_unreachable(present: Mapping[str, str], target: Target) -> None:
    missing = [name for name in ("Consume", "Generation", *target.changes) if name not in present]
    if missing:
        raise OptionError(f"the stack has no parameter {missing[0]}: is it the application's?")
    foreign = [name for name in target.changes if name not in REPLACEABLE]
    if foreign:
        raise OptionError(f"--set takes {', '.join(REPLACEABLE)}; {foreign[0]} needs sam deploy only")


def refuse_used(checkpoints: Iterable[Checkpoint], generation: str) -> None:
    """A generation starts with empty checkpoints, or it would go on where some earlier one of its name ended.

    Raises:
        OptionError: there are checkpoints of this generation.
    """
    used = next((c.key for c in checkpoints if c.key.generation == generation), None)
    if used:
        raise OptionError(f"generation {generation!r} has been used: {used} exists")


def _ignore(error: CheckpointCorrupt) -> None:
    """What is abandoned need not be readable."""
    del error


class Replacement:
    """Goes through the steps; every wait is bounded and says what it waits for."""

    def __init__(
        self,
        stack: Stack,
        catalog: CheckpointCatalog,
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = print,
    ) -> None:
        self._stack = stack
        self._catalog = catalog
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self._say = say

    def plan(self, target: Target) -> list[Step]:
        """Wait for an update that is under way, then plan.

        Raises:
            OptionError: see `plan`; or the new generation has been used before.
        """
        deployment = self.settled()
        steps = plan(deployment, target)
        if steps and target.generation is not None:
            on_corrupt = _ignore if target.abandon else raise_corrupt
            refuse_used(self._catalog.checkpoints(APPLICATION, on_corrupt), target.generation)
        return steps

    def run(self, steps: Sequence[Step]) -> None:
        """Take the steps in order.

        Raises:
            CommandError: an update was rolled back, or a wait ended without result.
        """
        for number, step in enumerate(steps, 1):
            self._say(f"[{number}/{len(steps)}] {step.title}")
            if step.changes:
                self._stack.update(step.changes)
                self._reached(step.changes)
            else:
                self._drained(self.settled().parameters["Generation"])

    def settled(self) -> Deployment:
        """The stack once no operation is under way.

        Raises:
            CommandError: that took too long, or the stack is in no state to update.
        """
        self._wait(self._under_way)
        deployment = self._stack.describe()
        if deployment.status not in UPDATABLE:
            raise CommandError(f"the stack is {deployment.status}: it must be mended first")
        return deployment

    def _under_way(self) -> list[str]:
        status = self._stack.describe().status
        return [f"the stack's {status}"] if status.endswith("_IN_PROGRESS") else []

    def _reached(self, changes: Mapping[str, str]) -> None:
        deployment = self.settled()
        if any(deployment.parameters[name] != value for name, value in changes.items()):
            raise CommandError(f"the update did not succeed: the stack is {deployment.status}, see its events")

    def _drained(self, generation: str) -> None:
        self._wait(lambda: [described(c) for c in undrained(self._catalog.checkpoints(APPLICATION), generation)])

    def _wait(self, remaining: Callable[[], list[str]]) -> None:
        deadline = self._clock() + self._timeout_s
        while rest := remaining():
            if self._clock() >= deadline:
                raise CommandError(
                    f"after {self._timeout_s / 60:.0f} min still {len(rest)} left, first {rest[0]};"
                    " the same command goes on from here"
                )
            self._say(f"  {len(rest)} left, first {rest[0]}")
            self._sleep(POLL_S)
