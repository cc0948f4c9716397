"""The pollers of an event source mapping: at least once, in order, and otherwise as unreliable as they may be."""

from typing import TYPE_CHECKING, Any, NamedTuple

from chaos.choices import Choices
from chaos.oracle.rules import Logged
from chaos.topic import Topic

if TYPE_CHECKING:
    from chaos.calls import Process

LARGEST_BATCH = 7
"""Records of one partition in one batch."""


class Batch(NamedTuple):
    """What one invocation gets: for each partition the records from one index to another."""

    ranges: dict[int, tuple[int, int]]
    event: dict[str, Any]

    @property
    def size(self) -> int:
        """Number of records."""
        return sum(stop - start for start, stop in self.ranges.values())


class Lane:
    """One poller with partitions of its own; nothing newer is sent before a batch has succeeded."""

    def __init__(self, generation: str, topic: Topic, partitions: list[int], choices: Choices) -> None:
        self.generation = generation
        self.topic = topic
        self.positions = dict.fromkeys(partitions, 0)
        """Partition to the index of the first record that is not known to be processed."""
        self.sent = dict.fromkeys(partitions, 0)
        """Partition to the index after the last record that was ever sent."""
        self.current: Process | None = None
        self.batch: Batch | None = None
        """The last one sent."""
        self._choices = choices

    @property
    def waiting(self) -> bool:
        """Whether there is a record to send."""
        return any(self.topic.logs[number].produced > at for number, at in self.positions.items())

    def next_batch(self) -> Batch | None:
        """Cut a batch anew, or send the last one again; None if nothing was produced."""
        if self.batch is not None and self.batch.size and self._unsettled() and self._choices.chance(25):
            return self.batch
        ranges = {}
        for number, start in self.positions.items():
            stop = min(self.topic.logs[number].produced, start + 1 + self._choices.below(LARGEST_BATCH))
            if stop > start:
                ranges[number] = (start, stop)
        return self.made(ranges) if ranges else None

    def made(self, ranges: dict[int, tuple[int, int]]) -> Batch:
        """The batch of these records."""
        records = {}
        for number, (start, stop) in ranges.items():
            fields = self.topic.logs[number].fields[start:stop]
            if self._choices.chance(2):
                fields = [*fields, fields[0]]  # a record that comes twice in one batch
            records[f"{number}"] = fields
        return Batch(ranges, {"eventSource": "aws:kafka", "eventSourceArn": "arn", "records": records})

    def settle(self, batch: Batch) -> None:
        """The batch succeeded: go on behind it."""
        for number, (_, stop) in batch.ranges.items():
            self.positions[number] = max(self.positions[number], stop)

    def note_sent(self, batch: Batch) -> str:
        """How the batch compares with what was sent before, in a word."""
        before, self.batch = self.batch, batch
        again = any(start < self.sent[number] for number, (start, _) in batch.ranges.items())
        for number, (_, stop) in batch.ranges.items():
            self.sent[number] = max(self.sent[number], stop)
        if not again or before is None:
            return "delivered"
        if batch.ranges == before.ranges:
            return "repeated"
        if batch.size * 2 in (before.size, before.size + 1):
            return "bisected"
        return "re-cut smaller" if batch.size < before.size else "re-cut larger"

    def rewind(self) -> None:
        """The poller was restarted and goes on at an older commit of its consumer group."""
        for number, at in self.positions.items():
            self.positions[number] = max(0, at - self._choices.below(5))

    def records(self, batch: Batch) -> dict[int, list[Logged]]:
        """The records of a batch, by partition."""
        return {number: self.topic.logs[number].records[a:b] for number, (a, b) in batch.ranges.items()}

    def _unsettled(self) -> bool:
        assert self.batch is not None
        return any(self.positions[number] < stop for number, (_, stop) in self.batch.ranges.items())
