"""What no record brings about: outputs of invocations that died, windows of partitions that fell silent.

A partition is idle when nothing was applied for the idle time-out by the checkpoint's own clock (not by record
timestamps: a backfill's are old) *and* nothing is left to read at the broker. Only then are its windows closed, by a
tick, which is a commit like any other. Closing by wall clock during a backlog would split one correct row into
several.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import msgspec

from headrace.checkpoint import Checkpoint, CheckpointCatalog
from headrace.errors import CheckpointCorrupt, ClockSkew, CommitConflict, ConfigurationError
from headrace.pipeline import Pipeline, Totals
from headrace.records import TopicPartition

MAX_CLOCK_SKEW_MS = 900_000
"""A commit may lie so far ahead of the sweeper's clock; Lambda's clocks differ by milliseconds."""


class Log(Protocol):
    """What the broker still has."""

    def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
        """Whether a record can be read at or after the offset.

        Raises:
            TopicRecreated: the log ends before the offset: it is not the log that was read.
        """
        ...


class Sweep(msgspec.Struct):
    """What one sweep did, in partitions."""

    visited: int = 0
    recovered: int = 0
    """Had outputs that were committed and not published; now they are."""
    ticked: int = 0
    """Were idle; their windows are closed."""
    written: dict[str, Totals] = msgspec.field(default_factory=dict)
    """Pipeline to what its ticks added to the books."""
    overtaken: int = 0
    """Turned out not to be idle: an invocation committed meanwhile."""
    unbalanced: dict[str, list[str]] = msgspec.field(default_factory=dict)
    """Checkpoint to what in its books does not add up."""
    oldest_outbox_ms: int = 0
    """How long the oldest pending outbox had been waiting."""
    failures: dict[str, Exception] = msgspec.field(default_factory=dict)
    """Checkpoint to what went wrong with it."""


class Sweeper:
    """Visits every checkpoint of an application."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        catalog: CheckpointCatalog,
        log: Log,
        *,
        application: str,
        generation: str,
        idle_timeout_ms: int,
        drain: bool = False,
    ) -> None:
        """Wire the sweeper.

        Args:
            pipelines: by name, on the deployment's stores.
            catalog: the checkpoints to visit.
            log: what the broker still has.
            application: whose checkpoints are visited.
            generation: the one that is consumed now.
            idle_timeout_ms: how long nothing was committed before a partition may be idle.
            drain: nobody consumes any more: what the topic still gets is not this generation's business.
        """
        self._pipelines = pipelines
        self._catalog = catalog
        self._log = log
        self._application = application
        self._generation = generation
        self._idle_timeout_ms = idle_timeout_ms
        self._drain = drain

    def sweep(self, now_ms: int) -> Sweep:
        """Visit them all; a failure of one stops none of the others, and is in the answer."""
        sweep = Sweep()

        def on_corrupt(error: CheckpointCorrupt) -> None:
            sweep.failures[error.place] = error

        for checkpoint in self._catalog.checkpoints(self._application, on_corrupt):
            sweep.visited += 1
            try:
                self._visit(checkpoint, now_ms, sweep)
            except CommitConflict:
                sweep.overtaken += 1
            except Exception as error:  # noqa: BLE001 - the others must be visited; the caller reports and raises
                sweep.failures[str(checkpoint.key)] = error
        return sweep

    def _visit(self, checkpoint: Checkpoint, now_ms: int, sweep: Sweep) -> None:
        pipeline = self._pipelines.get(checkpoint.key.pipeline)
        if pipeline is None:
            raise ConfigurationError(f"no pipeline is called {checkpoint.key.pipeline!r} in this deployment")
        if imbalances := checkpoint.imbalances():
            sweep.unbalanced[str(checkpoint.key)] = imbalances
        if checkpoint.pending:
            sweep.oldest_outbox_ms = max(sweep.oldest_outbox_ms, now_ms - checkpoint.committed_at_ms)
            checkpoint = pipeline.recover(checkpoint)  # before a tick may replace the outbox
            sweep.recovered += 1
        final = self._is_abandoned(checkpoint)
        if self._is_idle(checkpoint, now_ms) and (done := pipeline.tick(checkpoint, final=final)):
            sweep.ticked += 1
            sweep.written.setdefault(pipeline.name, Counter()).update(done)

    def _is_abandoned(self, checkpoint: Checkpoint) -> bool:
        """Whether nobody reads for it any more."""
        return self._drain or checkpoint.key.generation != self._generation

    def _is_idle(self, checkpoint: Checkpoint, now_ms: int) -> bool:
        if checkpoint.open_until_ms is None or _silence_ms(checkpoint, now_ms) < self._idle_timeout_ms:
            return False
        if self._is_abandoned(checkpoint):
            return True  # Waiting for an empty backlog would be waiting for ever.
        place = TopicPartition(checkpoint.key.topic, checkpoint.key.partition)
        return not self._log.has_backlog(place, checkpoint.next_offset)


def _silence_ms(checkpoint: Checkpoint, now_ms: int) -> int:
    """How long nothing was committed; a little below zero when the committer's clock is ahead."""
    silence_ms = now_ms - checkpoint.committed_at_ms
    if silence_ms < -MAX_CLOCK_SKEW_MS:
        raise ClockSkew(
            f"{checkpoint.key} was committed at {checkpoint.committed_at_ms} ms, {-silence_ms // 1000} s after this "
            f"sweeper's now ({now_ms} ms): whether it is idle cannot be told, its windows stay open. Compare the "
            "clocks of the sweeper and of whoever commits; if theirs was ahead, this ends when the time is reached"
        )
    return silence_ms
