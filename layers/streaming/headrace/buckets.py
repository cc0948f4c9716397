"""How many records one turn takes: up to the first one whose bucket of event time would be one too many.

Every bucket is a file of its own and every file costs requests, an outbox entry and, however few its rows, some
kilobytes of memory. Late data can be of thousands of hours in one batch. Where a batch is cut changes no
result, so the cut bounds what one commit writes, keeps every file to its hour, and what is committed stays committed
when the function's time is over before the batch is.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from headrace import lake
from headrace.codec import Decoded
from headrace.records import Record

MAX_BUCKETS = 2000
"""Per commit. Fewer would write more files in all: records of hours in any order fill the bound again and again, each
time with a row or two per file. A file costs three requests: at 8 at a time of 30 to 60 ms each, 2,000 files take 22 to
45 s, well within a function's time; what one commit cannot do within it would be tried for ever."""

_offset = attrgetter("offset")


def end(
    records: Sequence[Record], decoded: Decoded, times_ms: list[int], *, limit: int, bucket_hours: int
) -> int | None:
    """The offset of the first record that is of one bucket too many; None if there is none.

    The first record is always taken: a record that has several events bounds by itself of how many hours they are.

    Args:
        records: a batch, in offset order.
        decoded: what became of it; dead letters, and lines that continue others, are counted by themselves, by the
            hours of Kafka's timestamps.
        times_ms: of its values.
        limit: how many buckets there may be.
        bucket_hours: how much event time a bucket is.
    """
    bucket_ms = bucket_hours * lake.HOUR_MS
    ends = [_first_beyond(map(_offset, decoded.records), times_ms, records, limit, bucket_ms)]
    for others in (decoded.poison, decoded.continuations):
        in_order = sorted([record for record, _ in others], key=_offset)
        arrivals_ms = lake.within_years([record.timestamp_ms for record in in_order])
        ends.append(_first_beyond(map(_offset, in_order), arrivals_ms, records, limit, lake.HOUR_MS))
    return min((offset for offset in ends if offset is not None), default=None)


def _may_exceed(times_ms: Sequence[int], limit: int, bucket_ms: int) -> bool:
    """Whether the times could be of more buckets: without a step per record."""
    return bool(times_ms) and max(times_ms) // bucket_ms - min(times_ms) // bucket_ms >= limit


def _first_beyond(
    offsets: Iterable[int], times_ms: Sequence[int], batch: Sequence[Record], limit: int, bucket_ms: int
) -> int | None:
    if not _may_exceed(times_ms, limit, bucket_ms):
        return None
    buckets: set[int] = set()
    for offset, time_ms in zip(offsets, times_ms, strict=True):
        buckets.add(time_ms // bucket_ms)
        if len(buckets) > limit and offset > batch[0].offset:
            return offset
    return None
