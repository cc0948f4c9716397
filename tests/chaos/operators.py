"""The sets of operators that schedules are about, in the oracle's words, and the library's words for those."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from arro3.core import DataType
from chaos.oracle.lines import DOUBLE, SILENT
from chaos.oracle.rules import (
    AlertRule,
    Calendar,
    Change,
    Column,
    Declared,
    FirstTimes,
    Hopping,
    Lines,
    News,
    Rules,
    Sessions,
    Share,
    Silence,
    Sliding,
    Top,
    Tumbling,
)
from samples import HIT_AVSC

from headrace import schema, windows
from headrace.aggregates import Aggregate, Count, First, Last, Max, Mean, Min, Sum
from headrace.alert_rules import Absence, NewPattern, RateOfChange, Ratio, Rule
from headrace.alerts import Alerts
from headrace.codec import Decoded, JsonCodec
from headrace.first_seen import FirstSeen
from headrace.fold import Folded
from headrace.land_logs import LandLogs
from headrace.log_event import LogEvent
from headrace.operators import Land, Operator
from headrace.records import Record
from headrace.sample_values import Samples
from headrace.topology import Topology
from headrace.window_rows import Top as KeptKeys
from headrace.windowed import Windowed

_CODEC = JsonCodec(schema.parse(HIT_AVSC))
_AGGREGATES = {"sum": Sum, "min": Min, "max": Max, "mean": Mean, "first": First, "last": Last}

EVENTS, SUM = Column("events", "count"), Column("value_sum", "sum", "value")
FIRST, LAST = Column("first_page", "first", "page"), Column("last_page", "last", "page")
LOWEST, HIGHEST = Column("value_min", "min", "value"), Column("value_max", "max", "value")
MEAN, VALUES = Column("value_mean", "mean", "value"), Column("values", "values", "value")


class AllValues(msgspec.Struct, frozen=True):
    """A Fold that keeps every value with its time: nothing can be lost, doubled or mixed up without being seen."""

    def initial(self) -> list[Any]:
        return []

    def add(self, state: list[Any], value: Any, time_ms: int) -> list[Any]:
        state.append([time_ms, value])  # in place: whoever shares the state shows
        return state

    def merge(self, earlier: list[Any], later: list[Any]) -> list[Any]:
        earlier.extend(later)
        return earlier

    def result(self, state: list[Any]) -> str:
        return json.dumps(sorted(state))

    def snapshot(self, state: list[Any]) -> list[Any]:
        return state

    def restore(self, snapshot: list[Any]) -> list[Any]:
        return snapshot

    def result_type(self, field_type: DataType | None) -> DataType:
        return DataType.string()


class OperatorSet(NamedTuple):
    """What one pipeline computes, and the pace of the events that make it interesting."""

    name: str
    operators: tuple[Declared, ...]
    """Those without a lateness get the schedule's."""
    landing: bool = False
    starts_at_ms: int = 0
    """When the first events happen."""
    lines: Lines | None = None
    """How records are landed that are taken for log lines."""
    step_ms: int = 1
    """Event times, out-of-orderness and lateness are multiples of it."""


_QUARTER_MS = 900_000
TUMBLING_AND_SESSIONS = OperatorSet(
    "tumbling and sessions",
    (
        Declared("pages", Tumbling(10), ("page",), (EVENTS, SUM)),
        Declared("sessions", Sessions(10), ("user",), (EVENTS, FIRST, LAST)),
    ),
    landing=True,
)
HOPPING_AND_EARLY = OperatorSet(
    "hopping and early",
    (
        Declared("hops", Hopping(15, 5, offset_ms=3), ("page",), (EVENTS, SUM, MEAN), lateness_ms=12, early=True),
        Declared("visits", Sessions(10), ("user",), (EVENTS, FIRST, LAST), lateness_ms=25, early=True),
        Declared("newcomers", FirstTimes(40, 100), ("user", "page"), ()),
    ),
)
SLIDING_AND_TOP = OperatorSet(
    "sliding and top",
    (
        Declared("moments", Sliding(10), ("user",), (EVENTS, SUM, VALUES), complete=True),
        Declared("best", Tumbling(20, offset_ms=-7), ("page",), (EVENTS, SUM), top=Top(1, "events")),
        Declared("glimpses", Hopping(5, 10), ("user", "page"), (EVENTS, FIRST)),
        Declared("new_pages", FirstTimes(15, 3, ("user", "value")), ("page",), ()),
    ),
)
CALENDAR = OperatorSet(
    "calendar",
    (
        Declared(
            *("days", Calendar("Europe/Berlin"), ("page",), (EVENTS, LOWEST, HIGHEST)),
            lateness_ms=9 * _QUARTER_MS,
            early=True,
        ),
        Declared("errands", Sessions(10 * _QUARTER_MS), ("user",), (EVENTS, FIRST, LAST, VALUES), complete=True),
    ),
    starts_at_ms=1_679_774_400_000,  # 2023-03-25T20:00Z: the night in which Berlin's clocks go forward
    step_ms=_QUARTER_MS,
)
LOG_LINES = OperatorSet(
    "log lines",
    (Declared("users", Tumbling(10), ("user",), (EVENTS,)),),
    landing=True,
    lines=Lines(hold_ms=25, streams=2, lines=3, characters=24),
)
ALERTS = OperatorSet(
    "alerts",
    (
        Declared("steps", Tumbling(20, offset_ms=3), ("page",), (EVENTS, SUM)),
        Declared(
            *("trouble", Hopping(60, 20, offset_ms=3), ("page",), (EVENTS, SUM, Column("samples", "samples", "user"))),
            alerts=(
                Share("share", "value_sum", "events", 1.5, at_least=1),
                Change("surge", "value_sum", 1.5, at_least=1),
                Change("slump", "events", 0.5, at_least=1),
            ),
        ),
        Declared("quiet", Sessions(25), ("user",), (EVENTS,), alerts=(Silence("silence", at_least=2),)),
        Declared("newcomers", FirstTimes(40, 2, ("page",)), ("user",), (), alerts=(News("news", "page", ("/b",)),)),
    ),
)
SETS = (*[TUMBLING_AND_SESSIONS] * 2, ALERTS, HOPPING_AND_EARLY, SLIDING_AND_TOP, CALENDAR, LOG_LINES)
"""As often as a schedule is about them."""


class HitLines:
    """Hits as log lines, as `oracle.lines` says: several events of a record, one line that goes on, or none."""

    rescues = False
    schema = schema.parse(
        json.dumps(
            {
                "type": "record",
                "name": "Line",
                "fields": [
                    {"name": "timestamp", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
                    {"name": "format", "type": "string"},
                    *(
                        {"name": name, "type": ["null", "string"]}
                        for name in ("service", "user", "message", "stack_trace")
                    ),
                ],
            }
        )
    )

    def decode(self, records: Sequence[Record]) -> Decoded:
        hits = _CODEC.decode(records)
        decoded = Decoded([], [], hits.poison)
        for record, hit in zip(hits.records, hits.values, strict=True):
            if hit.value is None:
                decoded.continuations.append((record, f"{hit.page} {hit.at}"))
            elif hit.value == SILENT:
                decoded.silent.append(record)
            else:
                event = LogEvent(timestamp=hit.at, format="hit", service=hit.page, user=hit.user, message=hit.page)
                times = 2 if hit.value == DOUBLE else 1
                decoded.records += [record] * times
                decoded.values += [event] * times
        return decoded


def topology(rules: Rules) -> Topology:
    """All of it, over one topic."""
    return Topology(
        codec=HitLines() if rules.lines else _CODEC,
        operators=(*map(_operator, rules.operators), *([_landing(rules)] if rules.landing else [])),
        event_time="timestamp" if rules.lines else "at",
        out_of_orderness_ms=rules.out_of_orderness_ms,
        max_skew_ms=rules.max_skew_ms,
        # So few that batches with a jump of the clock in them take several turns.
        max_buckets=2,
    )


def _landing(rules: Rules) -> Land | LandLogs:
    if rules.lines is None:
        return Land()
    hold_ms, streams, lines, characters = rules.lines
    return LandLogs(hold_ms=hold_ms, max_streams=streams, max_lines=lines, max_characters=characters)


def _operator(declared: Declared) -> Operator:
    counts = _counts(declared)
    return Alerts(counts, tuple(map(_rule, declared.alerts))) if declared.alerts else counts


def _rule(rule: AlertRule) -> Rule:
    match rule:
        case Share():
            return Ratio(*rule)
        case Change():
            return RateOfChange(*rule)
        case Silence(name, at_least):
            return Absence(name, at_least=at_least)
        case News():
            return NewPattern(*rule)


def _counts(declared: Declared) -> Windowed | FirstSeen:
    if isinstance(declared.window, FirstTimes):
        return FirstSeen(
            table=declared.table,
            key=declared.key,
            forget_after_ms=declared.window.forget_after_ms,
            capacity=declared.window.capacity,
            samples=declared.window.samples,
            complete=declared.complete,
        )
    return Windowed(
        table=declared.table,
        window=_window(declared),
        key=declared.key,
        aggregates={column.name: _aggregate(column) for column in declared.columns},
        complete=declared.complete,
        allowed_lateness_ms=declared.lateness_ms,
        early_results=declared.early,
        top=None if declared.top is None else KeptKeys(declared.top.keys, by=declared.top.by),
    )


def _window(declared: Declared) -> windows.Windows:
    match declared.window:
        case Tumbling(size_ms, offset_ms):
            return windows.TumblingWindows(size_ms, offset_ms)
        case Hopping(size_ms, advance_ms, offset_ms):
            return windows.HoppingWindows(size_ms, advance_ms, offset_ms, leaves_gaps=advance_ms > size_ms)
        case Calendar(zone):
            return windows.CalendarWindows("day", zone)
        case Sliding(size_ms):
            return windows.SlidingWindows(size_ms)
        case Sessions(gap_ms):
            return windows.SessionWindows(gap_ms)
        case FirstTimes():
            raise AssertionError("these are no windows")


def _aggregate(column: Column) -> Aggregate:
    if column.field is None:
        return Count()
    match column.what:
        case "values":
            return Folded(AllValues(), column.field)
        case "samples":
            return Samples(column.field, where="value", count=2)
    return _AGGREGATES[column.what](column.field)
