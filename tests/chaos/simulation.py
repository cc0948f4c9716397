"""One schedule: real pipelines, sweepers and janitors, interleaved and disturbed as its choices say.

First a stretch of chaos, then a calm one in which everything comes to its end; `verdict` compares what came out.
"""

from collections.abc import Callable
from functools import partial

from chaos.calls import Process
from chaos.choices import Choices
from chaos.operators import topology
from chaos.world import DAY_MS, IDLE_TIMEOUT_MS, LIFETIME_MS, World

from headrace.errors import FingerprintChanged
from headrace.outbox import STAGING

EXPIRY_DAYS = 90
"""Lifecycle rule of `staging/`."""
SWEEPS = 8
"""More than it takes to close everything without a fault."""
CALM_DELIVERIES = 400
"""More than any schedule needs: one that needs more does not come to an end."""


class Simulation:
    """One schedule at work."""

    steps = 260
    """Of the scheduler, in the stretch of chaos."""

    def __init__(self, choices: Choices, world: World | None = None) -> None:
        self.choices = choices
        self.world = world or World(choices)
        """What it acts on, and what is compared at the end."""
        self._ended = self._nothing_left = False

    def run(self) -> None:
        """Chaos, then calm."""
        self.world.events["audited"] += self.world.plan.audited
        self.world.topic.produce()
        deck = [action for times, action in self.actions() for _ in range(times)]
        for _ in range(self.steps):
            self.choices.among(deck)()
            if self._nothing_left:
                break
        self._come_to_an_end()

    def actions(self) -> list[tuple[int, Callable[[], None]]]:
        """What the scheduler can do, and how often of 200 times; the first is the harmless one."""
        steady = self.world.plan.steady
        return [
            (150 if steady else 130, self._go_on),
            (20, self._deliver_something),
            (2 if steady else 12, self._give_up_on_one),
            (4 if steady else 10, self.world.start_sweep),
            (4 if steady else 8, self._some_time_passes),
            (4, self.world.start_janitor),
            (6, self._produce),
            (2, self._rewind),
            (2, self._vandal),
            (2, self._bring_about_the_ending),
            (1, self._deliver_nothing),
            (3, self._days_pass),
        ]

    def _go_on(self) -> None:
        """Whoever runs, runs on; where nobody does, the next records are delivered, then produced."""
        if self.world.alive:
            self.world.resume(self.choices.below(len(self.world.alive)))
        elif waiting := [lane for lane in self.world.lanes if lane.waiting]:
            self.world.deliver(waiting[0])
        elif not all(log.complete for log in self.world.topic.logs):
            self.world.topic.produce()
        elif not self._ended:
            self._bring_about_the_ending()
        else:
            self._nothing_left = True

    def _produce(self) -> None:
        self.world.topic.produce()

    def _deliver_something(self) -> None:
        self.world.deliver(self.choices.among(self.world.lanes))

    def _give_up_on_one(self) -> None:
        """The poller believes that the invocation timed out; it goes on as a zombie, and its batch comes again."""
        running = [lane for lane in self.world.lanes if lane.current is not None]
        if not running:
            return
        lane = self.choices.among(running)
        lane.current = None
        self.world.events["zombie"] += 1
        if self.choices.chance(60) and lane.batch is not None and not self.world.draining:
            self.world.events["twice at once"] += 1
            self.world.invoke(lane, lane.batch)

    def _some_time_passes(self) -> None:
        steps_ms = (1_000, 61_000, 61_000) if self.world.plan.steady else (1_000, 61_000, 300_000, 1_000_000)
        self.world.time_passes(self.choices.among(steps_ms))

    def _days_pass(self) -> None:
        """Long enough for the janitor, or for the lifecycle rule; nothing is pending by then, as an alarm sees to."""
        days = self.choices.among((2, EXPIRY_DAYS + 1))
        if days > EXPIRY_DAYS and self.world.watch.pending():
            return
        self.world.time_passes(days * DAY_MS)
        self.world.events[f"{days} days"] += 1
        if days > EXPIRY_DAYS:
            older_than_ms = self.world.now_ms - EXPIRY_DAYS * DAY_MS
            self.world.inner.delete(list(self.world.inner.keys(f"{STAGING}/", older_than_ms=older_than_ms)))
            self.world.calls.story.append(f"what was staged more than {EXPIRY_DAYS} days ago expires")
        else:
            for _ in range(self.choices.below(4)):
                self.world.start_janitor()
            for start in self.choices.among(((), (self.world.start_sweep,), (self._deliver_something,))):
                start()  # what the janitor meets: somebody who publishes what has waited for days

    def _rewind(self) -> None:
        lane = self.choices.among(self.world.lanes)
        if lane.current is None:
            lane.rewind()
            self.world.events["poller restarted"] += 1

    def _vandal(self) -> None:
        """Somebody deletes what a checkpoint names, or brings it back."""
        if self.world.hidden:
            self._restore()
            return
        named = sorted(self.world.watch.named())
        if named:
            key = self.choices.among(named)
            self.world.hidden[key] = self.world.inner.read(key)
            self.world.inner.delete([key])
            self.world.deleted.add(key)
            self.world.events["object deleted by hand"] += 1
            self.world.calls.story.append(f"somebody deletes {key}")

    def _restore(self) -> None:
        for key in self.world.hidden:
            self.world.calls.story.append(f"somebody brings {key} back")
        self.world.inner.stage(self.world.hidden)
        self.world.hidden.clear()

    def _deliver_nothing(self) -> None:
        lane = self.choices.among(self.world.lanes)
        if lane.current is None and not self.world.draining:
            self.world.events["empty batch"] += 1
            self.world.invoke(lane, lane.made({}))

    def _bring_about_the_ending(self) -> None:
        if self.world.draining:
            self._start_new_generation()
            return
        if self._ended:
            return
        self._ended = True
        if self.world.plan.grows_to > self.world.plan.partitions:
            self.world.topic.grow(self.world.plan.grows_to)
            self.world.lanes += self.world.new_lanes(range(self.world.plan.partitions, self.world.plan.grows_to))
            self.world.events["partitions added"] += 1
        elif self.world.plan.ending == "topic re-created":
            self._re_create_topic()
        elif self.world.plan.ending == "new generation":
            self._drain()

    def _re_create_topic(self) -> None:
        """The group's offsets go with a topic: the mapping begins again, and has to be stopped by the checkpoints."""
        if len(self.world.dynamodb.items) < len(self.world.topic.logs):
            self._drain()  # a partition without a checkpoint would take the new topic for the old one, and rightly so
            return
        self.world.events["topic re-created"] += 1
        partitions = len(self.world.topic.logs)
        newest_ms = self.world.topic.newest_timestamp_ms
        self.world.topics.append(self.world.new_topic(partitions, timestamp_ms=newest_ms, again=True))
        self.world.topic.produce_all()
        self.world.lanes = self.world.new_lanes(range(partitions))
        self.world.calls.story.append("the topic is deleted and made again")

    def _drain(self) -> None:
        """Nobody consumes any more; what is running goes on as a zombie."""
        self.world.draining = True
        for lane in self.world.lanes:
            lane.current = None
        self.world.events["drain"] += 1
        self.world.calls.story.append(f"generation {self.world.generation} is drained")

    def _start_new_generation(self) -> None:
        if any(generation == self.world.generation for generation, _ in self.world.watch.unfinished()):
            self.world.start_sweep()
            return
        self.world.draining = False
        self.world.generations.append(str(len(self.world.generations) + 1))
        self.world.lanes = self.world.new_lanes(range(len(self.world.topic.logs)))
        self.world.events["new generation"] += 1
        self.world.calls.story.append(f"generation {self.world.generation} starts")

    def _come_to_an_end(self) -> None:
        self.world.calls.calm = True
        self._restore()
        self._try_other_operators()
        self.world.topic.produce_all()
        if not self._ended:
            self._bring_about_the_ending()
        self.world.topic.produce_all()
        self._finish_drain()
        self._deliver_the_rest()
        self.world.time_passes(LIFETIME_MS + 1)
        self._sweep_until_quiet()

    def _try_other_operators(self) -> None:
        """A deployment whose operators are other ones has to leave open windows alone."""
        rules = self.world.plan.rules
        if not rules.operators:
            return
        first, *others = rules.operators
        changed = first._replace(lateness_ms=first.lateness_ms + 1)
        other = topology(rules._replace(operators=(changed, *others)))
        before = len(self.world.alive)
        for checkpoint in self.world.watch.checkpoints():
            if checkpoint.state is not None or checkpoint.state_keys:
                pipeline = self.world.pipeline(checkpoint.key.generation, other)
                self.world.start("sweep", partial(pipeline.tick, checkpoint), self._tried, "with other operators")
                while len(self.world.alive) > before:
                    self.world.resume(before)  # alone: what the others do may close the windows

    def _tried(self, process: Process) -> None:
        self.world.events["other operators tried"] += 1
        if not isinstance(process.error, FingerprintChanged):
            self.world.watch.difference(
                f"other operators than those of the open windows: {process.error or 'accepted'}"
            )

    def _finish_drain(self) -> None:
        if len(self.world.topics) > len(self.world.generations):
            self._refuse_new_topic()
            self._drain()
        for _ in range(SWEEPS):
            if not self.world.draining:
                return
            self.world.time_passes(LIFETIME_MS + 1)
            self._start_new_generation()
            self.world.run_all()
        self.world.watch.difference(f"a drained generation does not end: {sorted(self.world.watch.unfinished())}")

    def _refuse_new_topic(self) -> None:
        """Every partition of the old generation has to stop at the new topic."""
        for lane in self.world.lanes:
            self.world.run_all()
            self.world.deliver(lane)
        self.world.run_all()

    def _deliver_the_rest(self) -> None:
        for _ in range(CALM_DELIVERIES):
            self.world.run_all()
            waiting = [lane for lane in self.world.lanes if lane.waiting]
            if not waiting:
                return
            self.world.deliver(waiting[0])
        self.world.watch.difference(f"not delivered after {CALM_DELIVERIES} deliveries without a fault")

    def _sweep_until_quiet(self) -> None:
        for _ in range(SWEEPS):
            self.world.start_sweep()
            self.world.run_all()
            if not self.world.watch.unfinished():
                return
            self.world.time_passes(IDLE_TIMEOUT_MS + 1_000)
        self.world.watch.difference(f"windows or outboxes stay open: {sorted(self.world.watch.unfinished())}")
