"""All mappings of a template at work, a thread each."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from kafka_esm.chaos import ChaosPlan, Fault
from kafka_esm.chaos_invoker import ChaosInvoker
from kafka_esm.errors import DrainTimeoutError
from kafka_esm.invoker import Invoker
from kafka_esm.mapping import Mapping
from kafka_esm.poller import Backoff, Clock, Invocation, Notice, Policy, Poller, monotonic_ms

_LOOK_SECONDS = 0.02

InvokerFactory = Callable[[Mapping], Invoker]
"""Makes an invoker of one mapping: an execution environment. Under chaos it is called twice."""


class Position(NamedTuple):
    """A partition, as one mapping sees it."""

    mapping: str
    """Name of the mapping."""
    topic: str
    """Name of the topic."""
    partition: int
    """Number of the partition."""


class Emulator:
    """Runs the enabled mappings until stopped.

    A mapping that fails stops; the others go on. Its error is raised once, by the next of `check`,
    `wait_drained`, or the end of the `with` block.
    """

    def __init__(
        self,
        mappings: Iterable[Mapping],
        bootstrap_servers: str,
        invoker_factory: InvokerFactory,
        *,
        clock: Clock = monotonic_ms,
        backoff: Backoff | None = None,
        max_attempts: int | None = None,
        on_invocation: Callable[[Invocation], None] = lambda _: None,
        on_event: Callable[[Notice], None] = lambda _: None,
        chaos: int | None = None,
    ) -> None:
        """Say what runs, and how.

        Args:
            mappings: those that are not enabled are left out.
            bootstrap_servers: the brokers.
            invoker_factory: makes the functions' execution environments.
            clock: milliseconds, for batching windows and durations.
            backoff: between attempts.
            max_attempts: of a function on one batch before the mapping gives up.
            on_invocation: called after every attempt, in the mapping's thread.
            on_event: called with everything else, in the mapping's thread.
            chaos: a seed: faults are injected as `ChaosPlan` deals them; None: none are.
        """
        self._mappings = [mapping for mapping in mappings if mapping.enabled]
        self._servers = bootstrap_servers
        self._invoker_factory = invoker_factory
        self._policy = Policy(clock, backoff or Backoff(), max_attempts, on_invocation, on_event)
        self._chaos = chaos
        self._injected: Counter[Fault] = Counter()
        self._counting = threading.Lock()
        self._invokers: list[Invoker] = []
        self._chaotic: dict[str, ChaosInvoker] = {}
        self._pollers: list[Poller] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []

    def start(self) -> Self:
        """Make the invokers, then start the threads.

        Raises:
            KafkaEsmError: what `invoker_factory` raises; nothing is left running then.
        """
        try:
            for mapping in self._mappings:
                self._pollers.append(self._poller(mapping))
        except BaseException:
            self._pollers.clear()
            self._close_invokers()
            raise
        for poller in self._pollers:
            # A daemon: a handler that never returns must not keep the process from ending.
            thread = threading.Thread(target=self._run, args=[poller], name=poller.mapping.name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def positions(self) -> dict[Position, int]:
        """Return the committed next offsets; a producer may pace itself by them."""
        return {
            Position(poller.mapping.name, *source): offset
            for poller in self._pollers
            for source, offset in poller.positions().items()
        }

    def injected(self) -> dict[str, int]:
        """Return how many faults of each kind were injected; empty without chaos."""
        return {} if self._chaos is None else {str(fault): self._injected[fault] for fault in Fault}

    def check(self) -> None:
        """Raise the error of a mapping that failed, if there is one that was not raised yet."""
        if self._failures:
            raise self._failures.pop(0)

    def wait_drained(self, timeout_seconds: float) -> None:
        """Wait until everything that is in the topics now was delivered and committed.

        A topic that does not exist counts as not drained: its records may still come.

        Raises:
            DrainTimeoutError: the time was up; names the mappings and what they were doing.
            KafkaEsmError: a mapping failed.
        """
        requests = [(poller, poller.ask_drained()) for poller in self._pollers]
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.check()
            waiting = {poller.mapping.name: poller.state for poller, asked in requests if not poller.is_drained(asked)}
            waiting = waiting or self._stragglers()  # only now: as long as a mapping delivers it may leave another
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise DrainTimeoutError(waiting, timeout_seconds)
            time.sleep(_LOOK_SECONDS)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Stop all mappings, giving a running invocation so long to end before it is cut off.

        A handler in this process cannot be cut off; its thread is left behind.
        """
        for poller in self._pollers:
            poller.stop()
        deadline = time.monotonic() + grace_seconds
        self._join(deadline)
        for invoker in self._chaotic.values():
            invoker.wait_idle(max(0.0, deadline - time.monotonic()))
        self._close_invokers()
        self._join(time.monotonic() + 1.0)
        self._threads.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error or Ctrl-C nobody wants to wait for a handler.
        self.stop(grace_seconds=5.0 if error is None else 0.0)
        if error is None:
            self.check()

    def _run(self, poller: Poller) -> None:
        try:
            poller.run()
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._failures.append(error)

    def _poller(self, mapping: Mapping) -> Poller:
        if self._chaos is None:
            invoker = self._invoker_factory(mapping)
            self._invokers.append(invoker)
            return Poller(mapping, self._servers, invoker, self._policy)
        plan = ChaosPlan(self._chaos, mapping.name, partial(self._note_fault, mapping.name))
        make = partial(self._invoker_factory, mapping)
        chaotic = ChaosInvoker(make, mapping.function.timeout_seconds, plan)
        self._invokers.append(chaotic)
        self._chaotic[mapping.name] = chaotic
        return Poller(mapping, self._servers, chaotic, self._policy, plan)

    def _note_fault(self, mapping: str, fault: Fault, text: str) -> None:
        with self._counting:
            self._injected[fault] += 1
        self._policy.on_event(Notice(mapping, f"chaos: {text}", fault))

    def _stragglers(self) -> dict[str, str]:
        text = "the second invocation of a batch is still running"
        return {name: text for name, invoker in self._chaotic.items() if invoker.busy}

    def _join(self, deadline: float) -> None:
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _close_invokers(self) -> None:
        while self._invokers:
            self._invokers.pop().close()
