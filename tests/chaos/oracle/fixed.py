"""Tumbling, hopping and calendar windows: every window keeps a list of events for each of its keys."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from chaos.oracle.events import Event, aggregate, key_of
from chaos.oracle.output import Bounds, Output
from chaos.oracle.rules import Calendar, Declared, Fixed, Hopping, Row, Top, Tumbling


class Group:
    """The events of one key in one window."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.revisions = 0
        """How often it was given out."""
        self.changed = True
        """Since then."""


class FixedOperator:
    """An operator at work."""

    def __init__(self, declared: Declared) -> None:
        self.output = Output(declared)
        self._declared = declared
        self._open: dict[Bounds, dict[Row, Group]] = {}

    def take(self, event: Event, watermark_ms: int) -> None:
        """Apply one; the watermark is the one before it."""
        missed = []
        windows = windows_of(self._declared.window, event.time_ms)  # type: ignore[arg-type]
        for bounds in windows:
            if self.output.is_closed(bounds.end_ms, watermark_ms):
                missed.append(bounds)
                continue
            group = self._open.setdefault(bounds, {}).setdefault(key_of(event, self._declared.key), Group())
            group.events.append(event)
            group.changed = True
        if missed:
            self.output.too_late(event, missed, watermark_ms)
        if len(missed) < len(windows):
            self.output.accepted.append(event)

    def advance(self, watermark_ms: int) -> None:
        """The watermark is here now."""
        for bounds in sorted(self._open):
            if self.output.is_closed(bounds.end_ms, watermark_ms):
                self._close(bounds, self._open.pop(bounds))
            elif self._declared.early and watermark_ms >= bounds.end_ms:
                self._give_out(bounds, self._open[bounds])

    def open_ends_ms(self) -> list[int]:
        """Of the windows that are not closed."""
        return [bounds.end_ms for bounds in self._open]

    def _close(self, bounds: Bounds, groups: dict[Row, Group]) -> None:
        for key in best(groups, self._declared) if self._declared.top else groups:
            self.output.final(bounds, key, groups[key].events)

    def _give_out(self, bounds: Bounds, groups: dict[Row, Group]) -> None:
        for key, group in groups.items():
            if group.changed:
                self.output.revised(bounds, key, group.events, group.revisions)
                group.revisions += 1
                group.changed = False


def best(groups: dict[Row, Group], declared: Declared) -> list[Row]:
    """The keys that the operator's `top` leaves."""
    top: Top = declared.top  # type: ignore[assignment]
    (column,) = [column for column in declared.columns if column.name == top.by]

    def worse(key: Row) -> tuple[bool, float, Row]:
        value = aggregate(groups[key].events, column)
        return (value is None, -(value or 0), key)

    return sorted(groups, key=worse)[: top.keys]


def windows_of(window: Fixed, time_ms: int) -> list[Bounds]:
    """Those that a time belongs to, the earliest first."""
    match window:
        case Tumbling(size_ms, offset_ms):
            start_ms = (time_ms - offset_ms) // size_ms * size_ms + offset_ms
            return [Bounds(start_ms, start_ms + size_ms)]
        case Hopping(size_ms, advance_ms, offset_ms):
            start_ms = (time_ms - offset_ms) // advance_ms * advance_ms + offset_ms
            found = []
            while start_ms + size_ms > time_ms:
                found.insert(0, Bounds(start_ms, start_ms + size_ms))
                start_ms -= advance_ms
            return found
        case Calendar(zone):
            day = datetime.fromtimestamp(time_ms // 1000, ZoneInfo(zone)).date()
            return [Bounds(_midnight_ms(day, zone), _midnight_ms(day + timedelta(days=1), zone))]
    raise AssertionError(window)


def _midnight_ms(day: date, zone: str) -> int:
    """When a day begins. Where clocks skip midnight this is when they do so; days begin once in the zones we test."""
    return round(datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC).timestamp() * 1000)
