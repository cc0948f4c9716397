"""Keys seen for the first time: a list of those that are known, with the moment of their last event."""

from typing import NamedTuple

from chaos.oracle.events import Event, key_of
from chaos.oracle.output import Output
from chaos.oracle.rules import Declared, FirstTimes, Row


class Known(NamedTuple):
    """A key, and when it was last heard of."""

    last_ms: int
    key: Row


class FirstSeenOperator:
    """An operator at work."""

    def __init__(self, declared: Declared, output: Output) -> None:
        assert isinstance(declared.window, FirstTimes)
        self.output = output
        self._declared = declared
        self._rule = declared.window
        self._known: list[Known] = []
        """In the order of their last events."""

    def take(self, event: Event, watermark_ms: int) -> None:
        """Apply one; the watermark is the one before it."""
        key = key_of(event, self._declared.key)
        now_ms = max(event.time_ms, watermark_ms)
        before = [known for known in self._known if known.key == key]
        self._known = [known for known in self._known if known.key != key]
        if not before or now_ms - before[0].last_ms >= self._rule.forget_after_ms:
            self.output.first(event, key, key_of(event, self._rule.samples))
        self._known.append(Known(max([now_ms, *(known.last_ms for known in before)]), key))
        if len(self._known) > self._rule.capacity:
            longest_silent = min(self._known[:-1], key=lambda known: known.last_ms)  # the first of equal ones
            self._known.remove(longest_silent)
        self.output.accepted.append(event)

    def advance(self, watermark_ms: int) -> None:
        """The watermark is here now: who was silent until then for long enough is forgotten."""
        self._known = [known for known in self._known if watermark_ms - known.last_ms < self._rule.forget_after_ms]

    def open_ends_ms(self) -> list[int]:
        """Nothing waits to be given out."""
        return []
