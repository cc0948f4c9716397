"""The checkpoint of one partition, and the port through which it is loaded and committed.

The commit is the only point at which anything becomes true: see `headrace.pipeline` for the protocol.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, NoReturn, Protocol

import msgspec

from headrace.errors import CheckpointCorrupt, CommitConflict


class CheckpointKey(NamedTuple):
    """Whose progress it is: one pipeline's, in one generation, on one partition."""

    application: str
    pipeline: str
    generation: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.application}#{self.pipeline}#{self.generation}#{self.topic}-{self.partition}"


class OutboxEntry(NamedTuple):
    """An output that was committed: where its bytes are, and where readers shall find them."""

    staged_key: str
    final_key: str


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything one partition's turn needs to know about the turns before it."""

    key: CheckpointKey
    """Whose progress it is."""
    version: int
    """1 for the first commit, one more with each commit; clearing the outbox does not change it."""
    base_offset: int
    """The first offset ever applied."""
    next_offset: int
    """The first offset not yet applied."""
    committed_at_ms: int
    """The committer's wall clock, epoch milliseconds: idleness is measured by it. It never goes back."""
    max_timestamp_ms: int
    """The newest Kafka timestamp applied: how a re-created topic is recognised."""
    fingerprint: str
    """Which configuration of the operators made the state."""
    watermark_ms: int | None = None
    """The partition's watermark, epoch milliseconds; None before the first event time."""
    state: bytes | None = None
    """The operators' snapshot when it is small."""
    state_keys: tuple[str, ...] = ()
    """Where it is, when it is large: the object of a base, then those of the deltas after it, oldest first."""
    outbox: tuple[OutboxEntry, ...] = ()
    """Outputs committed but not known to be published; empty when `outbox_manifest` holds them."""
    outbox_manifest: str | None = None
    """The staged object that lists the outputs, when they are too many for the checkpoint."""
    open_until_ms: int | None = None
    """The watermark that would close every open window; None when none is open."""
    totals: dict[str, int] = {}
    """Running totals since `base_offset`: `applied`, `dead`, `late`, `gaps`, `ticks`, `files`, `rows`, and per table
    `files.TABLE` and `rows.TABLE`."""

    @property
    def pending(self) -> bool:
        """Whether committed outputs may still wait for their publication."""
        return bool(self.outbox) or self.outbox_manifest is not None

    def imbalances(self) -> list[str]:
        """What in the books does not add up, in words; empty when they balance.

        Every offset from the first one on is applied, dead-lettered or a counted gap; every dead letter and every late
        record became a row; the tables' rows add up to all rows. (Files by table are counted since a later version
        than files as a whole: their sum may be less.)
        """
        return [f"{what}: {one} is not {other}" for what, one, other in self._equations() if one != other]

    def _equations(self) -> Iterator[tuple[str, int, int]]:
        total = Counter(self.totals)
        passed, accounted_for = self.next_offset - self.base_offset, total["applied"] + total["dead"] + total["gaps"]
        yield "offsets passed, and applied + dead + gaps", passed, accounted_for
        yield "dead letters, and rows of dead_letters", total["dead"], total["rows.dead_letters"]
        yield "late records, and rows of late", total["late"], total["rows.late"]
        rows, files = (_sum(total, f"{kind}.") for kind in ("rows", "files"))
        yield "rows, and rows of all tables", total["rows"], rows
        yield "files, and files of all tables at most", max(total["files"], files), total["files"]

    def published(self) -> "Checkpoint":
        """This checkpoint with its outbox cleared, same version."""
        return msgspec.structs.replace(self, outbox=(), outbox_manifest=None)


def _sum(totals: Mapping[str, int], prefix: str) -> int:
    return sum(count for name, count in totals.items() if name.startswith(prefix))


class CheckpointStore(Protocol):
    """Loads and commits checkpoints. All reads are strongly consistent.

    Implementations raise `InfrastructureError` when the store failed or the outcome is unknown; a commit
    whose answer got lost may have happened.
    """

    def load(self, keys: Sequence[CheckpointKey]) -> Mapping[CheckpointKey, Checkpoint]:
        """The checkpoints that exist, by key; a key without one is absent from the answer."""
        ...

    def commit(self, checkpoint: Checkpoint, expected_version: int) -> None:
        """Store the checkpoint if the stored version is the expected one (0: none is stored).

        Raises:
            CommitConflict: the stored version is another one; nothing was written. The client's own retry
                of a write whose answer got lost looks the same: reload before believing it.
        """
        ...

    def clear_outbox(self, key: CheckpointKey, version: int) -> None:
        """Forget the outbox if the stored version is this one; otherwise do nothing."""
        ...


OnCorrupt = Callable[[CheckpointCorrupt], None]
"""Told of a checkpoint that cannot be read; if it returns, the others follow."""


def raise_corrupt(error: CheckpointCorrupt) -> NoReturn:
    """The careful answer to a checkpoint that cannot be read."""
    raise error


class CheckpointCatalog(Protocol):
    """Lists checkpoints, for the sweeper, the janitor and the audit."""

    def checkpoints(self, application: str, on_corrupt: OnCorrupt = raise_corrupt) -> Iterator[Checkpoint]:
        """Every checkpoint of the application: all pipelines, generations and partitions.

        Those that cannot be read go to `on_corrupt` instead, which raises unless told otherwise: whoever deletes what
        no checkpoint names must not go on without one of them.
        """
        ...


class MemoryCheckpointStore:
    """Checkpoints in this process: for dry runs and tests. Thread-safe."""

    def __init__(self) -> None:
        self._checkpoints: dict[CheckpointKey, Checkpoint] = {}
        self._lock = threading.Lock()

    def load(self, keys: Sequence[CheckpointKey]) -> Mapping[CheckpointKey, Checkpoint]:
        """See `CheckpointStore.load`."""
        with self._lock:
            return {key: self._checkpoints[key] for key in keys if key in self._checkpoints}

    def commit(self, checkpoint: Checkpoint, expected_version: int) -> None:
        """See `CheckpointStore.commit`."""
        with self._lock:
            stored = self._checkpoints.get(checkpoint.key)
            version = stored.version if stored else 0
            if version != expected_version:
                raise CommitConflict(f"{checkpoint.key} is at version {version}, expected {expected_version}")
            self._checkpoints[checkpoint.key] = checkpoint

    def clear_outbox(self, key: CheckpointKey, version: int) -> None:
        """See `CheckpointStore.clear_outbox`."""
        with self._lock:
            stored = self._checkpoints.get(key)
            if stored and stored.version == version:
                self._checkpoints[key] = stored.published()

    def checkpoints(self, application: str, on_corrupt: OnCorrupt = raise_corrupt) -> Iterator[Checkpoint]:
        """See `CheckpointCatalog.checkpoints`. Nothing in memory is corrupt."""
        del on_corrupt
        with self._lock:
            found = [c for key, c in self._checkpoints.items() if key.application == application]
        yield from found
