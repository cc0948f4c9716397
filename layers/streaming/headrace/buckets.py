"""How many records one turn takes: up to the first one whose bucket of event time would be one too many.

Every bucket is a file of its own and every file costs requests, an outbox entry and, however few its rows, some
kilobytes of memory. Late data can be of thousands of hours in one batch. Where a batch is cut changes no
result, so the cut bounds what one commit writes, keeps every file to its hour, and what is committed stays committed
when the function's time is over before the batch is.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from operator import attrgetter

from headrace import lake
from headrace.codec import Decoded

MAX_BUCKETS = 2000
"""Per commit. Fewer would write more files in all: records of hours in any order fill the bound again and again, each
time with a row or two per file. A file costs three requests: at 8 at a time of 30 to 60 ms each, 2,000 files take 22 to
45 s, well within a function's time; what one commit cannot do within it would be tried for ever."""

_offset = attrgetter("offset")


def cut(decoded: Decoded, times_ms: list[int], *, limit: int, bucket_hours: int) -> list[int]:
    """Leave out the records from the first one on that is of one bucket too many; the event times of the others.

    Args:
        decoded: a batch; dead letters are counted by themselves, by the hours of Kafka's timestamps.
        times_ms: of its readable records.
        limit: how many buckets there may be.
        bucket_hours: how much event time a bucket is.
    """
    bucket_ms = bucket_hours * lake.HOUR_MS
    dead_ms = lake.within_years([record.timestamp_ms for record, _ in decoded.poison])
    if not _may_exceed(times_ms, limit, bucket_ms) and not _may_exceed(dead_ms, limit, lake.HOUR_MS):
        return times_ms
    readable = zip(map(_offset, decoded.records), times_ms, strict=True)
    dead = sorted((record.offset, at_ms) for (record, _), at_ms in zip(decoded.poison, dead_ms, strict=True))
    ends = _first_beyond(readable, limit, bucket_ms), _first_beyond(dead, limit, lake.HOUR_MS)
    end = min((offset for offset in ends if offset is not None), default=None)
    return times_ms if end is None else _before(end, decoded, times_ms)


def _may_exceed(times_ms: Sequence[int], limit: int, bucket_ms: int) -> bool:
    """Whether the times could be of more buckets: without a step per record."""
    return bool(times_ms) and max(times_ms) // bucket_ms - min(times_ms) // bucket_ms >= limit


def _first_beyond(placed: Iterable[tuple[int, int]], limit: int, bucket_ms: int) -> int | None:
    """The offset, of (offset, time), of the first one that is of one bucket too many."""
    buckets: set[int] = set()
    for offset, time_ms in placed:
        buckets.add(time_ms // bucket_ms)
        if len(buckets) > limit:
            return offset
    return None


def _before(end: int, decoded: Decoded, times_ms: list[int]) -> list[int]:
    kept = bisect_left(decoded.records, end, key=_offset)
    del decoded.records[kept:], decoded.values[kept:]
    decoded.poison[:] = [(record, error) for record, error in decoded.poison if record.offset < end]
    return times_ms[:kept]
