"""Which windows an event time belongs to. All windows are half-open, `[start, end)`, in epoch milliseconds."""

import msgspec

from headrace.errors import ConfigurationError


class TumblingWindows(msgspec.Struct, frozen=True):
    """Windows of one size, side by side, aligned to the epoch.

        0        60        120
        |--------|---------|---------        size_ms = 60

    A negative time has a window with a negative start (Flink's rule: the start is the floor).
    """

    size_ms: int
    """Length of every window."""

    def __post_init__(self) -> None:
        """Refuse a window that contains nothing."""
        if self.size_ms <= 0:
            raise ConfigurationError(f"a tumbling window's size_ms must be positive, not {self.size_ms}")

    def start_ms(self, time_ms: int) -> int:
        """Start of the window that contains the time."""
        return time_ms - time_ms % self.size_ms


class SessionWindows(msgspec.Struct, frozen=True):
    """Windows of activity, closed by a silence longer than the gap.

        events     10  15      40                gap_ms = 10
        sessions   [10 ---- 25)[40 -- 50)

    An event exactly one gap after the last one still belongs to the session (Flink and Kafka Streams agree), and
    `end = last event + gap`.
    """

    gap_ms: int
    """The longest silence inside a session."""

    def __post_init__(self) -> None:
        """Refuse a gap that would make every event a session, or none."""
        if self.gap_ms <= 0:
            raise ConfigurationError(f"a session window's gap_ms must be positive, not {self.gap_ms}")
