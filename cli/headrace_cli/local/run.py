"""One run of the whole application on this machine: produce, deliver until all is consumed, close the windows.

sources ──► broker ──► event source mappings ──► the functions ──► lake, checkpoints
                                                  the sweeper ──►
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple, Protocol

from headrace_cli.audit.records import Produced
from headrace_cli.audit.spool import Spool
from headrace_cli.errors import CommandError
from headrace_cli.kafka.producer import DELIVERY_TIMEOUT_S, produce
from headrace_cli.local.broker import RunBroker
from headrace_cli.local.deployment import Deployment, LogLine
from headrace_cli.sources.source import SourceRecord
from kafka_esm import DrainTimeoutError, Emulator, FunctionError, Invocation, Invoker, Position

UNREAD_BYTES = 2 * 1024 * 1024
"""Most bytes of a partition that a mapping has yet to consume: the embedded broker forgets more than 5 MB silently."""
ATTEMPTS = 4
"""Deliveries of one batch before the run fails; on AWS there is no end to them."""
STALL_S = 120.0
"""Without any progress for so long the run fails."""
SWEEPS = 10
STOP_GRACE_S = 10.0
"""After Ctrl-C, a handler that is writing gets so long before its stores are closed."""

_LOOK_S = 0.1


class Progress(Protocol):
    """Somebody who watches."""

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """What is going on, and how far it is."""
        ...


class Tally:
    """What the mappings delivered so far. Written by their threads."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.delivered: Counter[str] = Counter()
        """Records by function, each mapping's counted."""
        self.invocations: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        """By topic: records that came again and were applied before."""
        self.failures: list[str] = []
        """Why attempts failed."""
        self._lock = threading.Lock()

    def note(self, invocation: Invocation) -> None:
        """Take one attempt in."""
        with self._lock:
            if invocation.error is not None:
                self.failures.append(f"{invocation.function}: {invocation.error}")
                return
            self.delivered[invocation.function] += invocation.records
            self.invocations[invocation.function] += 1
            if isinstance(invocation.response, Mapping):
                topic = invocation.partitions[0][0].topic
                self.skipped[topic] += invocation.response.get("skipped", 0)
        self._progress("Delivering", self.delivered.total(), None)


class RunResult(NamedTuple):
    """How a run went."""

    tally: Tally
    seconds: float
    """From the first record to the last closed window."""
    sweeps: int
    chaos: Mapping[str, int] | None
    """The seed, and by kind the number of faults that were injected; None without chaos."""


def run(
    sources: Mapping[str, Callable[[], Iterator[SourceRecord]]],
    broker: RunBroker,
    deployment: Deployment,
    spool: Spool,
    *,
    on_log: LogLine,
    progress: Progress,
    chaos: int | None = None,
) -> RunResult:
    """Run until everything that the sources have is consumed and every window is closed.

    Args:
        sources: the records of each topic.
        broker: where to.
        deployment: what consumes them.
        spool: gets every record that the broker acknowledged.
        on_log: gets what functions print under the real runtime.
        progress: told what is going on.
        chaos: a seed: the event source mappings inject faults.

    Raises:
        CommandError: a source, the broker or a function failed, or nothing moved for `STALL_S`.
        KafkaEsmError: the mappings or the runtime failed.
    """
    progress("Starting the functions", 0, None)
    tally = Tally(progress)
    emulator = Emulator(
        deployment.mappings(),
        broker.servers,
        lambda mapping: deployment.invoker(mapping.function, on_log),
        max_attempts=ATTEMPTS,
        on_invocation=tally.note,
        on_event=lambda notice: on_log(f"{notice.mapping}: {notice.text}"),
        chaos=chaos,
    )
    started_s = _deliver_everything(emulator, Feeds(sources, broker.servers, spool, emulator), tally)
    sweeps = close_windows(deployment, on_log, progress)
    injected = None if chaos is None else {"seed": chaos, **emulator.injected()}
    return RunResult(tally, time.monotonic() - started_s, sweeps, injected)


def _deliver_everything(emulator: Emulator, feeds: "Feeds", tally: Tally) -> float:
    """Produce and consume; when the first record was sent, on the monotonic clock."""
    with ExitStack() as stack:
        stack.callback(emulator.stop, STOP_GRACE_S)
        emulator.start()
        stack.callback(feeds.stop)
        started_s = time.monotonic()
        feeds.start()
        _wait_until_consumed(emulator, feeds, tally)
    emulator.check()
    return started_s


class _Stopped(Exception):
    """The feed was asked to end."""


class Positions(Protocol):
    """Whoever knows how far the mappings are."""

    def positions(self) -> Mapping[Position, int]:
        """The next offset of each mapping's partitions."""
        ...


class Feeds:
    """A thread per topic that produces, held back by the slowest mapping of the topic."""

    def __init__(
        self,
        sources: Mapping[str, Callable[[], Iterator[SourceRecord]]],
        servers: str,
        spool: Spool,
        emulator: Positions,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        self._servers = servers
        self._spool = spool
        self._emulator = emulator
        self._delivery_timeout_s = delivery_timeout_s
        self._stop = threading.Event()
        self._failures: list[Exception] = []
        self._threads = [
            threading.Thread(target=self._feed, args=[topic, source], name=f"feed-{topic}", daemon=True)
            for topic, source in sources.items()
        ]
        self._topics = list(sources)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, with the records that are already on their way."""
        self._stop.set()
        for thread in self._threads:
            thread.join(STOP_GRACE_S)

    def produced(self) -> int:
        """How many records the broker acknowledged."""
        return sum(map(self._spool.count, self._topics))

    def done(self) -> bool:
        """Whether all is produced.

        Raises:
            Exception: what a thread failed with.
        """
        if self._failures:
            raise self._failures[0]
        return not any(thread.is_alive() for thread in self._threads)

    def _feed(self, topic: str, source: Callable[[], Iterator[SourceRecord]]) -> None:
        try:
            produce(
                self._until_stopped(source()),
                self._servers,
                topic,
                on_delivery=lambda *facts: self._spool.add(Produced(topic, *facts)),
                pace=lambda: self._may_go_on(topic),
                delivery_timeout_s=self._delivery_timeout_s,
            )
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - it is raised by `done`, in the thread that waits
            self._failures.append(error)

    def _until_stopped(self, records: Iterable[SourceRecord]) -> Iterator[SourceRecord]:
        for record in records:
            if self._stop.is_set():
                raise _Stopped
            yield record

    def _may_go_on(self, topic: str) -> bool:
        if self._stop.is_set():
            raise _Stopped
        consumed = self._emulator.positions()
        return all(
            self._spool.bytes_from((topic, place.partition), offset) <= UNREAD_BYTES
            for place, offset in consumed.items()
            if place.topic == topic
        )


def _wait_until_consumed(emulator: Emulator, feeds: Feeds, tally: Tally) -> None:
    delivered, since_s = -1, time.monotonic()
    while not feeds.done():
        emulator.check()
        if tally.delivered.total() != delivered:
            delivered, since_s = tally.delivered.total(), time.monotonic()
        elif time.monotonic() - since_s > STALL_S:
            raise CommandError(f"no function took a batch for {STALL_S:g} s while records were waiting")
        time.sleep(_LOOK_S)
    while True:
        delivered = tally.delivered.total()
        try:
            emulator.wait_drained(STALL_S)
        except DrainTimeoutError:
            if tally.delivered.total() == delivered:
                raise
        else:
            return


def close_windows(deployment: Deployment, on_log: LogLine, progress: Progress) -> int:
    """Sweep until there is nothing left to do; how often that was."""
    progress("Closing the windows", 0, None)
    invoker = deployment.invoker(deployment.sweeper(), on_log)
    with contextlib.closing(invoker):
        for sweep in range(1, SWEEPS + 1):
            if not _sweep(invoker):
                return sweep
    raise CommandError(f"the sweeper found something to do {SWEEPS} times in a row")


def _sweep(invoker: Invoker) -> bool:
    """Whether the sweeper changed anything, so that there may be more to do."""
    try:
        answer = invoker.invoke(b"{}")
    except FunctionError as error:
        raise CommandError(f"the sweeper failed: {error}") from error
    if not isinstance(answer, dict):
        raise CommandError(f"the sweeper answered {answer!r:.100}")
    return any(answer[name] for name in ("recovered", "ticked", "overtaken"))
