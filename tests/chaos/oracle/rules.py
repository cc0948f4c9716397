"""What a pipeline was configured with, and what its logs hold: the oracle's own words for it, all plain tuples."""

from collections import Counter
from typing import Any, NamedTuple

Row = tuple[Any, ...]
Rows = Counter[Row]
"""A multiset."""
Tables = dict[str, Rows]
"""Table to its rows."""


class Logged(NamedTuple):
    """One record of a partition's log."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Tumbling(NamedTuple):
    """Side by side, from `offset_ms` on in both directions."""

    size_ms: int
    offset_ms: int = 0


class Hopping(NamedTuple):
    """One starts every `advance_ms`; they overlap, or leave gaps."""

    size_ms: int
    advance_ms: int
    offset_ms: int = 0


class Calendar(NamedTuple):
    """Days of a time zone."""

    zone: str


class Sliding(NamedTuple):
    """One for every event time of a key: everything from `size_ms` before it up to it."""

    size_ms: int


class Sessions(NamedTuple):
    """Activity of a key without a silence longer than the gap."""

    gap_ms: int


class FirstTimes(NamedTuple):
    """No windows: a row when a key is new, or was forgotten."""

    forget_after_ms: int
    """Of silence."""
    capacity: int
    """When more keys are known, the one that is silent longest is forgotten."""
    samples: tuple[str, ...] = ()
    """Fields that a row has beside the key."""


Fixed = Tumbling | Hopping | Calendar
"""Windows that time alone decides."""


class Column(NamedTuple):
    """An aggregate."""

    name: str
    what: str
    """`count`, `sum`, `min`, `max`, `mean`, `first`, `last`, or `values`: all of them with their times, as JSON; or
    `samples`: the first two in offset order, of events whose `value` is neither 0 nor absent."""
    field: str | None = None


class Top(NamedTuple):
    """Only the best keys of each window are given out."""

    keys: int
    by: str
    """A column; the largest are the best, and none at all is worse than any. Ties: the smaller key."""


class Share(NamedTuple):
    """One column divided by another is above a limit."""

    name: str
    part: str
    whole: str
    above: float
    at_least: int
    """Fewer in the whole say nothing."""


class Change(NamedTuple):
    """A column is so many times that of the step before, or more; with a factor below 1, or less."""

    name: str
    of: str
    factor: float
    at_least: int
    """Fewer in the larger of both steps say nothing."""


class Silence(NamedTuple):
    """A session that is over, of so many events or more."""

    name: str
    at_least: int


class News(NamedTuple):
    """A key that is seen for the first time, if a field has one of these values."""

    name: str
    column: str
    one_of: tuple[str, ...]


AlertRule = Share | Change | Silence | News


class Declared(NamedTuple):
    """An operator."""

    table: str
    window: Fixed | Sliding | Sessions | FirstTimes
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    lateness_ms: int = 0
    early: bool = False
    top: Top | None = None
    complete: bool = False
    """Whether a row is the whole truth; otherwise it has what merging it with other partitions' rows takes."""
    alerts: tuple[AlertRule, ...] = ()
    """Rules that it is watched by: see `oracle.alerts`."""

    @property
    def has_table(self) -> bool:
        """Windows that are watched are none."""
        return not self.alerts or isinstance(self.window, FirstTimes)

    @property
    def kind(self) -> str:
        """Of the windows, in a word."""
        return type(self.window).__name__.lower()


class Lines(NamedTuple):
    """Records are taken for log lines, and landed with the lines that continue them: see `oracle.lines`."""

    hold_ms: int
    streams: int
    lines: int
    characters: int


class Rules(NamedTuple):
    """The whole configuration; milliseconds."""

    operators: tuple[Declared, ...]
    out_of_orderness_ms: int
    max_skew_ms: int
    landing: bool = True
    """Whether every event is landed as well."""
    lines: Lines | None = None
    """How, if records are log lines."""
