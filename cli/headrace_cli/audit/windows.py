"""Windows and sessions of one partition, worked out again in the plainest way: every window keeps its events.

All times are epoch milliseconds. The watermark of a record is that of the records before it; a window closes
when the watermark reaches its end plus the allowed lateness, and the stream's end closes what is left.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from headrace_cli.audit.records import Produced

BEFORE_ALL_MS = -(2**63)
"""The watermark before the first record."""

Key = Callable[[dict[str, Any]], tuple[str, ...]]
"""What tells the windows of one moment apart."""


class Event(NamedTuple):
    """A record that could be read, and where the partition's time stood when it came."""

    record: Produced
    fields: dict[str, Any]
    time_ms: int
    watermark_ms: int


class Window(NamedTuple):
    """A closed window or session with all of its events; a tumbling window's are in offset order."""

    start_ms: int
    end_ms: int
    key: tuple[str, ...]
    events: list[Event]


class Late(NamedTuple):
    """An event whose window had closed before it."""

    event: Event
    start_ms: int
    end_ms: int


def in_time(readable: Iterable[tuple[Produced, dict[str, Any], int]], out_of_orderness_ms: int) -> list[Event]:
    """The records with the watermark before each: the latest event time so far minus the out-of-orderness."""
    events = []
    watermark_ms = BEFORE_ALL_MS
    for record, fields, time_ms in readable:
        events.append(Event(record, fields, time_ms, watermark_ms))
        watermark_ms = max(watermark_ms, time_ms - out_of_orderness_ms)
    return events


def tumbling(
    events: Iterable[Event], key_of: Key, *, size_ms: int, lateness_ms: int
) -> tuple[list[Window], list[Late]]:
    """Windows `[n * size, (n + 1) * size)` per key."""
    windows: dict[tuple[int, tuple[str, ...]], Window] = {}
    late = []
    for event in events:
        start_ms = event.time_ms // size_ms * size_ms
        end_ms = start_ms + size_ms
        if end_ms + lateness_ms <= event.watermark_ms:
            late.append(Late(event, start_ms, end_ms))
            continue
        key = key_of(event.fields)
        windows.setdefault((start_ms, key), Window(start_ms, end_ms, key, [])).events.append(event)
    return list(windows.values()), late


def sessions(events: Iterable[Event], key_of: Key, *, gap_ms: int, lateness_ms: int) -> tuple[list[Window], list[Late]]:
    """Sessions per key: events at most a gap apart belong together, `end = last event + gap`.

    An event joins every session that it is within a gap of and that was still open; it is late when there is
    none and its own session would have been closed already.
    """
    ended: list[Window] = []
    open_of: dict[tuple[str, ...], list[Window]] = {}
    late = []
    for event in events:
        key = key_of(event.fields)
        known = open_of.setdefault(key, [])
        ended += [s for s in known if s.end_ms + lateness_ms <= event.watermark_ms]
        known[:] = [s for s in known if s.end_ms + lateness_ms > event.watermark_ms]
        touched = [s for s in known if s.start_ms - gap_ms <= event.time_ms <= s.end_ms]
        if not touched and event.time_ms + gap_ms + lateness_ms <= event.watermark_ms:
            late.append(Late(event, event.time_ms, event.time_ms + gap_ms))
            continue
        known[:] = [s for s in known if s.start_ms not in {t.start_ms for t in touched}]
        known.append(_joined(touched, event, key, gap_ms))
    return ended + [session for known in open_of.values() for session in known], late


def _joined(touched: list[Window], event: Event, key: tuple[str, ...], gap_ms: int) -> Window:
    start_ms = min([event.time_ms, *(session.start_ms for session in touched)])
    end_ms = max([event.time_ms + gap_ms, *(session.end_ms for session in touched)])
    events, *others = [session.events for session in touched] or [[]]
    for other in others:
        events += other
    events.append(event)
    return Window(start_ms, end_ms, key, events)


def first(events: Iterable[Event]) -> Event:
    """The earliest event; of several at one time the one with the lowest offset."""
    return min(events, key=lambda event: (event.time_ms, event.record.offset))


def last(events: Iterable[Event]) -> Event:
    """The latest event; of several at one time the one with the highest offset."""
    return max(events, key=lambda event: (event.time_ms, event.record.offset))


def added_up(values: Iterable[float | None]) -> float | None:
    """The sum, added one by one in the given order; None of no values."""
    total = None  # not by `sum`, which compensates since Python 3.12
    for value in values:
        if value is not None:
            total = value if total is None else total + value
    return total


def quantiles(values: Sequence[float]) -> tuple[tuple[str, float], ...] | None:
    """The value that half of all do not exceed, that 95 % do not, and that 99 % do not; None without values.

    The smallest and the largest are exact, others the middle of the part that they are in: 64 equal ones lie between
    two powers of two. (There would be fewer if values were in more than 4,096 parts, which the demo's are not.)
    """
    if not values:
        return None
    ordered = sorted(values)
    return tuple((f"p{percent}", _at_rank(ordered, -(-percent * len(ordered) // 100))) for percent in (50, 95, 99))


def _at_rank(ordered: Sequence[float], rank: int) -> float:
    value = float(ordered[rank - 1])
    if rank in {1, len(ordered)} or value == 0:
        return value
    width = math.ldexp(1, math.frexp(value)[1] - 1) / 64
    middle = math.copysign((abs(value) // width + 0.5) * width, value)
    return min(max(middle, float(ordered[0])), float(ordered[-1]))
