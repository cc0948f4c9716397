"""Which windows an event time belongs to: the declarations that a function's topology makes.

All windows are half-open, `[start, end)`, in epoch milliseconds, and may start before the epoch. What Flink, Kafka
Streams, Beam and Quix decide about the same questions, and why ours is what it is: docs/windows.md.
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from math import gcd
from typing import Literal, NamedTuple, get_args, overload
from zoneinfo import ZoneInfo

import msgspec

from headrace.errors import ConfigurationError


class Window(NamedTuple):
    """One window; epoch milliseconds."""

    start_ms: int
    end_ms: int
    """The first moment that does not belong to it."""


class TumblingWindows(msgspec.Struct, frozen=True):
    """Windows of one size, side by side.

        0        60        120
        |--------|---------|---------        size_ms = 60

    Raises:
        ConfigurationError: the size is not positive, or the offset not smaller than the size.
    """

    size_ms: int
    """Length of every window."""
    offset_ms: int = 0
    """Where windows start, counted from the epoch: 6 h makes days from 06:00 UTC. May be negative."""

    def __post_init__(self) -> None:
        """Refuse a window that contains nothing."""
        _check_positive("a tumbling window's size_ms", self.size_ms)
        _check_offset("a tumbling window's", self.offset_ms, "size_ms", self.size_ms)

    def containing(self, time_ms: int) -> list[Window]:
        """The window of a time."""
        start_ms = time_ms - (time_ms - self.offset_ms) % self.size_ms
        return [Window(start_ms, start_ms + self.size_ms)]


class HoppingWindows(msgspec.Struct, frozen=True):
    """Windows of one size that start every `advance_ms`, so that they overlap.

        0        60        120       180
        |------------------|                 size_ms = 120
                 |-------------------|       advance_ms = 60

    Raises:
        ConfigurationError: size or advance is not positive, the offset is not smaller than the advance, or windows
            leave times out without saying so.
    """

    size_ms: int
    """Length of every window."""
    advance_ms: int
    """From one start to the next."""
    offset_ms: int = 0
    """Where windows start, counted from the epoch. May be negative."""
    leaves_gaps: bool = False
    """Say so when `advance_ms` is larger than `size_ms`: events between two windows are in none, and are not late."""

    def __post_init__(self) -> None:
        """Refuse windows that contain nothing, or not everything."""
        _check_positive("a hopping window's size_ms", self.size_ms)
        _check_positive("a hopping window's advance_ms", self.advance_ms)
        _check_offset("a hopping window's", self.offset_ms, "advance_ms", self.advance_ms)
        if self.advance_ms > self.size_ms and not self.leaves_gaps:
            raise ConfigurationError(
                f"a hopping window's advance_ms ({self.advance_ms}) is larger than its size_ms ({self.size_ms}): "
                "events between two windows would be counted nowhere. Say leaves_gaps=True if that is meant"
            )

    @property
    def pane_ms(self) -> int:
        """The longest slice of time of which every window is a whole number: events are aggregated once per pane."""
        return gcd(self.size_ms, self.advance_ms)

    def containing(self, time_ms: int) -> Sequence[Window]:
        """The windows of a time, the earliest first. They are made when looked at: there can be thousands."""
        last_ms = time_ms - (time_ms - self.offset_ms) % self.advance_ms
        earlier = (time_ms - self.size_ms - last_ms) // self.advance_ms + 1  # not positive: windows before the last
        return _Hops(range(last_ms + earlier * self.advance_ms, last_ms + 1, self.advance_ms), self.size_ms)


class _Hops(Sequence[Window]):
    """Windows of one size, by their starts."""

    def __init__(self, starts_ms: range, size_ms: int) -> None:
        self._starts_ms, self._size_ms = starts_ms, size_ms

    def __len__(self) -> int:
        return len(self._starts_ms)

    @overload
    def __getitem__(self, place: int) -> Window: ...
    @overload
    def __getitem__(self, place: slice) -> "_Hops": ...
    def __getitem__(self, place: int | slice) -> "Window | _Hops":
        found = self._starts_ms[place]
        return _Hops(found, self._size_ms) if isinstance(found, range) else Window(found, found + self._size_ms)


CalendarUnit = Literal["day", "week", "month"]


class CalendarWindows(msgspec.Struct, frozen=True):
    """Days, weeks (from Monday) or months of a time zone, side by side.

        2024-03-30        2024-03-31    2024-04-01     zone = "Europe/Berlin": clocks go forward on
        |--------24 h-----|----23 h-----|---------     the 31st, and that day is an hour shorter

    In the first and the last year of the calendar (1 and 9999), whose ends no zone can reach, windows are days of UTC;
    so is what begins in the first one.

    Raises:
        ConfigurationError: there is no such unit or zone.
    """

    unit: CalendarUnit = "day"
    """What one window is."""
    zone: str = "UTC"
    """Name in the IANA time zone database."""

    def __post_init__(self) -> None:
        """Refuse what no calendar knows."""
        if self.unit not in get_args(CalendarUnit):
            known = ", ".join(get_args(CalendarUnit))
            raise ConfigurationError(f"a calendar window's unit must be one of {known}, not {self.unit!r}")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):  # not found; not a name; a folder
            raise ConfigurationError(
                f"a calendar window's zone {self.zone!r} is not in the time zone database"
            ) from None

    def containing(self, time_ms: int) -> list[Window]:
        """The window of a time."""
        if not _CALENDAR_FROM_MS <= time_ms < _CALENDAR_TO_MS:
            return TumblingWindows(_DAY_MS).containing(time_ms)
        moment = _EPOCH + timedelta(milliseconds=time_ms)
        first = _first_date(self.unit, moment.astimezone(ZoneInfo(self.zone)).date())
        window = _calendar_window(self.unit, self.zone, first)
        if window.start_ms < _CALENDAR_FROM_MS:
            return TumblingWindows(_DAY_MS).containing(time_ms)
        if time_ms >= window.end_ms:  # clocks went back over midnight: the next day has begun already
            window = _calendar_window(self.unit, self.zone, _next_date(self.unit, first))
        return [window]


class SlidingWindows(msgspec.Struct, frozen=True):
    """A window for each event time of a key, with everything of the size before it: `[time - size, time]`.

        events     10   14     20                 size_ms = 6
        windows    [10]
                 [10 14]                          one row per key and distinct event time
                        [14 20]

    As in Kafka Streams, Quix and SQL's `RANGE BETWEEN … PRECEDING`, both ends belong to the window; half-open that is
    `[time - size_ms, time + 1)`.

    Raises:
        ConfigurationError: the size is not positive.
    """

    size_ms: int
    """How far a window reaches back from its event."""

    def __post_init__(self) -> None:
        """Refuse a window of one moment."""
        _check_positive("a sliding window's size_ms", self.size_ms)


class SessionWindows(msgspec.Struct, frozen=True):
    """Windows of activity, closed by a silence longer than the gap.

        events     10  15      40                gap_ms = 10
        sessions   [10 ---- 25)[40 -- 50)

    An event exactly one gap after the last one still belongs to the session (Flink and Kafka Streams agree), and
    `end = last event + gap`. An event that is in reach of two sessions merges them.

    Raises:
        ConfigurationError: the gap is not positive.
    """

    gap_ms: int
    """The longest silence inside a session."""

    def __post_init__(self) -> None:
        """Refuse a gap that would make every event a session, or none."""
        _check_positive("a session window's gap_ms", self.gap_ms)


FixedWindows = TumblingWindows | HoppingWindows | CalendarWindows
"""Those that time alone decides, whatever the events."""
Windows = FixedWindows | SlidingWindows | SessionWindows
"""Everything that can be declared."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DAY_MS = 86_400_000
_LONGEST_MS = 10_000 * 366 * _DAY_MS
"""Longer than from year 1 to 9999."""
_CALENDAR_FROM_MS, _CALENDAR_TO_MS = ((datetime(year, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND for year in (2, 9999))


@lru_cache(maxsize=1024)
def _calendar_window(unit: CalendarUnit, zone: str, first: date) -> Window:
    return Window(_starts_at_ms(first, zone), _starts_at_ms(_next_date(unit, first), zone))


def _starts_at_ms(day: date, zone: str) -> int:
    """The first moment of a day: midnight, or, where clocks skip midnight, the moment at which they do."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    moment = midnight.astimezone(UTC)
    if moment.astimezone(midnight.tzinfo).replace(tzinfo=None) != midnight.replace(tzinfo=None):
        moment = _transition_before(moment, midnight)
    return (moment - _EPOCH) // _MILLISECOND


def _transition_before(moment: datetime, skipped: datetime) -> datetime:
    """When clocks skipped this local time: `moment` is what it would have been had they not."""
    offset = skipped.utcoffset()
    seconds = range(-86_400, 1)
    changed = bisect_left(
        seconds, True, key=lambda s: (moment + timedelta(seconds=s)).astimezone(skipped.tzinfo).utcoffset() != offset
    )
    return moment + timedelta(seconds=seconds[changed])


def _first_date(unit: CalendarUnit, day: date) -> date:
    if unit == "month":
        return day.replace(day=1)
    days = day.weekday() if unit == "week" else 0
    return day - timedelta(days=days)


def _next_date(unit: CalendarUnit, first: date) -> date:
    if unit == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if unit == "week" else 1)


def _check_positive(what: str, length_ms: int) -> None:
    if not isinstance(length_ms, int) or length_ms <= 0:
        raise ConfigurationError(f"{what} must be positive, not {length_ms}")
    if length_ms > _LONGEST_MS:
        raise ConfigurationError(f"{what} must be no more than {_LONGEST_MS}, all time there is, not {length_ms}")


def _check_offset(whose: str, offset_ms: int, of: str, length_ms: int) -> None:
    if not isinstance(offset_ms, int) or abs(offset_ms) >= length_ms:
        raise ConfigurationError(f"{whose} offset_ms ({offset_ms}) must be smaller than its {of} ({length_ms})")
