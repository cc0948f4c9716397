"""Alerts: what a rule says of a window's last step, if it says it of no step before.

A watched window gives out no rows, and nobody is told of what comes too late for it. An event belongs to a step of
time, and counts nowhere when the first window that has the step is closed. A session is one step, and so is the first
event of a key, which is a row of its table besides.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from chaos.oracle.events import Event, aggregate, key_of
from chaos.oracle.fixed import windows_of
from chaos.oracle.output import Bounds, Output
from chaos.oracle.rules import AlertRule, Change, Declared, FirstTimes, Hopping, News, Row, Share, Silence

Step = Sequence[Event]
"""What one key had of it."""
_SAMPLES = "samples"
"""The column that alerts show."""


class WatchedOutput(Output):
    """What comes out of an operator that is watched."""

    def final(self, bounds: Bounds, key: Row, events: Sequence[Event]) -> None:
        """A session that closes."""
        self.judge(bounds, key, [events])

    def too_late(self, event: Event, missed: Sequence[Bounds], watermark_ms: int) -> None:
        """Tables tell of it."""

    def first(self, event: Event, key: Row, samples: Row) -> None:
        """A key that is seen for the first time."""
        super().first(event, key, samples)
        self.judge(Bounds(event.time_ms, event.time_ms + 1), key, [[event]])

    def judge(self, bounds: Bounds, key: Row, steps: Sequence[Step]) -> None:
        """A window, step by step."""
        for rule in self.declared.alerts:
            *before, now = [_said(rule, steps[: end + 1], self.declared) for end in range(len(steps))]
            if now is not None and not any(before):
                self.alerts[self._row(rule, now, bounds, key, steps)] += 1

    def _row(self, rule: AlertRule, said: "_Said", bounds: Bounds, key: Row, steps: Sequence[Step]) -> Row:
        record = next(event.record for step in steps for event in step)
        place = (record.topic, record.partition)
        of = dict(zip(self.declared.key, key, strict=True))
        which = [*bounds, *([record.offset] if isinstance(self.declared.window, FirstTimes) else [])]
        described = _json([*place, self.declared.table, rule.name, of, *which])
        return (
            *(hashlib.sha256(described.encode()).hexdigest()[:32], rule.name, _json(of)),
            f"{rule.name}: {', '.join(map(str, key)) or 'all'}: {said.text}",
            *(*bounds, said.value, said.threshold, self._samples(steps[-1]), *place),
        )

    def _samples(self, last: Step) -> Row:
        if isinstance(self.declared.window, FirstTimes):
            return tuple(text for text in key_of(last[0], self.declared.window.samples) if isinstance(text, str))
        columns = [column for column in self.declared.columns if column.name == _SAMPLES]
        return tuple(text for column in columns for text in aggregate(last, column))


class WatchedOperator:
    """Windows of time at work that are watched."""

    def __init__(self, declared: Declared) -> None:
        self.output = WatchedOutput(declared)
        self._window = declared.window
        self._key = declared.key
        self._events: dict[Row, list[Event]] = {}
        self._open: set[tuple[Bounds, Row]] = set()
        """Windows that are not closed, with the keys that have an event in them."""

    def take(self, event: Event, watermark_ms: int) -> None:
        """Apply one; the watermark is the one before it."""
        windows = windows_of(self._window, event.time_ms)  # type: ignore[arg-type]
        if self.output.is_closed(windows[0].end_ms, watermark_ms):
            return
        key = key_of(event, self._key)
        self._events.setdefault(key, []).append(event)
        self._open |= {(bounds, key) for bounds in windows}
        self.output.accepted.append(event)

    def advance(self, watermark_ms: int) -> None:
        """The watermark is here now."""
        for bounds, key in list(self._open):
            if self.output.is_closed(bounds.end_ms, watermark_ms):
                self._open.remove((bounds, key))
                self.output.judge(bounds, key, self._steps(bounds, key))

    def open_ends_ms(self) -> list[int]:
        """Of the windows that are not closed."""
        return [bounds.end_ms for bounds, _ in self._open]

    def _steps(self, bounds: Bounds, key: Row) -> list[Step]:
        step_ms = self._window.advance_ms if isinstance(self._window, Hopping) else bounds.end_ms - bounds.start_ms
        starts_ms = range(bounds.start_ms, bounds.end_ms, step_ms)
        in_order = sorted(self._events[key], key=lambda event: (event.time_ms, event.record.offset))
        return [[e for e in in_order if start <= e.time_ms < start + step_ms] for start in starts_ms]


class _Said(NamedTuple):
    value: float
    threshold: float
    text: str


def _said(rule: AlertRule, steps: Sequence[Step], declared: Declared) -> _Said | None:
    """That the last step breaks the rule."""

    def number(step: Step, name: str) -> float:
        (column,) = [column for column in declared.columns if column.name == name]
        return aggregate(step, column) or 0

    match rule:
        case Share(_, part, whole, above, at_least):
            some, of = number(steps[-1], part), number(steps[-1], whole)
            if of >= at_least and some / of > above:
                return _Said(
                    some / of, above, f"{part}/{whole} is {some / of:.3g} ({some:g} of {of:g}), above {above:g}"
                )
        case Change(_, of, factor, at_least) if len(steps) > 1:
            before, now = number(steps[-2], of), number(steps[-1], of)
            so_much = before > 0 and (now / before >= factor if factor > 1 else now / before <= factor)
            if so_much and max(before, now) >= at_least:
                times = now / before
                return _Said(times, factor, f"{of} went from {before:g} to {now:g}, {times:.3g} times as many")
        case Silence(_, at_least) if len(steps[-1]) >= at_least:
            events = len(steps[-1])
            return _Said(events, at_least, f"silent after {events} events, until the end of the window")
        case News(_, column, one_of) if (found := steps[-1][0].fields.get(column)) in one_of:
            return _Said(1, 1, f"new, with {column} {found}")
    return None


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
