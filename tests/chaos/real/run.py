"""One run on real parts, with faults, and the verdict."""

import contextlib
import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from headrace_cli.audit.audit import Audit, Roles, audit
from headrace_cli.audit.published import PublishedLake
from headrace_cli.audit.spool import Spool
from headrace_cli.errors import CommandError
from headrace_cli.generator import streams as generator
from headrace_cli.kafka.server import KafkaServer
from headrace_cli.local.aws_server import LocalAws
from headrace_cli.local.broker import PARTITIONS, RunBroker
from headrace_cli.local.deployment import Deployment, build_for_runtime
from headrace_cli.local.dynamodb_local import DynamoDBLocal
from headrace_cli.local.run import Feeds, close_windows
from headrace_cli.local.stores import LocalStores, on_servers
from headrace_cli.sources.source import SourceRecord
from kafka_esm import FunctionError, Invocation

from .environments import Ambush, Environments, Zombies, counts
from .kafka_log import lost_or_added
from .mappings import Mappings
from .plan import Fault, faults

ROLES = Roles(clicks="clicks", logs="logs")
MOST_S = 3_600
"""Longest run."""
ROUND_S = 180
"""A round of faults takes no longer, if the machine is not very slow."""
STRIKE_S = 30.0
"""So long a fault waits for an invocation to hit; after that it counts as missed."""
STALL_S = 120.0
DELIVERY_S = 100.0
"""A killed broker is back by then, also on a busy machine."""
SWEEP_EVERY_S = 1.0
SWEEPER = "Sweeper"
NEVER_IDLE_MS = 24 * 3_600_000
"""The sweeper closes no window while records come: the audit knows of no ticks in between."""

Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What happened, and what came out."""

    seed: int
    brokers: int
    seconds: float = 0.0
    records: int = 0
    """Acknowledged by Kafka."""
    faults: Counter[str] = field(default_factory=Counter)
    """By kind, those that struck."""
    missed: Counter[str] = field(default_factory=Counter)
    """By kind, those that waited for an invocation in vain."""
    invocations: Counter[str] = field(default_factory=Counter)
    """By outcome, as the mappings saw it."""
    sweeps: Counter[str] = field(default_factory=Counter)
    """By outcome, while records came."""
    sweep_totals: Counter[str] = field(default_factory=Counter)
    """What the sweeper answered: partitions visited, recovered, overtaken."""
    zombies: Counter[str] = field(default_factory=Counter)
    """By outcome, after they were continued."""
    zombie_totals: Counter[str] = field(default_factory=Counter)
    """What those answered that succeeded."""
    totals: Counter[str] = field(default_factory=Counter)
    """What the functions answered: records applied, skipped, conflicts."""
    verdict: Audit | None = None
    log_differences: list[str] = field(default_factory=list)
    """Where Kafka's log is not what Kafka acknowledged."""

    @property
    def exact(self) -> bool:
        """Whether every row is right and no acknowledged record is lost."""
        return self.verdict is not None and self.verdict.exact and not self.log_differences

    def note(self, invocation: Invocation) -> None:
        """Take one attempt of a mapping in."""
        self.invocations[invocation.outcome] += 1
        self.totals.update(counts(invocation.response))


def run(folder: Path, *, seed: int, seconds: float, brokers: int, rate: int, tell: Tell) -> Outcome:
    """Run for so long, and at least one round of faults.

    Args:
        folder: for Kafka's data, the acknowledged records and `functions.log`.
        seed: of faults and records.
        seconds: for how long faults happen.
        brokers: 1 or 3.
        rate: records a second.
        tell: gets a line for whatever happens.

    Raises:
        CommandError: a part could not be started, or nothing moved for `STALL_S`.
        KafkaEsmError: a mapping failed.
    """
    outcome = Outcome(seed, brokers)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "functions.log").open("w", buffering=1))
        write = functools.partial(print, file=log)
        tell("building the functions")
        build_for_runtime(write)
        kafka = stack.enter_context(KafkaServer(folder / "kafka", brokers, notify=tell))
        for topic in ROLES:
            kafka.create_topic(topic, PARTITIONS)
        stores = on_servers(stack.enter_context(LocalAws()), stack.enter_context(DynamoDBLocal(notify=tell)))
        spool = stack.enter_context(Spool(folder))
        deployment = Deployment(RunBroker(kafka.bootstrap_servers, ROLES, "headrace"), stores.environment, "rie")
        chaos = _Chaos(kafka, deployment, spool, outcome, write, tell)
        chaos.run(seconds, rate)
        tell("closing the windows")
        close_windows(deployment, write, lambda *_: None)
        tell("auditing")
        outcome.log_differences = lost_or_added(kafka.bootstrap_servers, [*ROLES], PARTITIONS, spool)
        outcome.verdict = _audited(stores, deployment, spool)
    return outcome


def _audited(stores: LocalStores, deployment: Deployment, spool: Spool) -> Audit:
    produced = {partition: spool.records(partition) for partition in spool.partitions()}
    lake = PublishedLake(stores.objects)
    return audit(produced, lake, stores.books(deployment.application), ROLES, deployment.rules())


class _Chaos:
    """The running parts, and the hand that breaks them."""

    def __init__(
        self, kafka: KafkaServer, deployment: Deployment, spool: Spool, outcome: Outcome, log: Tell, tell: Tell
    ) -> None:
        self._kafka = kafka
        self._outcome = outcome
        self._spool = spool
        self._tell = tell
        self._ambush = Ambush()
        self._zombies = Zombies()
        self._revival: threading.Thread | None = None
        self._failures: list[Exception] = []
        self._over = threading.Event()
        sweeper = deployment.sweeper()
        sweeper = replace(sweeper, environment={**sweeper.environment, "HEADRACE_IDLE_TIMEOUT_MS": str(NEVER_IDLE_MS)})

        def environments(name: str, function) -> Environments:
            return Environments(name, lambda: deployment.invoker(function, log), self._ambush, self._zombies)

        self._sweeper = environments(SWEEPER, sweeper)
        self._mappings = Mappings(
            deployment.mappings(),
            kafka.bootstrap_servers,
            lambda mapping: environments(mapping.name, mapping.function),
            outcome.note,
            tell,
        )

    def run(self, seconds: float, rate: int) -> None:
        """Produce, deliver and break until the time is up; then let everything come to an end."""
        started_s = time.monotonic()
        sweeps = threading.Thread(target=self._sweep, daemon=True)
        with ExitStack() as stack:
            stack.callback(self._join_revival)  # a broker started after the cluster's end would be nobody's
            stack.callback(self._zombies.wait)
            stack.callback(self._mappings.stop, 10.0)
            stack.callback(self._stop_sweeper, sweeps)
            self._mappings.start()
            sweeps.start()
            servers = self._kafka.bootstrap_servers
            feeds = Feeds(self._sources(rate, seconds), servers, self._spool, self._mappings, DELIVERY_S)
            stack.callback(feeds.stop)
            feeds.start()
            self._break(feeds, started_s, seconds)
            self._over.set()
            self._tell("faults are over, delivering the rest")
            self._wait_for_broker()
            self._until_produced(feeds)
            self._mappings.drain(lambda: self._outcome.invocations["success"], STALL_S)
        self._mappings.check()
        self._outcome.seconds = time.monotonic() - started_s
        self._outcome.records = feeds.produced()
        self._outcome.zombies = self._zombies.outcomes
        self._outcome.zombie_totals = self._zombies.totals

    def _sources(self, rate: int, seconds: float) -> dict[str, Callable[[], Iterator[SourceRecord]]]:
        # Event time goes much faster than the clock, so that windows and sessions close all the time.
        longest_s = int(1.5 * seconds) + ROUND_S
        seed, start_ms = self._outcome.seed, time.time_ns() // 1_000_000 - generator.SPAN_MS
        clicks, logs = rate * 2 // 3, rate - rate * 2 // 3
        return {
            ROLES.clicks: lambda: self._paced(generator.clicks(clicks * longest_s, seed, start_ms), clicks),
            ROLES.logs: lambda: self._paced(generator.service_logs(logs * longest_s, seed, start_ms), logs),
        }

    def _paced(self, records: Iterator[SourceRecord], rate: int) -> Iterator[SourceRecord]:
        started_s = time.monotonic()
        for number, record in enumerate(records):
            self._over.wait(max(0.0, started_s + number / rate - time.monotonic()))
            if self._over.is_set():
                return
            yield record

    def _break(self, feeds: Feeds, started_s: float, seconds: float) -> None:
        for number, of_round in enumerate(faults(self._outcome.seed)):
            for fault in of_round:
                time.sleep(fault.after_s)
                feeds.done()
                self._check()
                if number and time.monotonic() - started_s > seconds:
                    return
                struck = self._apply(fault)
                (self._outcome.faults if struck else self._outcome.missed)[fault.kind] += 1
            if time.monotonic() - started_s > seconds:
                return

    def _apply(self, fault: Fault) -> bool:
        match fault.kind:
            case "broker killed":
                self._kill_broker(fault)
            case "mappings restarted":
                self._wait_for_broker()  # before the first contact a mapping takes an absent broker for a wrong address
                self._tell(f"{fault.kind}, {'orderly' if fault.orderly else 'cut off'}")
                self._mappings.restart(orderly=fault.orderly)
            case _:
                names = self._mappings.names
                victim = SWEEPER if fault.kind == "sweeper killed" else names[fault.victim % len(names)]
                struck = self._ambush.strike(fault, victim, STRIKE_S)
                self._tell(f"{fault.kind if struck else f'{fault.kind}: missed'}, {victim}")
                return struck
        return True

    def _kill_broker(self, fault: Fault) -> None:
        self._wait_for_broker()
        broker = self._kafka.brokers[fault.victim % len(self._kafka.brokers)]
        self._tell(f"{fault.kind}, {broker.node.node_id}, for {fault.lasts_s:.1f} s and a start")
        self._kafka.kill(broker.node.node_id)
        self._revival = threading.Thread(target=self._revive, args=[fault.lasts_s], daemon=True)
        self._revival.start()

    def _revive(self, after_s: float) -> None:
        self._over.wait(after_s)
        try:
            self._kafka.start()
            self._tell("broker is back")
        except Exception as error:  # noqa: BLE001 - raised by `_check`
            self._failures.append(error)

    def _wait_for_broker(self) -> None:
        self._join_revival()
        self._check()

    def _join_revival(self) -> None:
        if self._revival is not None:
            self._revival.join()

    def _check(self) -> None:
        if self._failures:
            raise self._failures[0]
        self._mappings.check()

    def _until_produced(self, feeds: Feeds) -> None:
        deadline_s = time.monotonic() + STALL_S
        while not feeds.done():
            if time.monotonic() > deadline_s:
                raise CommandError(f"Kafka did not take the last records in {STALL_S:g} s")
            time.sleep(0.1)

    def _sweep(self) -> None:
        while not self._over.wait(SWEEP_EVERY_S):
            try:
                self._outcome.sweep_totals.update(counts(self._sweeper.invoke(b"{}")))
                self._outcome.sweeps["success"] += 1
            except FunctionError as error:
                self._outcome.sweeps[error.error_type] += 1

    def _stop_sweeper(self, thread: threading.Thread) -> None:
        self._over.set()
        thread.join(STALL_S)
        with contextlib.suppress(OSError):
            self._sweeper.close()
