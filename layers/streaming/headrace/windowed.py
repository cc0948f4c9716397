"""Aggregates per window and key: the operator that a topology declares, for every kind of window.

What is declared is one frozen value; `build` chooses who does the work: `fixed` (tumbling, hopping, calendar),
`early` (the same with early results), `sliding` or `sessions`.
"""

import msgspec

from headrace.aggregates import Aggregate
from headrace.codec import Codec
from headrace.early import RunningEarly, RunningEarlySessions
from headrace.errors import ConfigurationError
from headrace.fixed import RunningFixed
from headrace.operators import Restored, Running
from headrace.records import TopicPartition
from headrace.sessions import RunningSessions
from headrace.sliding import RunningSliding
from headrace.window_rows import EARLY, Table, Top, check_table
from headrace.windows import SessionWindows, SlidingWindows, Windows


class Windowed(msgspec.Struct, frozen=True):
    """Aggregates per window and key, a row for each when the window closes."""

    table: str
    """Name of the table that the rows go to."""
    window: Windows
    """Which windows there are."""
    key: tuple[str, ...]
    """Fields of the value that make the key; none: one group for all."""
    aggregates: dict[str, Aggregate]
    """Column name to aggregate."""
    complete: bool = False
    """Whether the topic is keyed by the same fields: then no other partition has events of a key, and a row is the
    whole truth (of windows that began after the last change of the number of partitions). Otherwise rows are partials
    that readers merge."""
    allowed_lateness_ms: int | None = None
    """How long a window stays open after the watermark passed its end; None: as the topology says."""
    early_results: bool = False
    """Whether a window whose end the watermark has passed, and that still waits for late records, is also given out
    at once and at each record that changes it, in the table `<table>_early`. Sense only with allowed lateness."""
    top: Top | None = None
    """Keep only the best keys of each window."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigurationError: in a sentence.
        """
        what = f"the windows of table {self.table!r}"
        check_table(what, self.table)
        if not self.aggregates:
            raise ConfigurationError(f"{what} need at least one aggregate")
        if self.allowed_lateness_ms is not None and self.allowed_lateness_ms < 0:
            raise ConfigurationError(
                f"{what}: allowed_lateness_ms must not be negative, not {self.allowed_lateness_ms}"
            )
        if self.early_results and isinstance(self.window, SlidingWindows):
            raise ConfigurationError(
                f"{what}: sliding windows have no early results: each is given out at its own event"
            )
        if self.top is not None:
            self._check_top(what, self.top)

    def _check_top(self, what: str, top: Top) -> None:
        if isinstance(self.window, SlidingWindows | SessionWindows):
            raise ConfigurationError(
                f"{what}: top compares the keys of one window, and these windows are one key's own"
            )
        if self.early_results:
            raise ConfigurationError(f"{what}: top and early_results cannot be had together: a rank has no revisions")
        if top.by not in self.aggregates:
            raise ConfigurationError(f"{what}: top is by {top.by!r}, which is none of {', '.join(self.aggregates)}")

    @property
    def tables(self) -> tuple[str, ...]:
        """All tables that it has rows for."""
        return (self.table, f"{self.table}{EARLY}") if self.early_results else (self.table,)

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, restored: Restored) -> Running:
        """See `Operator.build`."""
        table = Table(self, codec.schema, place)
        if self.allowed_lateness_ms is not None:
            lateness_ms = self.allowed_lateness_ms
        match self.window:
            case SessionWindows():
                sessions = RunningEarlySessions if self.early_results else RunningSessions
                return sessions(self, self.window, table, lateness_ms, restored)
            case SlidingWindows():
                return RunningSliding(self, self.window, table, lateness_ms, restored)
            case _:
                fixed = RunningEarly if self.early_results else RunningFixed
                return fixed(self, self.window, table, lateness_ms, restored)
