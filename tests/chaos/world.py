"""The world of a schedule: topic, stores, pollers, and the processes that are alive in it."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from chaos.calls import Calls, Process
from chaos.choices import Choices
from chaos.environments import Environment, Environments
from chaos.invariants import Watch
from chaos.operators import topology
from chaos.plan import Plan, drawn
from chaos.poller import Batch, Lane
from chaos.stores import Objects, SimulatedDynamoDB, SimulatedLog, SimulatedObjects
from chaos.topic import TOPIC, Topic
from samples import NOON_MS

from headrace import janitor
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.errors import PartitionsFailed, TopicRecreated
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.sweeper import Sweep, Sweeper
from headrace.topology import Topology

APPLICATION, PIPELINE = "headrace", "p"
IDLE_TIMEOUT_MS = 60_000
LIFETIME_MS = 900_000
"""Lambda ends an invocation after a quarter of an hour: no zombie is older."""
DAY_MS = 86_400_000


class World:
    """Everything that outlives a process, and the processes."""

    def __init__(self, choices: Choices, plan: Plan | None = None) -> None:
        self.choices = choices
        self.plan = plan or drawn(choices)
        self.idle_timeout_ms = IDLE_TIMEOUT_MS
        self.now_ms = NOON_MS + DAY_MS  # the records are old: a backfill
        self.calls = Calls(choices, self.plan.fault_percent)
        self.events: Counter[str] = Counter()
        """What happened besides faults at calls."""
        self.topics = [self.new_topic(self.plan.partitions)]
        self.inner = self.new_objects()
        self.watch = Watch(self)
        self.dynamodb = SimulatedDynamoDB(self.calls, self.watch.committed)
        self.objects = SimulatedObjects(self.inner, self.calls, self.watch.publishing)
        self.objects.on_delete = self.watch.deleting
        self.log = SimulatedLog(lambda: self.topic, self.calls)
        self.generations = ["1"]
        self.draining = False
        self.hidden: dict[str, bytes] = {}
        """Objects that somebody deleted by hand; an operator brings them back."""
        self.deleted: set[str] = set()
        """All that ever were."""
        self._topology = topology(self.plan.rules)
        self.store = DynamoDBCheckpointStore("table", self.dynamodb, sleep=lambda _: None)  # type: ignore[arg-type]
        self._ids = (f"id-{number}" for number in range(10**9))
        self._numbers = iter(range(1, 10**9))
        self._environments: dict[tuple[str, str], Environments] = {}
        """Function and generation to its environments."""
        self.alive: list[tuple[Process, Callable[[Process], None]]] = []
        self.lanes = self.new_lanes(range(self.plan.partitions))

    def new_objects(self) -> Objects:
        """Where the objects are, undisturbed."""
        return MemoryOutbox(clock_ms=lambda: self.now_ms)

    @property
    def topic(self) -> Topic:
        """The incarnation of the topic that exists now."""
        return self.topics[-1]

    def topic_of(self, generation: str) -> Topic:
        """The incarnation that a generation reads: after a topic was made again the last one reads the new one."""
        return self.topics[-1] if generation == self.generations[-1] and len(self.generations) > 1 else self.topics[0]

    @property
    def generation(self) -> str:
        """The one that consumes, or did last."""
        return self.generations[-1]

    def resume(self, index: int) -> None:
        """Let one of the processes run on until its next call."""
        process, done = self.alive[index]
        self.calls.running = process
        process.resume()
        if not process.alive:
            self.alive.pop(index)
            if process.killed:
                self.events["killed"] += 1
            done(process)

    def start(self, kind: str, work: Callable[[], Any], done: Callable[[Process], None], about: str) -> Process:
        """A new process; `done` is told when it has ended."""
        process = Process(f"{kind} {next(self._numbers)}", kind, self.now_ms, work)
        if kind != "turn":
            process.keys.update(self.dynamodb.items)
        self.alive.append((process, done))
        self.calls.running = process
        self.calls.tell(f"starts, {about}")
        return process

    def deliver(self, lane: Lane) -> None:
        """Send the lane's next batch, if it may send one."""
        if lane.current is not None or self.draining or (batch := lane.next_batch()) is None:
            return
        self.invoke(lane, batch)

    def invoke(self, lane: Lane, batch: Batch) -> None:
        """Send this batch."""
        how = lane.note_sent(batch)
        self.events[how] += 1
        self.events["partitions delivered to"] += len(batch.ranges)
        environment = self.environment("turn", lane.generation)
        records = lane.records(batch)
        about = ", ".join(f"{TOPIC}-{n} offsets {r[0].offset}-{r[-1].offset}" for n, r in records.items())

        def done(process: Process) -> None:
            self._answered(lane, batch, process)

        work = partial(environment.pipeline.handle, batch.event)
        about = f"generation {lane.generation}, environment {environment.name}, {how}: {about or 'no records'}"
        lane.current = environment.process = self.start("turn", work, done, about)

    def _answered(self, lane: Lane, batch: Batch, process: Process) -> None:
        if process.succeeded:
            self.watch.succeeded(lane, batch)
            self.calls.tell(f"succeeds: {dict(process.answer)}")
        elif process.error is not None:
            self.events["failed"] += 1
            self.watch.failed(process.error)
            self._note_named(process.error)
            self.calls.tell(f"fails: {process.error}")
        if lane.current is not process:
            self.events["zombie ended"] += 1
            return
        lane.current = None
        if process.succeeded:
            lane.settle(batch)

    def _note_named(self, error: Exception) -> None:
        causes = error.failures.values() if isinstance(error, PartitionsFailed) else [error]
        if any(isinstance(cause, TopicRecreated) for cause in causes):
            self.events["re-created topic stopped"] += 1

    def start_sweep(self) -> None:
        """The sweeper, of the generation that consumes."""
        environment = self.environment("sweep", self.generation)
        sweeper = Sweeper(
            {PIPELINE: environment.pipeline},
            self.store,
            self.log,
            application=APPLICATION,
            generation=self.generation,
            idle_timeout_ms=IDLE_TIMEOUT_MS,
            drain=self.draining,
        )
        work = partial(sweeper.sweep, self.now_ms)
        about = f"generation {self.generation}, environment {environment.name}"
        process = environment.process = self.start("sweep", work, self._swept, about)
        self.watch.sweep_started(process)
        self.events["sweep"] += 1

    def _swept(self, process: Process) -> None:
        if process.succeeded:
            sweep: Sweep = process.answer
            self.events["ticked"] += sweep.ticked
            self.events["sweep overtaken"] += sweep.overtaken
            for error in sweep.failures.values():
                self.watch.failed(error)
            self.calls.tell(f"ends: {sweep.ticked} ticked, {sweep.recovered} recovered, {len(sweep.failures)} failed")
            for name in sweep.unbalanced:
                self.watch.difference(f"the books of {name} do not balance")

    def start_janitor(self) -> None:
        """The janitor."""
        stores = (self.objects, self.objects, self.store)
        work = partial(janitor.clean, *stores, application=APPLICATION, now_ms=self.now_ms)
        self.start("janitor", work, self._cleaned, "")
        self.events["janitor"] += 1

    def _cleaned(self, process: Process) -> None:
        if process.error is not None:
            self.watch.failed(process.error)
            self.calls.tell(f"fails: {process.error}")
        elif process.succeeded:
            self.calls.tell(f"removes {process.answer} objects")

    def time_passes(self, by_ms: int) -> None:
        """Who is older than an invocation can be ends."""
        self.now_ms += by_ms
        self.calls.story.append(f"{by_ms / 1000:,.0f} s pass")
        for entry in [e for e in self.alive if self.now_ms - e[0].started_ms > LIFETIME_MS]:
            process, done = entry
            self.calls.running = process
            process.kill()
            self.alive.remove(entry)
            self.events["killed by its time-out"] += 1
            done(process)

    def run_all(self) -> None:
        """Until every process has ended."""
        while self.alive:
            self.resume(self.choices.below(len(self.alive)))

    def environment(self, function: str, generation: str) -> Environment:
        """A free one of the function, warm or new."""
        if (function, generation) not in self._environments:
            made = Environments(self.choices, partial(self.pipeline, generation))
            self._environments[function, generation] = made
        environment = self._environments[function, generation].take()
        self.events["cold start" if environment.process is None else "warm start"] += 1
        return environment

    def pipeline(self, generation: str, operators: Topology | None = None) -> Pipeline:
        """A pipeline that remembers nothing yet, on the simulated stores."""
        return Pipeline(
            PIPELINE,
            lambda _topic: operators or self._topology,
            self.store,
            self.objects,
            application=APPLICATION,
            generation=generation,
            gaps=self.plan.gaps,
            inline_state_bytes=self.plan.inline_state_bytes,
            inline_outbox_entries=self.plan.inline_outbox_entries,
            max_deltas=self.plan.max_deltas,
            warm_rows=self.plan.warm_rows,
            clock_ms=lambda: self.now_ms,
            new_id=lambda: next(self._ids),
        )

    def new_topic(self, partitions: int, **again: Any) -> Topic:
        """An incarnation of the topic."""
        pace = {"starts_at_ms": self.plan.operators.starts_at_ms, "step_ms": self.plan.operators.step_ms}
        return Topic(self.choices, partitions, self.plan.records, gaps=self.plan.gaps == "allow", **pace, **again)

    def new_lanes(self, partitions: range) -> list[Lane]:
        """Pollers for the partitions: one for all of them, one for each, or something between."""
        left = list(partitions)
        lanes = []
        while left:
            count = 1 + self.choices.below(len(left))
            lanes.append(Lane(self.generation, self.topic, left[:count], self.choices))
            left = left[count:]
        return lanes
