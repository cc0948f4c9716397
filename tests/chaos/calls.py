"""Processes that can be paused, failed or killed at every call that leaves them, and what can go wrong there.

A process is one invocation of a function: real code in a greenlet. It runs until its next call to a store or to the
broker, and the scheduler decides who goes on. Nothing else is interleaved, because between two calls nobody sees
anything of what a process does.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from chaos.choices import Choices
from greenlet import getcurrent, greenlet

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone: no `except Exception` sees it."""


class Fault(StrEnum):
    """What goes wrong at a call."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    LOST_ANSWER = "answer lost"
    CLIENT_RETRY = "client's retry"
    PARTIAL = "partial"
    OVERTAKEN = "overtaken"


DRAWN = [
    *(Fault.CRASH_BEFORE, Fault.CRASH_AFTER, Fault.THROTTLED),
    *(Fault.UNREACHABLE, Fault.LOST_ANSWER, Fault.CLIENT_RETRY),
]
"""Faults of any call. `PARTIAL` is only for requests about several things; `OVERTAKEN` comes about while one waits."""


class Errors(NamedTuple):
    """How a client tells that a call failed."""

    throttled: Callable[[], Exception]
    """Refused: nothing was done."""
    unreachable: Callable[[], Exception]
    """Never arrived: nothing was done."""
    unknown: Callable[[], Exception]
    """No answer in time: it may have been done."""


class Process:
    """One invocation."""

    def __init__(self, name: str, kind: str, started_ms: int, work: Callable[[], Any]) -> None:
        self.name = name
        self.kind = kind
        """`turn`, `sweep` or `janitor`: whose steps they are."""
        self.started_ms = started_ms
        self.keys: set[Any] = set()
        """Checkpoints that it works on."""
        self.publishing = False
        """Whether its commit is made and not yet cleared: what it publishes then is step 7, not 2."""
        self.loaded = False
        """Whether it has read all of its checkpoints once."""
        self.answer: Any = None
        self.error: Exception | None = None
        self.killed = False
        self._work = work
        self._greenlet = greenlet(self._run)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return not self.killed and not self._greenlet.dead

    @property
    def succeeded(self) -> bool:
        """Whether it ended with an answer."""
        return not self.alive and not self.killed and self.error is None

    def resume(self) -> None:
        """Run until its next call, or its end."""
        self._greenlet.switch()

    def kill(self) -> None:
        """End it where it stands."""
        self.killed = True
        if self._greenlet:  # it has begun
            self._greenlet.throw(Killed)

    def pause(self) -> None:
        """Called within the process: give way to the scheduler."""
        parent = getcurrent().parent
        assert parent is not None
        parent.switch()

    def _run(self) -> None:
        try:
            self.answer = self._work()
            self.pause()  # between the last effect and the answer
        except Killed:
            self.killed = True
        except Exception as error:  # noqa: BLE001 - what a function raises is its answer
            self.error = error


class Calls:
    """The one door through which every call of every process goes."""

    def __init__(self, choices: Choices, fault_percent: float) -> None:
        self.choices = choices
        self.calm = False
        """No more faults."""
        self.running: Process
        """Whose code runs now."""
        self.coverage: Counter[tuple[str, Fault]] = Counter()
        """Step and fault to how often it happened."""
        self.steps: Counter[str] = Counter()
        self.effects: Counter[Any] = Counter()
        """How often each checkpoint was written."""
        self.story: list[str] = []
        self._fault_percent = fault_percent

    @property
    def faults(self) -> int:
        """How many happened."""
        return self.coverage.total()

    def tell(self, text: str) -> None:
        """A line of the story, of the process that runs."""
        self.story.append(f"{self.running.name}: {text}")

    def through(
        self, what: str, effect: Callable[[], T], errors: Errors, part: Callable[[], object] | None = None
    ) -> T:
        """One call: the process waits for its turn, then something may go wrong.

        Args:
            what: step of the protocol.
            effect: what the call does.
            errors: how its client tells of failures.
            part: does some of it, for a request about several things that can be done in part.
        """
        process = self.running
        step = f"{process.kind} {what}"
        self.steps[step] += 1
        writes = self._writes(process)
        process.pause()
        if self._writes(process) != writes:
            self.count(step, Fault.OVERTAKEN)
        if self.calm or not self.choices.chance(self._fault_percent):
            return effect()
        fault = self.choices.among(DRAWN if part is None else [*DRAWN, Fault.PARTIAL])
        self.count(step, fault)
        self.tell(f"{what}: {fault}")
        if fault is Fault.PARTIAL and part is not None:
            part()
            raise errors.unknown()
        return self._disturbed(fault, effect, errors)

    def count(self, step: str, fault: Fault) -> None:
        """Note that it happened."""
        self.coverage[step, fault] += 1

    def each(self, what: str, items: Sequence[T], action: Callable[[T], None], errors: Errors) -> None:
        """One call per item, as parallel requests: when one fails, each of the others was made or not.

        Raises:
            Exception: the first failure.
        """
        failure: Exception | None = None
        done = 0
        for item in self.choices.shuffled(items):
            if failure is not None and self.choices.chance(50):
                continue
            try:
                self.through(what, lambda item=item: action(item), errors)  # type: ignore[misc]
                done += 1
            except Exception as error:  # noqa: BLE001 - raised below, after the others
                failure = failure or error
        if failure is not None:
            if done:
                self.count(f"{self.running.kind} {what}", Fault.PARTIAL)
            raise failure

    def _disturbed(self, fault: Fault, effect: Callable[[], T], errors: Errors) -> T:
        match fault:
            case Fault.CRASH_BEFORE:
                raise Killed
            case Fault.CRASH_AFTER:
                effect()
                raise Killed
            case Fault.THROTTLED:
                raise errors.throttled()
            case Fault.UNREACHABLE:
                raise errors.unreachable()
            case Fault.LOST_ANSWER:
                effect()
                raise errors.unknown()
            case _:  # the client's own retry of a request whose answer got lost
                effect()
                return effect()

    def _writes(self, process: Process) -> int:
        return sum(self.effects[key] for key in process.keys)
