"""The port through which outputs are staged and published, and where snapshots live.

Keys are `/`-separated and relative to the store's root: `staging/<uuid>/<n>` (outputs before their commit),
`state/<uuid>` (snapshots: bases and deltas) and `lake/…` (what readers see).
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from headrace.checkpoint import OutboxEntry
from headrace.checksum import opened
from headrace.errors import CheckpointCorrupt, ObjectConflict, ObjectMissing

STAGING = "staging"
STATE = "state"


class Outbox(Protocol):
    """Stages immutable objects and publishes them. Raises `InfrastructureError` on anything passing."""

    def stage(self, objects: Mapping[str, bytes]) -> None:
        """Write every object; all are durable when this returns."""
        ...

    def load(self, keys: Sequence[str]) -> list[bytes]:
        """The bytes of every object.

        Raises:
            ObjectMissing: one of them does not exist.
        """
        ...

    def publish(self, entries: Sequence[OutboxEntry]) -> None:
        """Copy each staged object to its final key; what lies there with the same bytes already is done.

        Raises:
            ObjectMissing: a staged object is gone (never skipped).
            ObjectConflict: other bytes lie at a final key; they are left as they are.
        """
        ...


def read_manifest(outbox: Outbox, key: str) -> Sequence[OutboxEntry]:
    """The outputs that a staged manifest lists.

    Raises:
        ObjectMissing: it is gone.
        CheckpointCorrupt: it cannot be read.
    """
    name = f"the outbox manifest {key!r}"
    try:
        return msgspec.json.decode(opened(outbox.load([key])[0], name), type=tuple[OutboxEntry, ...])
    except msgspec.MsgspecError as error:
        raise CheckpointCorrupt(f"{name} cannot be read: {error}", name) from error


class ObjectCatalog(Protocol):
    """Lists, reads and deletes objects: for the janitor and for readers of the lake, never for a turn."""

    def keys(self, prefix: str, *, older_than_ms: int | None = None) -> Iterator[str]:
        """Keys below the folder `prefix`, sorted; with `older_than_ms`, those last written before that epoch time.

        The prefix ends at a `/`, given or not: `lake/a` has `lake/a/b`, not `lake/ab`.
        """
        ...

    def read(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            ObjectMissing: there is no such object.
        """
        ...

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the objects; a key that is gone already is no error."""
        ...


class MemoryOutbox:
    """Objects in this process: for dry runs and tests. Thread-safe."""

    def __init__(self, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._clock_ms = clock_ms
        self._objects: dict[str, tuple[bytes, int]] = {}
        self._lock = threading.Lock()

    def stage(self, objects: Mapping[str, bytes]) -> None:
        """See `Outbox.stage`."""
        with self._lock:
            self._put(objects)

    def load(self, keys: Sequence[str]) -> list[bytes]:
        """See `Outbox.load`."""
        with self._lock:
            return [self._get(key) for key in keys]

    def read(self, key: str) -> bytes:
        """See `ObjectCatalog.read`."""
        with self._lock:
            return self._get(key)

    def publish(self, entries: Sequence[OutboxEntry]) -> None:
        """See `Outbox.publish`."""
        with self._lock:
            for entry in entries:
                self._publish(entry)

    def keys(self, prefix: str, *, older_than_ms: int | None = None) -> Iterator[str]:
        """See `ObjectCatalog.keys`."""
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        with self._lock:
            found = sorted(
                key
                for key, (_, written_ms) in self._objects.items()
                if key.startswith(folder) and (older_than_ms is None or written_ms < older_than_ms)
            )
        yield from found

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectCatalog.delete`."""
        with self._lock:
            for key in keys:
                self._objects.pop(key, None)

    def _publish(self, entry: OutboxEntry) -> None:
        data = self._get(entry.staged_key)
        if entry.final_key not in self._objects:
            self._put({entry.final_key: data})
        elif self._get(entry.final_key) != data:
            raise ObjectConflict(entry.staged_key, entry.final_key)

    def _put(self, objects: Mapping[str, bytes]) -> None:
        now_ms = self._clock_ms()
        self._objects.update({key: (data, now_ms) for key, data in objects.items()})

    def _get(self, key: str) -> bytes:
        try:
            return self._objects[key][0]
        except KeyError:
            raise ObjectMissing(key) from None
