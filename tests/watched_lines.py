"""Log lines that alerts watch, drawn by the minute, and the alerts that follow from a plain list of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from samples import NOON_MS, record

from headrace import schema
from headrace.aggregates import Count, Sum
from headrace.alert_rules import Absence, RateOfChange, Ratio
from headrace.alerts import Alerts
from headrace.codec import JsonCodec
from headrace.records import Record, TopicPartition
from headrace.sample_values import Samples
from headrace.topology import Logic, Topology
from headrace.windowed import Windowed
from headrace.windows import HoppingWindows, SessionWindows, TumblingWindows

MINUTE_MS = 60_000
PLACE = TopicPartition("lines", 3)
LINE_AVSC = json.dumps(
    {
        "type": "record",
        "name": "Line",
        "fields": [
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "service", "type": "string"},
            {"name": "is_error", "type": "int"},
            {"name": "message", "type": ["null", "string"], "default": None},
        ],
    }
)
COUNTS = {"events": Count(), "errors": Sum("is_error")}
MINUTES = Windowed("minutes", TumblingWindows(MINUTE_MS), ("service",), COUNTS)
ERRORS = Ratio("errors", "errors", "events", above=0.25, at_least=5)
SURGE = RateOfChange("surge", "events", factor=5, at_least=50)
SLUMP = RateOfChange("slump", "events", factor=0.2, at_least=10)
SILENCE = Absence("silence", at_least=2)
STEPS = 3
"""Minutes of a watched window."""
WATCH = Windowed(
    "watch",
    HoppingWindows(STEPS * MINUTE_MS, MINUTE_MS),
    ("service",),
    COUNTS | {"samples": Samples("message", where="is_error")},
)
QUIET = Windowed("quiet", SessionWindows(10 * MINUTE_MS), ("service",), {"events": Count()})


class Line(NamedTuple):
    """One event."""

    at: int
    """Epoch milliseconds."""
    service: str
    is_error: bool
    message: str = "boom"


class Alert(NamedTuple):
    """What matters of a row."""

    rule: str
    service: str
    start_ms: int
    end_ms: int


MEANING = {".": (10, 0), "#": (10, 9), "s": (3, 3), "!": (100, 0), " ": (0, 0)}
"""A minute's events, and the errors among them."""


def drawn(lanes: Mapping[str, str], start_ms: int = NOON_MS) -> list[Line]:
    """Lines of services, a character for each minute, in the order of time."""
    lines = []
    for service, minutes in lanes.items():
        for minute, character in enumerate(minutes):
            events, errors = MEANING[character]
            first_ms = start_ms + minute * MINUTE_MS
            lines += [Line(first_ms + n, service, n < errors, f"{service} {minute}:{n}") for n in range(events)]
    return sorted(lines, key=lambda line: line.at)


def records(lines: Iterable[Line], first_offset: int = 0) -> list[Record]:
    return [
        record(offset, json.dumps({**line._asdict(), "is_error": int(line.is_error)}).encode(), topic=PLACE.topic)
        for offset, line in enumerate(lines, first_offset)
    ]


def topology(*operators, out_of_orderness_ms: int = 0, allowed_lateness_ms: int = 0) -> Topology:
    return Topology(
        codec=JsonCodec(schema.parse(LINE_AVSC), keep_unknown=False),
        operators=operators or (MINUTES, Alerts(WATCH, (ERRORS, SURGE, SLUMP)), Alerts(QUIET, (SILENCE,))),
        event_time="at",
        out_of_orderness_ms=out_of_orderness_ms,
        allowed_lateness_ms=allowed_lateness_ms,
        max_skew_ms=10**15,
    )


class Run:
    """One partition's turns, each from what the one before stored, or in the same memory."""

    def __init__(self, of: Topology) -> None:
        self.topology = of
        self.chain: list[bytes] = []
        self.logic: Logic = of.build(PLACE, None)
        self.tables: dict[str, list[dict]] = defaultdict(list)

    def apply(self, batch: Sequence[Record], *, reload: bool = False) -> None:
        self._turn(lambda logic: logic.apply(batch), reload=reload)

    def tick(self, *, reload: bool = False, final: bool = False) -> bool:
        return self._turn(lambda logic: logic.tick(final=final), reload=reload)

    def _turn(self, act, *, reload):
        if reload:
            self.logic = self.topology.build(PLACE, self.logic.watermark_ms, self.chain)
        done = act(self.logic)
        for rows in self.logic.rows:
            names = [field.name for field in rows.table.fields]
            columns = [array.to_pylist() for array in rows.columns]
            self.tables[rows.table.name] += [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        saved = self.logic.save(may_extend=bool(self.chain))
        if saved is None:
            self.chain = []
        else:
            self.chain = [saved.content] if saved.is_base else [*self.chain, saved.content]
        self.logic.committed()
        return done

    def alerts(self) -> Counter[Alert]:
        return Counter(
            Alert(
                row["rule"],
                json.loads(row["key"])["service"],
                round(row["window_start"].timestamp() * 1000),
                round(row["window_end"].timestamp() * 1000),
            )
            for row in self.tables["alerts"]
        )


def expected_of_panes(
    lines: Sequence[Line], last_watermark_ms: int, *, out_of_orderness_ms: int = 0, lateness_ms: int = 0
) -> Counter[Alert]:
    """What the rules of the hopping windows find: counted minute by minute, from nothing but the list."""
    counts: dict[str, dict[int, list[int]]] = defaultdict(dict)
    newest_ms = -(10**18)
    for line in lines:
        minute = line.at // MINUTE_MS
        if (minute + 1) * MINUTE_MS + lateness_ms > newest_ms - out_of_orderness_ms:
            count = counts[line.service].setdefault(minute, [0, 0])
            count[0] += 1
            count[1] += line.is_error
        newest_ms = max(newest_ms, line.at)
    found: Counter[Alert] = Counter()
    for service, minutes in counts.items():
        for last in range(min(minutes), max(minutes) + STEPS):
            window = [minutes.get(minute, [0, 0]) for minute in range(last - STEPS + 1, last + 1)]
            end_ms = (last + 1) * MINUTE_MS
            if end_ms + lateness_ms > last_watermark_ms or not any(map(sum, window)):
                continue
            for rule, broken in (("errors", _errors), ("surge", _surge), ("slump", _slump)):
                if broken(window) and not any(broken(window[: n + 1]) for n in range(STEPS - 1)):
                    found[Alert(rule, service, end_ms - STEPS * MINUTE_MS, end_ms)] += 1
    return found


def _errors(window: Sequence[Sequence[int]]) -> bool:
    events, errors = window[-1]
    return events >= 5 and errors / events > 0.25


def _surge(window: Sequence[Sequence[int]]) -> bool:
    return len(window) > 1 and 0 < 5 * window[-2][0] <= window[-1][0] >= 50


def _slump(window: Sequence[Sequence[int]]) -> bool:
    return len(window) > 1 and window[-2][0] >= 10 and window[-1][0] <= window[-2][0] * 0.2
