"""Stores that outlive the processes which use them, and two batches to run the protocol over."""

import itertools
from collections import Counter
from typing import Any

from faults import Calls, InterruptedCheckpoints, InterruptedOutbox
from samples import hit, lambda_event, record, table_rows, topology

from headrace.checkpoint import Checkpoint, MemoryCheckpointStore
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.records import Record
from headrace.topology import Topology


class World:
    """Stores that outlive the processes which use them."""

    def __init__(self, made: Topology | None = None) -> None:
        self.checkpoints, self.outbox = MemoryCheckpointStore(), MemoryOutbox()
        self.topology = made or topology(out_of_orderness_ms=5)
        self.ids = (f"id-{n}" for n in itertools.count())

    def process(self, calls: Calls | None = None, **settings: Any) -> Pipeline:
        calls = calls or Calls()
        return Pipeline(
            "p",
            lambda _topic: self.topology,
            InterruptedCheckpoints(self.checkpoints, calls),
            InterruptedOutbox(self.outbox, calls),
            clock_ms=lambda: 0,
            new_id=lambda: next(self.ids),
            **settings,
        )

    def checkpoint(self) -> Checkpoint:
        (checkpoint,) = self.checkpoints.checkpoints("headrace")
        return checkpoint

    def finish(self) -> dict[str, Counter[tuple[Any, ...]]]:
        """Close what is open, tick after tick as the sweeper does, and answer all rows."""
        for key in [checkpoint.key for checkpoint in self.checkpoints.checkpoints("headrace")]:
            while self._tick(self.checkpoints.load([key])[key]):
                pass
        return table_rows(self.outbox)

    def _tick(self, checkpoint: Checkpoint) -> Counter[str]:
        process = self.process()
        return process.tick(process.recover(checkpoint))


def deliver(pipeline: Pipeline, records: list[Record]) -> Counter[str]:
    return pipeline.handle(lambda_event(records))


FIRST = [hit(0, 1, "ann"), hit(1, 12, "bob", "/b"), record(2, b"poison"), hit(3, 30, "ann"), hit(4, 2, "ann")]
SECOND = [hit(5, 41, "bob"), hit(6, 44, "ann", "/b"), hit(7, 3, "bob"), hit(8, 80, "eve")]


def undisturbed() -> dict[str, Counter[tuple[Any, ...]]]:
    world = World()
    deliver(world.process(), FIRST)
    deliver(world.process(), SECOND)
    return world.finish()


def points_of(records: list[Record], *before: list[Record]) -> list[str]:
    """Every point at which the turn over the records can be interrupted."""
    world, calls = World(), Calls()
    for batch in before:
        deliver(world.process(), batch)
    deliver(world.process(calls), records)
    return calls.points
