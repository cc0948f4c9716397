"""Alerts: a row when what is watched begins to break a rule.

What is watched is a windowed operator, whose windows are judged when they close, or one that gives out rows, each of
which is judged. A hopping window is judged pane by pane, without a state beside the panes': it is an alert if its last
pane breaks the rule and no other pane of the window does.

    minute           1   2   3   4   5   6   7   8        errors above the limit: #
    state of things  .   .   #   #   #   .   .   .
    windows          |-----------|                        of three minutes: the last pane is the first above: alert
                         |-----------|                    the pane before is above as well: known
                             |-----------|                known, …
                                     |-----------|        the last pane is not above

So an outage is one row however long it lasts, and one that comes back while a window still reaches to its last pane is
the same one. An event that comes when its pane was judged already counts nowhere here: it is late for the table of the
same minutes, which reports it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import msgspec
from arro3.core import DataType, Field

from headrace import lake
from headrace.alert_rules import Pane, Rule, Verdict
from headrace.codec import Codec
from headrace.errors import ConfigurationError
from headrace.fixed import PaneKey, RunningFixed
from headrace.lake import LakeTable, Rows
from headrace.operators import Batch, LateRecord, Operator, Restored, Running
from headrace.records import TopicPartition
from headrace.schema import Schema
from headrace.sessions import RunningSessions
from headrace.state import OpenRows
from headrace.window_rows import Closed, Table, check_table
from headrace.windowed import Windowed
from headrace.windows import FixedWindows, HoppingWindows, SessionWindows, SlidingWindows, Window

SAMPLES = "samples"
"""The column of what is watched, a list of texts, that alerts show."""
MAX_SAMPLE_CHARS = 500
MAX_SUMMARY_CHARS = 300
ALERT_ID_CHARS = 32
FIELDS = (
    Field("alert_id", DataType.string(), nullable=False),
    Field("rule", DataType.string(), nullable=False),
    Field("key", DataType.string(), nullable=False),
    Field("summary", DataType.string(), nullable=False),
    Field("window_start", lake.TIMESTAMP, nullable=False),
    Field("window_end", lake.TIMESTAMP, nullable=False),
    Field("value", DataType.float64(), nullable=False),
    Field("threshold", DataType.float64(), nullable=False),
    Field("samples", DataType.list(Field("element", DataType.string(), nullable=False)), nullable=False),
    Field("_topic", DataType.string(), nullable=False),
    Field("_partition", DataType.int32(), nullable=False),
)
"""Of every table of alerts. `key` is a JSON object of the watched key's fields."""


class GivesRows(Operator, Protocol):
    """An operator whose rows are judged one by one, and which are a table besides: `first_seen.FirstSeen`.

    Each row is of one record, whose columns it has: `lake.RECORD_FIELDS`.
    """

    @property
    def table(self) -> str:
        """The table of the rows that are judged."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that make a row's key."""
        ...

    @property
    def samples(self) -> tuple[str, ...]:
        """The columns whose texts an alert shows."""
        ...


class Alerts(msgspec.Struct, frozen=True):
    """Rules for what one operator counts; several of these may share a table.

    The windows that are watched are no table: declare the operator in the topology as well if their rows are wanted.

    Raises:
        ConfigurationError: in a sentence.
    """

    of: Windowed | GivesRows
    rules: tuple[Rule, ...]
    table: str = "alerts"

    without_state: ClassVar[tuple[str, ...]] = ("rules", "table")
    """No stored state depends on these: they can change without a new generation."""
    waits_for_silence: ClassVar[bool] = True
    """A tick closes what is watched only when nothing else is open."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        what = f"the alerts about {self.of.table!r}"
        names = [rule.name for rule in self.rules]
        if not names or len(set(names)) < len(names):
            raise ConfigurationError(f"{what} need rules with a name of its own each, not {names}")
        check_table(f"table {self.table!r} of {what}", self.table)
        if isinstance(self.of, Windowed):
            _check_windows(what, self.of)
            known = [*self.of.aggregates]
        else:
            known = [*self.of.key, *self.of.samples]
        for rule in self.rules:
            if unknown := [column for column in rule.columns if column not in known]:
                raise ConfigurationError(
                    f"{what}: rule {rule.name!r} reads {unknown[0]!r}, which is none of {', '.join(known)}"
                )

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that no other operator can have."""
        return () if isinstance(self.of, Windowed) else (self.of.table,)

    @property
    def shared_tables(self) -> tuple[str, ...]:
        """The table that other alerts can have as well."""
        return (self.table,)

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, restored: Restored) -> Running:
        """See `Operator.build`."""
        found = Found(self, place)
        if not isinstance(self.of, Windowed):
            return _RunningBeside(self.of.build(codec, place, lateness_ms, restored), found, self.of)
        table = _Judged(self.of, codec.schema, place, found)
        if self.of.allowed_lateness_ms is not None:
            lateness_ms = self.of.allowed_lateness_ms
        if isinstance(self.of.window, SessionWindows):
            return _RunningSessions(self.of, self.of.window, table, lateness_ms, restored)
        assert not isinstance(self.of.window, SlidingWindows)  # noqa: S101 - refused when it was declared
        return _RunningPanes(self.of, self.of.window, table, lateness_ms, restored)


def _check_windows(what: str, of: Windowed) -> None:
    if isinstance(of.window, SlidingWindows) or of.early_results or of.top is not None:
        raise ConfigurationError(f"{what}: sliding windows, early results and top cannot be watched")
    if isinstance(of.window, HoppingWindows) and of.window.size_ms % of.window.advance_ms:
        raise ConfigurationError(
            f"{what}: size_ms must be a multiple of advance_ms, which is the step that rules judge, not "
            f"{of.window.size_ms} and {of.window.advance_ms}"
        )


class _Alert(NamedTuple):
    rule: Rule
    key: Mapping[str, Any]
    window: Window
    verdict: Verdict
    samples: Sequence[str]
    offset: int | None


class Found:
    """The alerts of one turn, and the table that they become rows of."""

    def __init__(self, declared: Alerts, place: TopicPartition) -> None:
        """Nothing is found yet."""
        self._declared = declared
        self._place = place
        self._table = LakeTable(declared.table, FIELDS, complete=True)
        self._alerts: list[_Alert] = []

    def judge(
        self, key: Mapping[str, Any], window: Window, panes: Sequence[Pane], *, offset: int | None = None
    ) -> None:
        """Look for news in a window's last pane.

        Args:
            key: of all panes.
            window: that closed.
            panes: the earliest first.
            offset: of the record, if what is judged is its row. It is part of the alert's identity: a key that was
                forgotten can be new once more with an event of the same time.
        """
        for rule in self._declared.rules:
            verdict = rule.judge(panes)
            if verdict is not None and not any(rule.judge(panes[:end]) for end in range(1, len(panes))):
                self._alerts.append(_Alert(rule, key, window, verdict, panes[-1].get(SAMPLES) or (), offset))

    def take(self) -> list[Rows]:
        """Rows of what was found since the last call."""
        alerts, self._alerts = self._alerts, []
        if not alerts:
            return []
        starts_ms = lake.within_years([alert.window.start_ms for alert in alerts])
        columns: list[list[Any]] = [
            list(map(self._id, alerts)),
            [alert.rule.name for alert in alerts],
            [_json(alert.key) for alert in alerts],
            list(map(_summary, alerts)),
            starts_ms,
            lake.within_years([alert.window.end_ms for alert in alerts]),
            [alert.verdict.value for alert in alerts],
            [alert.verdict.threshold for alert in alerts],
            [list(alert.samples) for alert in alerts],
            [self._place.topic] * len(alerts),
            [self._place.partition] * len(alerts),
        ]
        arrays = [lake.column(values, field.type) for values, field in zip(columns, FIELDS, strict=True)]
        return [Rows(self._table, starts_ms, arrays)]

    def _id(self, alert: _Alert) -> str:
        """The same for the same alert, however often and in whichever generation it is computed."""
        watched = (self._place.topic, self._place.partition, self._declared.of.table, alert.rule.name)
        # The end as well: a session can begin where one began that is closed, with an event that reaches back to there.
        which = (*alert.window, *([] if alert.offset is None else [alert.offset]))
        return hashlib.sha256(msgspec.json.encode((*watched, alert.key, *which))).hexdigest()[:ALERT_ID_CHARS]


def _json(key: Mapping[str, Any]) -> str:
    return msgspec.json.encode(key).decode()


def _summary(alert: _Alert) -> str:
    key = ", ".join(str(value) for value in alert.key.values()) or "all"
    says = f": {alert.verdict.says}"
    return f"{alert.rule.name}: {key}"[: MAX_SUMMARY_CHARS - len(says)] + says


class _Judged(Table):
    """Instead of rows: windows are judged when they close."""

    def __init__(self, declared: Windowed, schema: Schema, place: TopicPartition, found: Found) -> None:
        super().__init__(declared, schema, place)
        self._key = declared.key
        self._names = list(declared.aggregates)
        self._found = found

    def final(self, closed: Closed) -> None:
        """A window of one pane each."""
        for window, key, pane in zip(closed.windows, self._keys(closed), self._panes(closed), strict=True):
            self._found.judge(key, window, [pane])

    def of_panes(self, closed: Closed, places: Sequence[int], number: int) -> None:
        """One window of many keys, each of which has some of the panes.

        Args:
            closed: the panes of all keys, those of a key side by side.
            places: which of the window's panes each is, from 0.
            number: how many panes the window has.
        """
        keys = self._keys(closed)
        of_key: list[Pane] = []
        for index, (place, pane) in enumerate(zip(places, self._panes(closed), strict=True)):
            of_key += [{}] * (place - len(of_key)) + [pane]
            if index + 1 == len(keys) or keys[index + 1] != keys[index]:
                self._found.judge(keys[index], closed.windows[index], of_key + [{}] * (number - len(of_key)))
                of_key = []

    def take(self) -> list[Rows]:
        """The alerts."""
        return self._found.take()

    def _keys(self, closed: Closed) -> list[dict[str, Any]]:
        of_each = zip(*closed.keys, strict=True) if closed.keys else [()] * len(closed.windows)
        return [dict(zip(self._key, values, strict=True)) for values in of_each]

    def _panes(self, closed: Closed) -> Iterator[Pane]:
        results = [aggregate.results(columns) for aggregate, columns in closed.states]
        return (dict(zip(self._names, values, strict=True)) for values in zip(*results, strict=True))


class _RunningPanes(RunningFixed):
    """Windows whose panes are looked at one by one, each for the first time when all of it is there."""

    def __init__(
        self, declared: Windowed, window: FixedWindows, table: _Judged, lateness_ms: int, restored: Restored
    ) -> None:
        super().__init__(declared, window, table, lateness_ms, restored)
        self._judged = table
        self._pane_ms = window.advance_ms if isinstance(window, HoppingWindows) else None

    def _apply_one_by_one(self, batch: Batch, keys: list[PaneKey]) -> list[LateRecord]:
        """Leave out what comes when its pane was the last one of a closed window: nobody would judge it again."""
        on_time = []
        for index, (key, watermark_ms) in enumerate(zip(keys, batch.watermarks_ms, strict=False)):
            windows = self._windows.get(key[0]) or self._containing(key[0])
            if not self._closed_by(watermark_ms, windows):
                on_time.append(index)
        self._take_some(batch, keys, on_time)
        return []

    def _final(self, due: dict[Window, list[int]]) -> None:
        pane_starts, *key_columns = self.state.columns[: 1 + len(self._key)]
        for window in sorted(due):
            rows = [row for of_key in self._by_key(due[window]) for row in of_key]
            keys = [[column[row] for row in rows] for column in key_columns]
            closed = Closed([window] * len(rows), keys, self.state.states(rows))
            size_ms = window.end_ms - window.start_ms
            pane_ms = self._pane_ms or size_ms
            places = [(pane_starts[row] - window.start_ms) // pane_ms for row in rows]
            self._judged.of_panes(closed, places, size_ms // pane_ms)


class _RunningSessions(RunningSessions):
    """Sessions that end; what comes too late for one is reported by the tables."""

    def apply(self, batch: Batch) -> list[LateRecord]:
        super().apply(batch)
        return []


class _RunningBeside:
    """An operator and its rows, each of which is judged."""

    def __init__(self, running: Running, found: Found, of: GivesRows) -> None:
        self._running = running
        self._found = found
        self._of = of

    @property
    def state(self) -> OpenRows | None:
        return self._running.state

    def apply(self, batch: Batch) -> list[LateRecord]:
        return self._running.apply(batch)

    def close(self, watermark_ms: int) -> list[Rows]:
        given_out = self._running.close(watermark_ms)
        for rows in given_out:
            if rows.table.name == self._of.table:
                self._judge(rows)
        return [*given_out, *self._found.take()]

    def open_until_ms(self) -> int | None:
        return self._running.open_until_ms()

    def _judge(self, rows: Rows) -> None:
        names = [field.name for field in rows.table.fields]
        columns = [array.to_pylist() for array in rows.columns]
        for time_ms, *values in zip(rows.times_ms, *columns, strict=True):
            row = dict(zip(names, values, strict=True))
            key = {name: row[name] for name in self._of.key}
            samples = [row[name][:MAX_SAMPLE_CHARS] for name in self._of.samples if isinstance(row[name], str)]
            window = Window(time_ms, time_ms + 1)
            self._found.judge(key, window, [row | {SAMPLES: samples}], offset=row["_offset"])
