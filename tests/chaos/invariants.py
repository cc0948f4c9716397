"""What must hold at every moment of a schedule, watched from outside of the code that has to keep it.

A final key never gets two contents; what is published was committed; success is never answered before publication;
nothing that a checkpoint names is deleted; no tick comes inside a stream that was never idle; versions follow one
another; and a function fails in no other way than those that its caller is told of.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from chaos.calls import Process
from chaos.poller import Batch, Lane
from chaos.topic import TOPIC, Topic

from headrace.checkpoint import Checkpoint, OutboxEntry
from headrace.dynamodb import _decode
from headrace.errors import InfrastructureError, ObjectMissing, PartitionsFailed, TopicRecreated
from headrace.outbox import read_manifest

if TYPE_CHECKING:
    from chaos.world import World

DIFFERS = "!!"
"""How a line of the story begins that says what must not be."""


class Commit(NamedTuple):
    """One commit that happened."""

    checkpoint: Checkpoint
    final_keys: tuple[str, ...]
    tick: bool
    final: bool
    """Whether it was a tick, and nobody read any more."""


class _Sweep(NamedTuple):
    """What was so when a sweep began."""

    started_ms: int
    topic: Topic
    last_offsets: list[int]
    generation: str
    draining: bool


class Watch:
    """Sees every write of a schedule, and writes down what must not be."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.differences: list[str] = []
        self.history: dict[tuple[str, int], list[Commit]] = {}
        """Generation and partition to the commits."""
        self._final_keys: dict[str, str] = {}
        """What may be published: final to staged key."""
        self._sweeps: dict[Process, _Sweep] = {}

    def difference(self, text: str) -> None:
        """Write it down, once."""
        if text not in self.differences:
            self.differences.append(text)
            self._world.calls.story.append(f"{DIFFERS} {text}")

    # ── stores ──

    def committed(self, item: dict[str, Any]) -> None:
        """A checkpoint was written."""
        checkpoint = _decode(item)
        running = self._world.calls.running
        commits = self.history.setdefault((checkpoint.key.generation, checkpoint.key.partition), [])
        before = commits[-1].checkpoint if commits else None
        if checkpoint.version != (before.version if before else 0) + 1:
            self.difference(f"{checkpoint.key} goes from version {before and before.version} to {checkpoint.version}")
        entries = self._entries(checkpoint)
        for entry in entries:
            if entry.final_key in self._final_keys:
                self.difference(f"two commits have the final key {entry.final_key}")
            self._final_keys[entry.final_key] = entry.staged_key
        self._chained(checkpoint, before)
        sweep = self._sweeps[running] if running.kind == "sweep" else None
        final = sweep is not None and (sweep.draining or sweep.generation != checkpoint.key.generation)
        commits.append(Commit(checkpoint, tuple(entry.final_key for entry in entries), sweep is not None, final))
        self._world.calls.tell(
            f"commits {TOPIC}-{checkpoint.key.partition} version {checkpoint.version}, next offset "
            f"{checkpoint.next_offset}, {len(entries)} outputs"
        )
        if sweep is not None and before is not None:
            self._ticked(checkpoint, before, sweep)

    def _chained(self, checkpoint: Checkpoint, before: Checkpoint | None) -> None:
        """A chain is a new base, or the one before and a delta; it is bounded, and all of it is there."""
        chain = checkpoint.state_keys
        if len(chain) > 1:
            self._world.events["delta"] += 1
            if before is None or chain[:-1] != before.state_keys:
                self.difference(f"{checkpoint.key} has the chain {chain} after {before and before.state_keys}")
        elif before is not None and len(before.state_keys) > 1:
            self._world.events["chain ended"] += 1
        if len(chain) > 1 + self._world.plan.max_deltas:
            self.difference(
                f"{checkpoint.key} has a chain of {len(chain)}, longer than {1 + self._world.plan.max_deltas}"
            )
        for key in chain:
            if key not in self._world.hidden and not self._exists(key):
                self.difference(f"{checkpoint.key} is committed with {key}, which is not there")

    def publishing(self, entry: OutboxEntry) -> None:
        """An object is about to be copied to its final key."""
        if self._final_keys.get(entry.final_key) != entry.staged_key:
            self.difference(f"{entry.final_key} is published and was not committed")
        inner = self._world.inner
        try:
            old, new = inner.read(entry.final_key), inner.read(entry.staged_key)
        except ObjectMissing:
            return
        if old != new:
            self.difference(f"{entry.final_key} gets two contents")

    def deleting(self, keys: Sequence[str]) -> None:
        """Objects are about to be deleted."""
        for key in sorted(self.named() & set(keys)):
            self.difference(f"{key} is deleted and a checkpoint names it")

    # ── processes ──

    def succeeded(self, lane: Lane, batch: Batch) -> None:
        """An invocation answered with success."""
        for number, records in lane.records(batch).items():
            if lane.topic is not self._topic_of(lane.generation):
                self.difference(f"{TOPIC}-{number}: records of the topic's new incarnation were skipped")
                return
            self._must_be_published(lane.generation, number, records[-1].offset)

    def _must_be_published(self, generation: str, partition: int, last_offset: int) -> None:
        for commit in self.history.get((generation, partition), []):
            for key in commit.final_keys:
                if not self._exists(key):
                    self.difference(f"success was answered before {key} was published")
            if commit.checkpoint.next_offset > last_offset:
                return
        self.difference(f"success was answered for offset {last_offset} of partition {partition}, not applied")

    def failed(self, error: Exception) -> None:
        """An invocation failed: only in ways that are known."""
        causes = error.failures.values() if isinstance(error, PartitionsFailed) else [error]
        for cause in causes:
            if not self._is_known(cause):
                self.difference(f"a process fails with {type(cause).__name__}: {cause}")

    def _is_known(self, error: Exception) -> bool:
        if isinstance(error, ObjectMissing):
            return error.key in self._world.deleted
        if isinstance(error, TopicRecreated):
            return len(self._world.topics) > 1
        return isinstance(error, InfrastructureError)

    def sweep_started(self, process: Process) -> None:
        """What was so when a sweep began, above all what the broker had."""
        last = [log.records[log.produced - 1].offset if log.produced else -1 for log in self._world.topic.logs]
        world = self._world
        self._sweeps[process] = _Sweep(world.now_ms, world.topic, last, world.generation, world.draining)

    def _ticked(self, checkpoint: Checkpoint, before: Checkpoint, sweep: _Sweep) -> None:
        silence_ms = sweep.started_ms - before.committed_at_ms
        if silence_ms < self._world.idle_timeout_ms:
            self.difference(f"{checkpoint.key} was ticked {silence_ms} ms after a commit")
        consumed = checkpoint.key.generation == self._world.generation and not self._world.draining
        if sweep.topic is not self._world.topic:
            return  # deleted and made again meanwhile: the offsets are of another log
        if consumed and sweep.last_offsets[checkpoint.key.partition] >= checkpoint.next_offset:
            self.difference(f"{checkpoint.key} was ticked with records left to read")

    # ── what checkpoints say ──

    def checkpoints(self) -> list[Checkpoint]:
        """All, as stored."""
        return [_decode(item) for item in self._world.dynamodb.items.values()]

    def pending(self) -> bool:
        """Whether an outbox is not cleared."""
        return any(checkpoint.pending for checkpoint in self.checkpoints())

    def unfinished(self) -> set[tuple[str, int]]:
        """Generation and partition of checkpoints with an open window or a pending outbox."""
        return {
            (checkpoint.key.generation, checkpoint.key.partition)
            for checkpoint in self.checkpoints()
            if checkpoint.pending or checkpoint.open_until_ms is not None
        }

    def named(self) -> set[str]:
        """Every object that a checkpoint needs."""
        keys: set[str] = set()
        for checkpoint in self.checkpoints():
            keys |= {key for key in (*checkpoint.state_keys, checkpoint.outbox_manifest) if key}
            keys |= {entry.staged_key for entry in self._entries(checkpoint)}
        return {key for key in keys if self._exists(key)}

    def _entries(self, checkpoint: Checkpoint) -> Sequence[OutboxEntry]:
        if checkpoint.outbox_manifest is None:
            return checkpoint.outbox
        try:
            return read_manifest(self._world.inner, checkpoint.outbox_manifest)
        except ObjectMissing:
            if checkpoint.outbox_manifest not in self._world.hidden:
                self.difference(f"{checkpoint.outbox_manifest} is named by a checkpoint and was never staged")
            return ()

    def _exists(self, key: str) -> bool:
        try:
            self._world.inner.read(key)
        except ObjectMissing:
            return False
        return True

    def _topic_of(self, generation: str) -> Any:
        return self._world.topic_of(generation)
