"""What has to come out, computed from the records and the committed ticks by plain, obvious, single-threaded code.

It imports nothing of the code that it judges (a test holds that) and knows nothing of batches, retries or commits: one
record after the other, every window keeps its events, every session is a list of events.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Row = tuple[Any, ...]
Tables = dict[str, Counter[Row]]
"""Table to its rows, as a multiset."""


class Logged(NamedTuple):
    """One record of a partition's log."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Rules(NamedTuple):
    """What the pipeline was configured with; milliseconds."""

    window_ms: int
    gap_ms: int
    out_of_orderness_ms: int
    lateness_ms: int
    max_skew_ms: int


class Event(NamedTuple):
    """A record that could be read."""

    record: Logged
    fields: dict[str, Any]
    time_ms: int


class Tick(NamedTuple):
    """A committed tick: it came before the record at this offset, and set the watermark."""

    next_offset: int
    watermark_ms: int


class Expected(NamedTuple):
    """Everything that has to come out of one partition."""

    tables: Tables
    ticks: list[Tick]
    """Where ticks were, with the watermark that each had to set."""
    late: list[tuple[str, Event]]
    """Table and event of every late row."""
    accepted: list[tuple[str, Event]]
    """Table and event of everything that went into a window."""


def expected(records: Sequence[Logged], ticks_before: Iterable[int], rules: Rules) -> Expected:
    """Compute every output of one partition.

    Args:
        records: those that were applied, in offset order.
        ticks_before: for each committed tick, the offset of the first record that was not applied before it.
        rules: of the pipeline.
    """
    state = _Partition(rules)
    waiting = sorted(ticks_before)
    for record in records:
        while waiting and waiting[0] <= record.offset:
            state.tick(waiting.pop(0))
        state.take(record)
    for next_offset in waiting:
        state.tick(next_offset)
    return Expected(state.tables, state.ticks, state.late, state.accepted)


class _Partition:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.watermark_ms = -(2**63)
        self.windows: dict[tuple[int, str], list[Event]] = {}
        self.sessions: list[list[Event]] = []
        self.tables: Tables = {name: Counter() for name in ("pages", "sessions", "hits", "late", "dead_letters")}
        self.ticks: list[Tick] = []
        self.late: list[tuple[str, Event]] = []
        self.accepted: list[tuple[str, Event]] = []

    def take(self, record: Logged) -> None:
        try:
            event = read(record, self.rules)
        except Dead as dead:
            self.tables["dead_letters"][(dead.reason, record.value, *_place(record))] += 1
            return
        self.tables["hits"][_landed(event)] += 1
        self._into_window(event)
        self._into_session(event)
        self.watermark_ms = max(self.watermark_ms, event.time_ms - self.rules.out_of_orderness_ms)
        self._close()

    def tick(self, next_offset: int) -> None:
        ends = [start + self.rules.window_ms for start, _ in self.windows]
        ends += [self._end(session) for session in self.sessions]
        if ends:
            self.watermark_ms = max(self.watermark_ms, max(ends) + self.rules.lateness_ms)
        self.ticks.append(Tick(next_offset, self.watermark_ms))
        self._close()

    def _into_window(self, event: Event) -> None:
        start_ms = event.time_ms // self.rules.window_ms * self.rules.window_ms
        end_ms = start_ms + self.rules.window_ms
        if self._is_over(end_ms):
            self._too_late("pages", event, start_ms, end_ms)
            return
        self.windows.setdefault((start_ms, event.fields["page"]), []).append(event)
        self.accepted.append(("pages", event))

    def _into_session(self, event: Event) -> None:
        gap_ms = self.rules.gap_ms
        reached = [
            session
            for session in self.sessions
            if session[0].fields["user"] == event.fields["user"]
            and min(e.time_ms for e in session) - gap_ms <= event.time_ms <= max(e.time_ms for e in session) + gap_ms
        ]
        if not reached and self._is_over(event.time_ms + gap_ms):
            self._too_late("sessions", event, event.time_ms, event.time_ms + gap_ms)
            return
        for session in reached:
            self.sessions.remove(session)
        self.sessions.append([e for session in reached for e in session] + [event])
        self.accepted.append(("sessions", event))

    def _too_late(self, table: str, event: Event, start_ms: int, end_ms: int) -> None:
        row = (table, event.time_ms, start_ms, end_ms, self.watermark_ms, event.record.value, *_place(event.record))
        self.tables["late"][row] += 1
        self.late.append((table, event))

    def _close(self) -> None:
        for start_ms, page in list(self.windows):
            if self._is_over(start_ms + self.rules.window_ms):
                events = self.windows.pop((start_ms, page))
                row = (start_ms, start_ms + self.rules.window_ms, page, len(events), _sum(events), *_partition(events))
                self.tables["pages"][row] += 1
        for session in list(self.sessions):
            if self._is_over(self._end(session)):
                self.sessions.remove(session)
                self.tables["sessions"][self._session_row(session)] += 1

    def _session_row(self, session: list[Event]) -> Row:
        by_time = sorted(session, key=lambda event: (event.time_ms, event.record.offset))
        user, first, last = by_time[0].fields["user"], by_time[0].fields["page"], by_time[-1].fields["page"]
        return (by_time[0].time_ms, self._end(session), user, len(session), first, last, *_partition(session))

    def _end(self, session: list[Event]) -> int:
        return max(event.time_ms for event in session) + self.rules.gap_ms

    def _is_over(self, end_ms: int) -> bool:
        return self.watermark_ms >= end_ms + self.rules.lateness_ms


class Dead(Exception):
    """The record has to become a dead letter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(record: Logged, rules: Rules) -> Event:
    """The event in the record.

    Raises:
        Dead: there is none.
    """
    if record.value is None:
        raise Dead("tombstone")
    try:
        fields = json.loads(record.value)
    except ValueError:
        raise Dead("invalid_json") from None
    if "user" not in fields:
        raise Dead("missing_field")
    if fields["at"] > record.timestamp_ms + rules.max_skew_ms:
        raise Dead("from_the_future")
    return Event(record, fields, fields["at"])


def _landed(event: Event) -> Row:
    fields = dict(event.fields)
    known = [fields.pop(name, None) for name in ("user", "page", "at", "value")]
    return (*known, json.dumps(fields, separators=(",", ":")) if fields else None, *_place(event.record))


def _place(record: Logged) -> Row:
    return (record.topic, record.partition, record.offset, record.timestamp_ms, record.key)


def _partition(events: list[Event]) -> Row:
    return (events[0].record.topic, events[0].record.partition)


def _sum(events: list[Event]) -> float | None:
    total = None
    for event in events:
        value = event.fields.get("value")
        if value is not None:
            total = value if total is None else total + value
    return total
