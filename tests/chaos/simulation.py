"""One schedule: real pipelines, sweepers and janitors, interleaved and disturbed as its choices say.

First a stretch of chaos, then a calm one in which everything comes to its end; `verdict` compares what came out.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

from chaos.calls import Calls, Process
from chaos.choices import Choices
from chaos.invariants import Watch
from chaos.oracle import Rules
from chaos.poller import Batch, Lane
from chaos.stores import SimulatedDynamoDB, SimulatedLog, SimulatedObjects
from chaos.topic import MAX_SKEW_MS, TOPIC, Topic
from samples import HIT_AVSC, NOON_MS

from headrace import janitor, schema
from headrace.aggregates import Count, First, Last, Sum
from headrace.codec import JsonCodec
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace.errors import FingerprintChanged, PartitionsFailed, TopicRecreated
from headrace.operators import Land
from headrace.outbox import STAGING, MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.sessions import Sessions
from headrace.sweeper import Sweep, Sweeper
from headrace.topology import Topology
from headrace.tumbling import Tumbling
from headrace.windows import SessionWindows, TumblingWindows

APPLICATION, PIPELINE = "headrace", "p"
IDLE_TIMEOUT_MS = 60_000
LIFETIME_MS = 900_000
"""Lambda ends an invocation after a quarter of an hour: no zombie is older."""
DAY_MS = 86_400_000
EXPIRY_DAYS = 90
"""Lifecycle rule of `staging/`."""
STEPS = 260
"""Of the scheduler, in the stretch of chaos."""
SWEEPS = 8
"""More than it takes to close everything without a fault."""
CALM_DELIVERIES = 400
"""More than any schedule needs: one that needs more does not come to an end."""

_CODEC = JsonCodec(schema.parse(HIT_AVSC))


class Plan(NamedTuple):
    """What a schedule is about, decided before it starts."""

    partitions: int
    grows_to: int
    records: int
    """At most, per partition."""
    rules: Rules
    inline_state_bytes: int
    inline_outbox_entries: int
    gaps: Literal["allow", "forbid"]
    fault_percent: float
    audited: bool
    """Whether `headrace audit` looks at what came out: at every file, which takes as long as all the rest."""
    ending: str
    """What happens to the topic or the generation: `none`, `new generation` or `topic re-created`."""


def plan(choices: Choices) -> Plan:
    """Decide."""
    grows = choices.chance(5)
    partitions = 4 if grows else 1 + choices.among((0, 0, 0, 1, 1, 2, 3))
    endings = ("none", "none", "none", "none", "none", "new generation", "new generation", "topic re-created")
    return Plan(
        partitions=partitions,
        grows_to=8 if grows else partitions,
        records=6 if grows else choices.among((12, 20, 8)),
        rules=Rules(10, 10, choices.among((0, 5, 12)), choices.among((0, 0, 7)), MAX_SKEW_MS),
        inline_state_bytes=choices.among((4096, 100, 0)),
        inline_outbox_entries=choices.among((100, 2, 0)),
        gaps=choices.among(("allow", "allow", "forbid")),
        fault_percent=choices.among((6, 10, 16)),
        audited=choices.chance(25),
        ending="none" if grows else choices.among(endings),
    )


def topology(rules: Rules) -> Topology:
    """Both kinds of windows and landing, over one topic."""
    pages = Tumbling(
        table="pages",
        window=TumblingWindows(size_ms=rules.window_ms),
        key=("page",),
        aggregates={"events": Count(), "value_sum": Sum("value")},
    )
    sessions = Sessions(
        table="sessions",
        window=SessionWindows(gap_ms=rules.gap_ms),
        key=("user",),
        aggregates={"events": Count(), "first_page": First("page"), "last_page": Last("page")},
    )
    return Topology(
        codec=_CODEC,
        operators=(pages, sessions, Land()),
        event_time="at",
        out_of_orderness_ms=rules.out_of_orderness_ms,
        allowed_lateness_ms=rules.lateness_ms,
        max_skew_ms=rules.max_skew_ms,
    )


class Simulation:
    """One schedule at work."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.plan = plan(choices)
        self.idle_timeout_ms = IDLE_TIMEOUT_MS
        self.now_ms = NOON_MS + DAY_MS  # the records are old: a backfill
        self.calls = Calls(choices, self.plan.fault_percent)
        self.events: Counter[str] = Counter()
        """What happened besides faults at calls."""
        self.topics = [self._new_topic(self.plan.partitions)]
        self.inner = MemoryOutbox(clock_ms=lambda: self.now_ms)
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
        self._store = DynamoDBCheckpointStore("table", self.dynamodb, sleep=lambda _: None)  # type: ignore[arg-type]
        self._ids = (f"id-{number}" for number in range(10**9))
        self._numbers = iter(range(1, 10**9))
        self._alive: list[tuple[Process, Callable[[Process], None]]] = []
        self._ended = self._nothing_left = False
        self.lanes = self._new_lanes(range(self.plan.partitions))

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

    def run(self) -> None:
        """Chaos, then calm."""
        self.events["audited"] += self.plan.audited
        self.topic.produce()
        deck = [action for times, action in self._actions() for _ in range(times)]
        for _ in range(STEPS):
            self.choices.among(deck)()
            if self._nothing_left:
                break
        self._come_to_an_end()

    # ── the stretch of chaos ──

    def _actions(self) -> list[tuple[int, Callable[[], None]]]:
        """What the scheduler can do, and how often of 200 times; the first is the harmless one."""
        return [
            (131, self._go_on),
            (20, self._deliver_something),
            (12, self._give_up_on_one),
            (10, self._start_sweep),
            (8, self._some_time_passes),
            (4, self._start_janitor),
            (6, self._produce),
            (2, self._rewind),
            (2, self._vandal),
            (2, self._bring_about_the_ending),
            (1, self._deliver_nothing),
            (2, self._days_pass),
        ]

    def _go_on(self) -> None:
        """Whoever runs, runs on; where nobody does, the next records are delivered, then produced."""
        if self._alive:
            self._resume(self.choices.below(len(self._alive)))
        elif waiting := [lane for lane in self.lanes if lane.waiting]:
            self._deliver(waiting[0])
        elif not all(log.complete for log in self.topic.logs):
            self.topic.produce()
        elif not self._ended:
            self._bring_about_the_ending()
        else:
            self._nothing_left = True

    def _produce(self) -> None:
        self.topic.produce()

    def _deliver_something(self) -> None:
        self._deliver(self.choices.among(self.lanes))

    def _resume(self, index: int) -> None:
        process, done = self._alive[index]
        self.calls.running = process
        process.resume()
        if not process.alive:
            self._alive.pop(index)
            if process.killed:
                self.events["killed"] += 1
            done(process)

    def _start(self, kind: str, work: Callable[[], Any], done: Callable[[Process], None], about: str) -> Process:
        process = Process(f"{kind} {next(self._numbers)}", kind, self.now_ms, work)
        if kind != "turn":
            process.keys.update(self.dynamodb.items)
        self._alive.append((process, done))
        self.calls.running = process
        self.calls.tell(f"starts, {about}")
        return process

    def _deliver(self, lane: Lane) -> None:
        if lane.current is not None or self.draining or (batch := lane.next_batch()) is None:
            return
        self._invoke(lane, batch)

    def _invoke(self, lane: Lane, batch: Batch) -> None:
        how = lane.note_sent(batch)
        self.events[how] += 1
        self.events["partitions delivered to"] += len(batch.ranges)
        pipeline = self._pipeline(lane.generation)
        records = lane.records(batch)
        about = ", ".join(f"{TOPIC}-{n} offsets {r[0].offset}-{r[-1].offset}" for n, r in records.items())

        def done(process: Process) -> None:
            self._answered(lane, batch, process)

        work = partial(pipeline.handle, batch.event)
        lane.current = self._start("turn", work, done, f"generation {lane.generation}, {how}: {about or 'no records'}")

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

    def _give_up_on_one(self) -> None:
        """The poller believes that the invocation timed out; it goes on as a zombie, and its batch comes again."""
        running = [lane for lane in self.lanes if lane.current is not None]
        if not running:
            return
        lane = self.choices.among(running)
        lane.current = None
        self.events["zombie"] += 1
        if self.choices.chance(60) and lane.batch is not None and not self.draining:
            self.events["twice at once"] += 1
            self._invoke(lane, lane.batch)

    def _start_sweep(self) -> None:
        sweeper = Sweeper(
            {PIPELINE: self._pipeline(self.generation)},
            self._store,
            self.log,
            application=APPLICATION,
            generation=self.generation,
            idle_timeout_ms=IDLE_TIMEOUT_MS,
            drain=self.draining,
        )
        work = partial(sweeper.sweep, self.now_ms)
        process = self._start("sweep", work, self._swept, f"generation {self.generation}")
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

    def _start_janitor(self) -> None:
        stores = (self.objects, self.objects, self._store)
        work = partial(janitor.clean, *stores, application=APPLICATION, now_ms=self.now_ms)
        self._start("janitor", work, self._cleaned, "")
        self.events["janitor"] += 1

    def _cleaned(self, process: Process) -> None:
        if process.error is not None:
            self.watch.failed(process.error)
            self.calls.tell(f"fails: {process.error}")
        elif process.succeeded:
            self.calls.tell(f"removes {process.answer} objects")

    def _some_time_passes(self) -> None:
        self._time_passes(self.choices.among((1_000, 61_000, 300_000, 1_000_000)))

    def _time_passes(self, by_ms: int) -> None:
        """Who is older than an invocation can be ends."""
        self.now_ms += by_ms
        self.calls.story.append(f"{by_ms / 1000:,.0f} s pass")
        for entry in [e for e in self._alive if self.now_ms - e[0].started_ms > LIFETIME_MS]:
            process, done = entry
            self.calls.running = process
            process.kill()
            self._alive.remove(entry)
            self.events["killed by its time-out"] += 1
            done(process)

    def _days_pass(self) -> None:
        """Long enough for the janitor, or for the lifecycle rule; nothing is pending by then, as an alarm sees to."""
        days = self.choices.among((2, EXPIRY_DAYS + 1))
        if days > EXPIRY_DAYS and self.watch.pending():
            return
        self._time_passes(days * DAY_MS)
        self.events[f"{days} days"] += 1
        if days > EXPIRY_DAYS:
            older_than_ms = self.now_ms - EXPIRY_DAYS * DAY_MS
            self.inner.delete(list(self.inner.keys(f"{STAGING}/", older_than_ms=older_than_ms)))
            self.calls.story.append(f"what was staged more than {EXPIRY_DAYS} days ago expires")
        else:
            for _ in range(self.choices.below(3)):
                self._start_janitor()

    def _rewind(self) -> None:
        lane = self.choices.among(self.lanes)
        if lane.current is None:
            lane.rewind()
            self.events["poller restarted"] += 1

    def _vandal(self) -> None:
        """Somebody deletes what a checkpoint names, or brings it back."""
        if self.hidden:
            self._restore()
            return
        named = sorted(self.watch.named())
        if named:
            key = self.choices.among(named)
            self.hidden[key] = self.inner.read(key)
            self.inner.delete([key])
            self.deleted.add(key)
            self.events["object deleted by hand"] += 1
            self.calls.story.append(f"somebody deletes {key}")

    def _restore(self) -> None:
        for key in self.hidden:
            self.calls.story.append(f"somebody brings {key} back")
        self.inner.stage(self.hidden)
        self.hidden.clear()

    def _deliver_nothing(self) -> None:
        lane = self.choices.among(self.lanes)
        if lane.current is None and not self.draining:
            self.events["empty batch"] += 1
            self._invoke(lane, lane.made({}))

    # ── what becomes of topic and generation ──

    def _bring_about_the_ending(self) -> None:
        if self.draining:
            self._start_new_generation()
            return
        if self._ended:
            return
        self._ended = True
        if self.plan.grows_to > self.plan.partitions:
            self.topic.grow(self.plan.grows_to)
            self.lanes += self._new_lanes(range(self.plan.partitions, self.plan.grows_to))
            self.events["partitions added"] += 1
        elif self.plan.ending == "topic re-created":
            self._re_create_topic()
        elif self.plan.ending == "new generation":
            self._drain()

    def _re_create_topic(self) -> None:
        """The group's offsets go with a topic: the mapping begins again, and has to be stopped by the checkpoints."""
        if len(self.dynamodb.items) < len(self.topic.logs):
            self._drain()  # a partition without a checkpoint would take the new topic for the old one, and rightly so
            return
        self.events["topic re-created"] += 1
        partitions = len(self.topic.logs)
        newest_ms = self.topic.newest_timestamp_ms
        self.topics.append(self._new_topic(partitions, timestamp_ms=newest_ms, again=True))
        self.topic.produce_all()
        self.lanes = self._new_lanes(range(partitions))
        self.calls.story.append("the topic is deleted and made again")

    def _drain(self) -> None:
        """Nobody consumes any more; what is running goes on as a zombie."""
        self.draining = True
        for lane in self.lanes:
            lane.current = None
        self.events["drain"] += 1
        self.calls.story.append(f"generation {self.generation} is drained")

    def _start_new_generation(self) -> None:
        if any(generation == self.generation for generation, _ in self.watch.unfinished()):
            self._start_sweep()
            return
        self.draining = False
        self.generations.append(str(len(self.generations) + 1))
        self.lanes = self._new_lanes(range(len(self.topic.logs)))
        self.events["new generation"] += 1
        self.calls.story.append(f"generation {self.generation} starts")

    # ── the calm stretch ──

    def _come_to_an_end(self) -> None:
        self.calls.calm = True
        self._restore()
        self._try_other_operators()
        self.topic.produce_all()
        if not self._ended:
            self._bring_about_the_ending()
        self.topic.produce_all()
        self._finish_drain()
        self._deliver_the_rest()
        self._time_passes(LIFETIME_MS + 1)
        self._sweep_until_quiet()

    def _try_other_operators(self) -> None:
        """A deployment whose operators are other ones has to leave open windows alone."""
        other = topology(self.plan.rules._replace(window_ms=20))
        before = len(self._alive)
        for checkpoint in self.watch.checkpoints():
            if checkpoint.state is not None or checkpoint.state_key is not None:
                pipeline = self._pipeline(checkpoint.key.generation, other)
                self._start("sweep", partial(pipeline.tick, checkpoint), self._tried, "with other operators")
                while len(self._alive) > before:
                    self._resume(before)  # alone: what the others do may close the windows

    def _tried(self, process: Process) -> None:
        self.events["other operators tried"] += 1
        if not isinstance(process.error, FingerprintChanged):
            self.watch.difference(f"other operators than those of the open windows: {process.error or 'accepted'}")

    def _finish_drain(self) -> None:
        if len(self.topics) > len(self.generations):
            self._refuse_new_topic()
            self._drain()
        for _ in range(SWEEPS):
            if not self.draining:
                return
            self._time_passes(LIFETIME_MS + 1)
            self._start_new_generation()
            self._run_all()
        self.watch.difference(f"a drained generation does not end: {sorted(self.watch.unfinished())}")

    def _refuse_new_topic(self) -> None:
        """Every partition of the old generation has to stop at the new topic."""
        for lane in self.lanes:
            self._run_all()
            self._deliver(lane)
        self._run_all()

    def _deliver_the_rest(self) -> None:
        for _ in range(CALM_DELIVERIES):
            self._run_all()
            waiting = [lane for lane in self.lanes if lane.waiting]
            if not waiting:
                return
            self._deliver(waiting[0])
        self.watch.difference(f"not delivered after {CALM_DELIVERIES} deliveries without a fault")

    def _sweep_until_quiet(self) -> None:
        for _ in range(SWEEPS):
            self._start_sweep()
            self._run_all()
            if not self.watch.unfinished():
                return
            self._time_passes(IDLE_TIMEOUT_MS + 1_000)
        self.watch.difference(f"windows or outboxes stay open: {sorted(self.watch.unfinished())}")

    def _run_all(self) -> None:
        while self._alive:
            self._resume(self.choices.below(len(self._alive)))

    # ── wiring ──

    def _pipeline(self, generation: str, operators: Topology | None = None) -> Pipeline:
        return Pipeline(
            PIPELINE,
            lambda _topic: operators or self._topology,
            self._store,
            self.objects,
            application=APPLICATION,
            generation=generation,
            gaps=self.plan.gaps,
            inline_state_bytes=self.plan.inline_state_bytes,
            inline_outbox_entries=self.plan.inline_outbox_entries,
            clock_ms=lambda: self.now_ms,
            new_id=lambda: next(self._ids),
        )

    def _new_topic(self, partitions: int, **again: Any) -> Topic:
        return Topic(self.choices, partitions, self.plan.records, gaps=self.plan.gaps == "allow", **again)

    def _new_lanes(self, partitions: range) -> list[Lane]:
        """Pollers for the partitions: one for all of them, one for each, or something between."""
        left = list(partitions)
        lanes = []
        while left:
            count = 1 + self.choices.below(len(left))
            lanes.append(Lane(self.generation, self.topic, left[:count], self.choices))
            left = left[count:]
        return lanes
