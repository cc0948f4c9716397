"""All mappings of a template at work, a thread each."""

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import NamedTuple, Self

from kafka_esm.errors import DrainTimeoutError
from kafka_esm.invoker import Invoker
from kafka_esm.mapping import Mapping
from kafka_esm.poller import Backoff, Clock, Invocation, Notice, Policy, Poller, monotonic_ms

_LOOK_SECONDS = 0.02

InvokerFactory = Callable[[Mapping], Invoker]
"""Makes the invoker of one mapping: its execution environment."""


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
    ) -> None:
        self._mappings = [mapping for mapping in mappings if mapping.enabled]
        self._servers = bootstrap_servers
        self._invoker_factory = invoker_factory
        self._policy = Policy(clock, backoff or Backoff(), max_attempts, on_invocation, on_event)
        self._invokers: list[Invoker] = []
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
                self._invokers.append(self._invoker_factory(mapping))
        except BaseException:
            self._close_invokers()
            raise
        for mapping, invoker in zip(self._mappings, self._invokers, strict=True):
            poller = Poller(mapping, self._servers, invoker, self._policy)
            # A daemon: a handler that never returns must not keep the process from ending.
            thread = threading.Thread(target=self._run, args=[poller], name=mapping.name, daemon=True)
            self._pollers.append(poller)
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
            waiting = [poller for poller, request in requests if not poller.is_drained(request)]
            if not waiting:
                return
            if time.monotonic() > deadline:
                states = {poller.mapping.name: poller.state for poller in waiting}
                raise DrainTimeoutError(states, timeout_seconds)
            time.sleep(_LOOK_SECONDS)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """Stop all mappings, giving a running invocation so long to end before it is cut off.

        A handler in this process cannot be cut off; its thread is left behind.
        """
        for poller in self._pollers:
            poller.stop()
        self._join(grace_seconds)
        self._close_invokers()
        self._join(1.0)
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

    def _join(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _close_invokers(self) -> None:
        while self._invokers:
            self._invokers.pop().close()
