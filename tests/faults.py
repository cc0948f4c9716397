"""Ports that stop the process, or lie, at a chosen call: crashes as data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace.checkpoint import Checkpoint, CheckpointKey, MemoryCheckpointStore, OutboxEntry
from headrace.outbox import MemoryOutbox


class Killed(BaseException):
    """The process is gone: no `except Exception` sees it."""


class Calls:
    """Counts the calls through the ports, and interrupts one of them before or after its effect."""

    def __init__(self, interrupt: Callable[[str], None] = lambda _point: None) -> None:
        self.points: list[str] = []
        self._interrupt = interrupt

    def around(self, name: str, effect: Callable[[], Any]) -> Any:
        self._at(f"before {name}")
        result = effect()
        self._at(f"after {name}")
        return result

    def _at(self, point: str) -> None:
        self.points.append(point)
        self._interrupt(point)


def kill_at(number: int) -> Callable[[str], None]:
    """Dies at the n-th point, counted from 0."""
    seen = iter(range(10**6))

    def interrupt(_point: str) -> None:
        if next(seen) == number:
            raise Killed

    return interrupt


class InterruptedCheckpoints:
    """A checkpoint store behind `Calls`."""

    def __init__(self, inner: MemoryCheckpointStore, calls: Calls) -> None:
        self._inner, self._calls = inner, calls

    def load(self, keys: Sequence[CheckpointKey]) -> Mapping[CheckpointKey, Checkpoint]:
        return self._calls.around("load", lambda: self._inner.load(keys))

    def commit(self, checkpoint: Checkpoint, expected_version: int) -> None:
        self._calls.around("commit", lambda: self._inner.commit(checkpoint, expected_version))

    def clear_outbox(self, key: CheckpointKey, version: int) -> None:
        self._calls.around("clear", lambda: self._inner.clear_outbox(key, version))


class InterruptedOutbox:
    """An outbox behind `Calls`; each object is a point of its own, as it is on S3."""

    def __init__(self, inner: MemoryOutbox, calls: Calls) -> None:
        self._inner, self._calls = inner, calls

    def stage(self, objects: Mapping[str, bytes]) -> None:
        for key, data in objects.items():
            self._calls.around("stage", lambda key=key, data=data: self._inner.stage({key: data}))

    def load(self, keys: Sequence[str]) -> list[bytes]:
        return [self._calls.around("read", lambda key=key: self._inner.load([key])[0]) for key in keys]

    def publish(self, entries: Sequence[OutboxEntry]) -> None:
        for entry in entries:
            self._calls.around("publish", lambda entry=entry: self._inner.publish([entry]))
