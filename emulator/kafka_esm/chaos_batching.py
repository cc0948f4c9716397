"""Batches under chaos: forgotten ones come again, and what comes again is cut elsewhere.

What still holds: records of a partition leave in offset order, and none newer than a record that has not succeeded
yet. Two bounds make every run end: no record is redelivered twice, and a batch that failed and is cut smaller has at
least one record.
"""

from collections import deque
from collections.abc import Iterable

from kafka_esm.batching import Batch, Batcher, Limits
from kafka_esm.chaos import MOST_REWOUND, ChaosPlan, Fault, Recut
from kafka_esm.event import Envelope, TopicPartition


class ChaosBatcher(Batcher):
    """A batcher that forgets successes and changes its mind about where batches end."""

    def __init__(self, limits: Limits, envelope: Envelope, plan: ChaosPlan) -> None:
        super().__init__(limits, envelope)
        self._plan = plan
        self._most_records = limits.batch_size
        self._succeeded: dict[TopicPartition, int] = {}
        # The last batches, one after the other, whose records had never succeeded before: what can be forgotten.
        self._fresh: deque[Batch] = deque(maxlen=MOST_REWOUND)
        # Until these offsets the records come again; the size they came in first is compared once.
        self._again_until: dict[TopicPartition, int] = {}
        self._size_before: int | None = None
        self._draw_size()

    def settled(self) -> None:
        """The outstanding batch succeeded: the next may be cut, or this one and some before come again."""
        batch = self.outstanding
        super().settled()
        if batch is None:
            return
        if self._was_fresh(batch):
            self._fresh.append(batch)
            self._rewind(self._plan.rewind())
        else:
            # Something already forgotten once is between what is in `_fresh` and what comes next.
            self._fresh.clear()
        self._draw_size()

    def failed(self) -> None:
        """The outstanding batch failed: it comes again, or its records do."""
        batch, recut = self.outstanding, self._plan.recut()
        if batch is not None and recut is not Recut.SAME:
            super().settled()
            self._come_again([batch], recut)

    def _was_fresh(self, batch: Batch) -> bool:
        """Whether none of its records had succeeded before; notes that they have now."""
        is_fresh = True
        for source, records in batch.partitions.items():
            until = self._succeeded.get(source, 0)
            is_fresh &= records[0].offset >= until
            self._succeeded[source] = max(until, records[-1].offset + 1)
        return is_fresh

    def _rewind(self, count: int) -> None:
        if not count:
            return
        forgotten = list(self._fresh)[-count:]
        self._fresh.clear()
        records = sum(batch.size for batch in forgotten)
        self._plan.on_fault(Fault.REDELIVERED, f"forgets {len(forgotten)} batches of {records} records that succeeded")
        self._come_again(forgotten, self._plan.recut())

    def _come_again(self, batches: list[Batch], recut: Recut) -> None:
        for batch in reversed(batches):
            self.put_back(batch)
        self._size_before = batches[0].size
        self._again_until = _ends(batches)
        sizes = {Recut.SAME: self._size_before, Recut.SMALLER: self._size_before // 2, Recut.LARGER: self._most_records}
        self.batch_size = max(1, sizes[recut])

    def _draw_size(self) -> None:
        if not self._comes_again():
            self.batch_size = max(1, int(self._most_records * self._plan.share()))

    def _comes_again(self) -> bool:
        return any(offset < self._again_until.get(source, 0) for source, offset in self.first_offsets().items())

    def _cut(self) -> Batch:
        batch = super()._cut()
        before, self._size_before = self._size_before, None
        if before is not None and batch.size != before:
            fault = Fault.RECUT_SMALLER if batch.size < before else Fault.RECUT_LARGER
            self._plan.on_fault(fault, f"cuts what comes again into {batch.size} records, before {before}")
        return batch


def _ends(batches: Iterable[Batch]) -> dict[TopicPartition, int]:
    return {source: offset for batch in batches for source, offset in batch.next_offsets.items()}
