"""Sliding windows: all events of a key are kept for ever, and each event time that was not late has a window.

An event counts in every window that reaches it and was not closed when it came: in one that had its own event before
as in one whose event is still to come. It is late for the window of its own time alone: windows of other events'
times that it would have belonged to as well, and that had closed, are not counted, nor remembered by anybody.
"""

from chaos.oracle.events import Event, key_of
from chaos.oracle.output import Bounds, Output
from chaos.oracle.rules import Declared, Row, Sliding


class SlidingOperator:
    """An operator at work."""

    def __init__(self, declared: Declared) -> None:
        assert isinstance(declared.window, Sliding)
        self.output = Output(declared)
        self._declared = declared
        self._size_ms = declared.window.size_ms
        self._events: dict[Row, list[Event]] = {}
        self._open: set[tuple[int, Row]] = set()
        """Event time and key of the windows that are not closed."""

    def take(self, event: Event, watermark_ms: int) -> None:
        """Apply one; the watermark is the one before it."""
        key = key_of(event, self._declared.key)
        self._events.setdefault(key, []).append(event)
        if self.output.is_closed(event.time_ms + 1, watermark_ms):
            self.output.too_late(event, [self._bounds(event.time_ms)], watermark_ms)
        else:
            self._open.add((event.time_ms, key))
            self.output.accepted.append(event)

    def advance(self, watermark_ms: int) -> None:
        """The watermark is here now."""
        for time_ms, key in sorted(self._open):
            if self.output.is_closed(time_ms + 1, watermark_ms):
                self._open.remove((time_ms, key))
                inside = [event for event in self._events[key] if time_ms - self._size_ms <= event.time_ms <= time_ms]
                self.output.final(self._bounds(time_ms), key, inside)

    def open_ends_ms(self) -> list[int]:
        """Of the windows that are not closed."""
        return [time_ms + 1 for time_ms, _ in self._open]

    def _bounds(self, time_ms: int) -> Bounds:
        return Bounds(time_ms - self._size_ms, time_ms + 1)
