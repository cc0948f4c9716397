"""Where a batch ends.

A batch is due at the first of three events, as AWS documents them: it has `batch_size` records, the next
record would push it over the payload limit, or its oldest record has waited for the batching window.
Time is a parameter of every call; nothing here reads a clock.

One batch is outstanding at a time. Until it is `settled`, `next_batch` returns that same batch, so that a
failed batch is sent again whole and nothing newer overtakes it.
"""

from collections import deque
from dataclasses import dataclass

from kafka_esm.errors import RecordTooLargeError
from kafka_esm.event import EncodedRecord, Envelope, PayloadSize, TopicPartition, entry_size


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch is full or old enough."""

    batch_size: int
    """Most records in one batch."""
    window_ms: int
    """How long the oldest record may wait for company."""
    payload_bytes: int
    """Most bytes of the serialised event."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one invocation carries, however often it is tried."""

    partitions: dict[TopicPartition, tuple[EncodedRecord, ...]]
    """Records per partition, in offset order."""
    payload: bytes
    """The event as JSON: a retry sends the same bytes."""

    @property
    def size(self) -> int:
        """Number of records."""
        return sum(map(len, self.partitions.values()))

    @property
    def next_offsets(self) -> dict[TopicPartition, int]:
        """The offset to commit for each partition: last + 1."""
        return {source: records[-1].offset + 1 for source, records in self.partitions.items()}


@dataclass(slots=True)
class _Waiting:
    record: EncodedRecord
    arrived_ms: int


class Batcher:
    """Queues per partition on one side, batches on the other."""

    def __init__(self, limits: Limits, envelope: Envelope) -> None:
        self._limits = limits
        self.batch_size = limits.batch_size
        """Most records of the next batch; never above the limit."""
        self._envelope = envelope
        self._empty_size = envelope.empty_size()
        # Insertion order is the order of turns: a partition that was served goes to the back.
        self._queues: dict[TopicPartition, deque[_Waiting]] = {}
        self._records = 0
        self._bytes = self._empty_size
        self._outstanding: Batch | None = None

    def __len__(self) -> int:
        return self._records

    @property
    def outstanding(self) -> Batch | None:
        """The batch that was handed out and not settled."""
        return self._outstanding

    @property
    def full(self) -> bool:
        """Whether waiting longer cannot make the next batch bigger."""
        everything = self._bytes - len(b",")  # the last record has no comma after it
        return self._records >= self.batch_size or everything >= self._limits.payload_bytes

    def add(self, record: EncodedRecord, now_ms: int) -> None:
        """Append a record to its partition; offsets of a partition must ascend."""
        self._queue(record.source).append(_Waiting(record, now_ms))
        self._records += 1
        self._bytes += len(record.json) + len(b",")

    def due_in_ms(self, now_ms: int) -> int | None:
        """Return how long until a batch is due: 0 when it is, None when nothing waits."""
        if self._outstanding is not None:
            return 0
        if not self._records:
            return None
        if self.full:
            return 0
        oldest_ms = min(queue[0].arrived_ms for queue in self._queues.values())
        return max(0, oldest_ms + self._limits.window_ms - now_ms)

    def next_batch(self, now_ms: int) -> Batch | None:
        """Return the outstanding batch, else cut one if it is due.

        Raises:
            RecordTooLargeError: the first record alone exceeds the payload limit. Everything before it in
                its partition has been handed out by then.
        """
        if self._outstanding is None and self.due_in_ms(now_ms) == 0:
            self._outstanding = self._cut()
        return self._outstanding

    def settled(self) -> None:
        """The outstanding batch succeeded: the next one may be cut."""
        self._outstanding = None

    def failed(self) -> None:
        """The outstanding batch failed: it stays outstanding, and comes again as it is."""

    def put_back(self, batch: Batch) -> None:
        """Queue the records of a batch again, before all others of their partitions; they are due at once.

        Its records must be those right before what is queued: whoever puts several back begins with the last.
        """
        for source, records in batch.partitions.items():
            for record in reversed(records):
                self._queue(source).appendleft(_Waiting(record, -self._limits.window_ms))
                self._records += 1
                self._bytes += len(record.json) + len(b",")

    def first_offsets(self) -> dict[TopicPartition, int]:
        """Return the offset of the oldest record that waits, for each partition that has one."""
        return {source: queue[0].record.offset for source, queue in self._queues.items()}

    def _queue(self, source: TopicPartition) -> deque[_Waiting]:
        queue = self._queues.get(source)
        if queue is None:
            queue = self._queues[source] = deque()
            self._bytes += entry_size(source)
        return queue

    def _cut(self) -> Batch:
        chosen = self._choose()
        partitions = {source: tuple(records) for source, records in chosen.items()}
        return Batch(partitions, self._envelope.payload(partitions))

    def _choose(self) -> dict[TopicPartition, list[EncodedRecord]]:
        """Take the oldest record of each partition in turn, until the batch is full.

        The first record that does not fit ends the batch, although one of another partition might fit:
        skipping it again and again would starve its partition.
        """
        chosen: dict[TopicPartition, list[EncodedRecord]] = {}
        size = PayloadSize(self._envelope)
        for _ in range(min(self.batch_size, self._records)):
            source = next(iter(self._queues))
            record = self._queues[source][0].record
            if size.with_record(record) > self._limits.payload_bytes:
                self._must_not_be_first(record, size)
                break
            size.add(record)
            chosen.setdefault(source, []).append(self._take(source))
        return chosen

    def _take(self, source: TopicPartition) -> EncodedRecord:
        queue = self._queues.pop(source)
        record = queue.popleft().record
        if queue:
            self._queues[source] = queue
        else:
            self._bytes -= entry_size(source)
        self._records -= 1
        self._bytes -= len(record.json) + len(b",")
        return record

    def _must_not_be_first(self, record: EncodedRecord, size: PayloadSize) -> None:
        if size.bytes == self._empty_size:
            source, limit = record.source, self._limits.payload_bytes
            raise RecordTooLargeError(*source, record.offset, size.with_record(record), limit)
