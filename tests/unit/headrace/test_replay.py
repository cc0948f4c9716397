"""A day lived through, and the same day read again: the rows depend on the records and the committed ticks only.

live      records are delivered as they arrive; a partition that falls silent is closed by a tick, a commit like any
          other, at the offset that had been reached
replay    the whole day is a backlog, read a hundred times as fast, or cut anywhere: nothing is idle, so the sweeper
          ticks nothing; the ticks that were committed live are committed again at their offsets
"""

import itertools
import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import pytest
from samples import hit, lambda_event, table_rows, topology

from clickstream import topology as clickstream
from headrace.aggregates import Count
from headrace.checkpoint import Checkpoint, MemoryCheckpointStore
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.records import Record, TopicPartition
from headrace.settings import Settings
from headrace.sweeper import Sweeper
from headrace.topology import Topology
from headrace.windowed import Windowed
from headrace.windows import TumblingWindows
from headrace_cli.generator.rhythm import SPAN_MS
from headrace_cli.generator.shop_visits import clicks
from headrace_cli.kafka.partitioner import partition_of

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1000, 60_000, 3_600_000, 86_400_000
MIDNIGHT_MS = 1_710_288_000_000
"""2024-03-13T00:00:00Z."""
SWEEP_EVERY_MS = 5 * MINUTE_MS
POLL_EVERY_MS = MINUTE_MS
CLICKS_PER_SHIFT = 1500
PARTITIONS = 3
SETTINGS = Settings()


class Arrival(NamedTuple):
    """A record, and when it is in the topic."""

    at_ms: int
    record: Record


class Tick(NamedTuple):
    """A committed tick, as the books have it: after which record of which partition, and how far it went."""

    partition: int
    next_offset: int
    number: int
    """1 for the first of its partition."""
    watermark_ms: int | None


class Topic:
    """What was produced, partition by partition, and how much of it is there by now: all of it, in a replay."""

    def __init__(self, arrivals: Mapping[int, Sequence[Arrival]], now_ms: int | None = None) -> None:
        self.arrivals = arrivals
        self.now_ms = now_ms

    def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
        left = self.arrivals[topic_partition.partition][next_offset:]
        return bool(left) and (self.now_ms is None or left[0].at_ms <= self.now_ms)


class Run:
    """One reading of the topic: a pipeline, its stores, and a wall clock that is moved by hand."""

    def __init__(self, topic: Topic, topology: Topology, now_ms: int) -> None:
        self.topic = topic
        self.now_ms = now_ms
        self.history: list[tuple[int, list[Record] | Tick]] = []
        """What was applied, in order, and when: batches and ticks."""
        self.checkpoints, self.outbox = MemoryCheckpointStore(), MemoryOutbox()
        ids = (f"id-{n}" for n in itertools.count())
        self.pipeline = Pipeline(
            "p",
            lambda _topic: topology,
            self.checkpoints,
            self.outbox,
            clock_ms=lambda: self.now_ms,
            new_id=lambda: next(ids),
        )

    def deliver(self, records: list[Record]) -> None:
        self.pipeline.handle(lambda_event(records))
        self.history.append((self.now_ms, records))

    def sweep(self) -> None:
        """Let the sweeper look, and note from the books what it ticked."""
        before = self._ticked()
        pipelines, options = {"p": self.pipeline}, {"application": "headrace", "generation": "1"}
        sweeper = Sweeper(pipelines, self.checkpoints, self.topic, idle_timeout_ms=SETTINGS.idle_timeout_ms, **options)
        assert not sweeper.sweep(self.now_ms).failures
        self.history += [(self.now_ms, tick) for tick in self._ticked() if tick not in before]

    def tick(self, tick: Tick) -> None:
        """Commit a tick that was committed before. Where it stands is all of it: how far it goes follows."""
        checkpoint = next(c for c in self._checkpoints() if c.key.partition == tick.partition)
        self.pipeline.tick(self.pipeline.recover(checkpoint))
        assert tick in self._ticked()
        self.history.append((self.now_ms, tick))

    @property
    def ticks(self) -> list[Tick]:
        return [step for _, step in self.history if isinstance(step, Tick)]

    def tables(self) -> dict[str, Counter[tuple[Any, ...]]]:
        assert [c.key for c in self._checkpoints() if c.open_until_ms is not None] == []
        return table_rows(self.outbox)

    def _ticked(self) -> list[Tick]:
        return [
            Tick(c.key.partition, c.next_offset, c.totals["ticks"], c.watermark_ms)
            for c in self._checkpoints()
            if c.totals.get("ticks")
        ]

    def _checkpoints(self) -> list[Checkpoint]:
        return list(self.checkpoints.checkpoints("headrace"))


Arrivals = Mapping[int, Sequence[Arrival]]


def day() -> Arrivals:
    """Two shifts of six hours, two hours of rest between them, and silences wherever a partition's users are away.

    04:00                               10:00          12:00                                18:00
    |====  ========  ======= ===========|              |========= ====== ======  ===========|
    """
    partitions: dict[int, list[Arrival]] = defaultdict(list)
    for seed, start_ms in enumerate((MIDNIGHT_MS + 4 * HOUR_MS, MIDNIGHT_MS + 12 * HOUR_MS)):
        for n, click in enumerate(clicks(CLICKS_PER_SHIFT, seed, start_ms)):
            at_ms = start_ms + n * SPAN_MS // CLICKS_PER_SHIFT
            partition = partition_of(click.key or b"", PARTITIONS)
            offset = len(partitions[partition])
            record = Record("clicks", partition, offset, at_ms, "LOG_APPEND_TIME", key=click.key, value=click.value)
            partitions[partition].append(Arrival(at_ms, record))
    return partitions


def lived(arrivals: Arrivals) -> Run:
    """Polled every minute and swept every five, until midnight."""
    run = Run(Topic(arrivals, now_ms=MIDNIGHT_MS), clickstream.topology(SETTINGS), MIDNIGHT_MS)
    coming = deque(sorted(itertools.chain.from_iterable(arrivals.values()), key=lambda each: each.at_ms))
    for now_ms in range(MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, POLL_EVERY_MS):
        run.now_ms = run.topic.now_ms = now_ms
        arrived = []
        while coming and coming[0].at_ms <= now_ms:
            arrived.append(coming.popleft().record)
        if arrived:
            run.deliver(arrived)
        if now_ms % SWEEP_EVERY_MS == 0:
            run.sweep()
    return run


def a_hundred_times_as_fast(arrivals: Arrivals, live: Run) -> Run:
    """The same batches and ticks a year later, with a sweeper on its schedule."""
    run = Run(Topic(arrivals), clickstream.topology(SETTINGS), MIDNIGHT_MS + 365 * DAY_MS)
    started_ms = next_sweep_ms = run.now_ms
    for at_ms, step in [*live.history, *((MIDNIGHT_MS + (1 + n) * DAY_MS, None) for n in range(2))]:
        run.now_ms = started_ms + (at_ms - MIDNIGHT_MS) // 100
        while next_sweep_ms <= run.now_ms:
            run.sweep()
            next_sweep_ms += SWEEP_EVERY_MS
        take(run, step)
    return run


def take(run: Run, step: list[Record] | Tick | None) -> None:
    if isinstance(step, Tick):
        run.tick(step)
    elif step:
        run.deliver(step)


def cut_anywhere(arrivals: Arrivals, ticks: Sequence[Tick], draw: Random) -> Iterator[list[Record] | Tick]:
    """Batches of any size, partitions in any order; each tick where it was committed, so that no batch goes across."""
    places = dict.fromkeys(arrivals, 0)
    due = {partition: deque(tick for tick in ticks if tick.partition == partition) for partition in arrivals}
    while unfinished := [p for p in sorted(arrivals) if due[p] or places[p] < len(arrivals[p])]:
        partition = draw.choice(unfinished)
        place, upto = places[partition], due[partition][0].next_offset if due[partition] else len(arrivals[partition])
        if place == upto:
            yield due[partition].popleft()
        else:
            places[partition] = min(upto, place + draw.choice([1, 7, 100, 1000]))
            yield [each.record for each in arrivals[partition][place : places[partition]]]


@pytest.fixture(scope="module")
def arrivals() -> Arrivals:
    return day()


@pytest.fixture(scope="module")
def live(arrivals: Arrivals) -> Run:
    return lived(arrivals)


def ends(arrivals: Arrivals) -> dict[int, int]:
    return {partition: len(records) for partition, records in arrivals.items()}


def test_live_every_silence_was_closed_once_and_nothing_else(arrivals: Arrivals, live: Run) -> None:
    """Silent for the time-out: may be closed; for a sweep and a poll longer: must have been."""
    silences = {
        (partition, before.record.offset + 1): after_ms - before.at_ms
        for partition, records in arrivals.items()
        for before, after_ms in zip(records, [*(each.at_ms for each in records[1:]), MIDNIGHT_MS + DAY_MS], strict=True)
    }
    closed = Counter((tick.partition, tick.next_offset) for tick in live.ticks)
    assert set(closed.values()) == {1}
    assert {place for place, ms in silences.items() if ms >= SETTINGS.idle_timeout_ms} >= set(closed)
    must_ms = SETTINGS.idle_timeout_ms + SWEEP_EVERY_MS + POLL_EVERY_MS
    assert {place for place, ms in silences.items() if ms > must_ms} <= set(closed)
    assert len(closed) > 2 * PARTITIONS, "the night, the rest at noon, and silences in between"


def test_a_replay_at_a_hundred_times_the_speed_makes_the_same_rows(arrivals: Arrivals, live: Run) -> None:
    """Its only ticks are those that are given: the sweeper, a year later by its clock, sees a backlog and waits."""
    replay = a_hundred_times_as_fast(arrivals, live)
    assert replay.ticks == live.ticks
    assert replay.tables() == live.tables()


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_in_other_batches_makes_the_same_rows(arrivals: Arrivals, live: Run, seed: int) -> None:
    """Swept after every batch, each time long after the idle time-out: what has a backlog is never closed.

    The last ticks are not given but found by the sweeper, where it found them live: when there is nothing left to read.
    """
    given = [tick for tick in live.ticks if tick.next_offset < ends(arrivals)[tick.partition]]
    replay = Run(Topic(arrivals), clickstream.topology(SETTINGS), MIDNIGHT_MS + 365 * DAY_MS)
    for step in cut_anywhere(arrivals, given, Random(seed)):
        take(replay, step)
        replay.now_ms += SETTINGS.idle_timeout_ms + 1
        replay.sweep()
        found = [tick for tick in replay.ticks if tick not in given]
        assert all(tick.next_offset == ends(arrivals)[tick.partition] for tick in found)
    assert sorted(replay.ticks) == sorted(live.ticks)
    assert replay.tables() == live.tables()


def test_a_tick_is_an_input_without_it_other_records_are_late(arrivals: Arrivals, live: Run) -> None:
    """A tick closes sessions half an hour after their last click: who comes back earlier is late for a minute."""
    replay = Run(Topic(arrivals), clickstream.topology(SETTINGS), MIDNIGHT_MS + 365 * DAY_MS)
    for step in cut_anywhere(arrivals, [], Random(0)):
        take(replay, step)
    replay.now_ms += SETTINGS.idle_timeout_ms
    replay.sweep()
    assert replay.tables()["p/late"].total() < live.tables()["p/late"].total()


PER_MINUTE = Windowed(
    table="minutes", window=TumblingWindows(size_ms=MINUTE_MS), key=("page",), aggregates={"n": Count()}
)
HISTORY = [
    hit(offset, MIDNIGHT_MS + offset * 120, page="a", timestamp_ms=MIDNIGHT_MS + offset * 120) for offset in range(500)
]
"""500 events of one minute."""
YEARS_LATER_MS = MIDNIGHT_MS + 1000 * DAY_MS


class ClosesByTheWallClock:
    """How it must not be done: after each poll, whatever ended longer ago than the grace period by `now` goes out."""

    def __init__(self, grace_ms: int) -> None:
        self.grace_ms = grace_ms
        self.windows: Counter[tuple[int, str]] = Counter()
        self.rows: list[tuple[int, str, int]] = []

    def poll(self, records: Sequence[Record], now_ms: int) -> None:
        for record in records:
            fields = json.loads(record.value or b"")
            self.windows[fields["at"] // MINUTE_MS * MINUTE_MS, fields["page"]] += 1
        for window in [each for each in self.windows if each[0] + MINUTE_MS + self.grace_ms <= now_ms]:
            self.rows.append((*window, self.windows.pop(window)))


@pytest.mark.parametrize(("polls", "rows"), [(5, [(MIDNIGHT_MS, "a", 100)] * 5), (1, [(MIDNIGHT_MS, "a", 500)])])
def test_closing_by_the_wall_clock_splits_a_row_by_how_fast_a_backfill_is(polls: int, rows: list[Any]) -> None:
    """What turbolytics/sql-flow#234 measured: five equal rows, which no reader can tell from repeated ones."""
    naive = ClosesByTheWallClock(grace_ms=MINUTE_MS)
    for poll in range(polls):
        naive.poll(HISTORY[poll * 500 // polls :][: 500 // polls], YEARS_LATER_MS + poll * SECOND_MS)
    assert naive.rows == rows


@pytest.mark.parametrize("polls", [1, 5, 500])
def test_the_same_backfill_makes_one_row_here(polls: int) -> None:
    run = Run(Topic({0: [Arrival(r.timestamp_ms, r) for r in HISTORY]}), topology(PER_MINUTE), YEARS_LATER_MS)
    for start in range(0, 500, 500 // polls):
        run.deliver(HISTORY[start : start + 500 // polls])
        run.now_ms += SETTINGS.idle_timeout_ms
        run.sweep()
    (rows,) = run.tables().values()
    assert [(row[2], row[3], count) for row, count in rows.items()] == [("a", 500, 1)]
