"""Window cases from the unit tests of Flink, Kafka Streams and Quix, run against our operators.

A case is run as its engine would be told about time: Flink's by explicit watermarks, the others' by the records alone.
Where a decision makes ours differ, `DIFFERENCES` says which rows, and docs/windows.md why.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from arro3.core import DataType
from samples import record

from headrace import schema
from headrace.aggregates import Min, Sum
from headrace.codec import JsonCodec
from headrace.records import Record, TopicPartition
from headrace.topology import Logic, Topology
from headrace.windowed import Windowed
from headrace.windows import HoppingWindows, SessionWindows, SlidingWindows, TumblingWindows, Windows

ASSIGNMENTS = (
    "flink-tumbling-5s",
    "flink-tumbling-5s-offset100",
    "flink-tumbling-5s-offset-100",
    "flink-hopping-5s-1s",
    "flink-hopping-5s-1s-offset-100",
    "flink-window-start-offset3-size7",
    "flink-window-start-offset-2-size7",
    "flink-daily-window-gmt8",
    "kafka-hopping-12-5",
    "kafka-hopping-6-5",
    "kafka-tumbling-12",
)
STREAMS = (
    "flink-tumbling-2s-drop-late",
    "flink-tumbling-cleanup-list-state",
    "kafka-tumbling-2-grace1-final",
    "kafka-tumbling-2-grace2-large-jump",
    "kafka-session-5-nograce-final",
    "kafka-hopping-10-5-grace90-expired",
    "kafka-tumbling-10-grace90-expired",
    "kafka-hopping-10-5-emit-final-grace5",
    "kafka-hopping-aggbasic-updates",
    "kafka-tumbling-500-nograce-two-keys",
    "kafka-session-500-nograce",
    "kafka-session-5min-multi-key",
    "kafka-session-5min-multiple-same-key",
    "quix-tumbling-10-nograce-key",
    "quix-hopping-10-5-nograce-key",
    "quix-tumbling-10-nograce-partition",
    "quix-hopping-10-5-nograce-partition",
    "quix-tumbling-10-grace2-partition",
    "quix-tumbling-10-nograce-key-clock",
    "quix-hopping-10-5-nograce-key-clock",
)
CLOCK = "the watermark"
"""Key of the records that stand for Flink's explicit watermarks; its rows are not the case's."""
PLACE = TopicPartition("cases", 0)
SCHEMA = json.dumps(
    {
        "type": "record",
        "name": "Case",
        "fields": [
            {"name": "key", "type": "string"},
            {"name": "value", "type": "long"},
            {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
)


Case = dict[str, Any]


class Row(NamedTuple):
    """What a window gave out."""

    key: str
    start: int
    end: int
    value: int | tuple[int, ...]
    """A sum, or the values, the smallest first."""


class Listed(Min, frozen=True):
    """The values of a window, as text."""

    def add(self, columns: Any, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        (texts,) = columns
        for row, value in zip(rows, values, strict=True):
            texts[row] = f"{texts[row] or ''}{value} "

    def merge(self, earlier: Any, later: Any) -> Any:
        return ((earlier[0] or "") + (later[0] or ""),)

    def result_type(self, field_type: Any) -> Any:
        return DataType.string()


@dataclass(frozen=True)
class Difference:
    """Rows that only one of the two gives out, by the number of the step that asks for them, counted from 0."""

    why: str
    more: dict[int, list[Row]] = field(default_factory=dict)
    """Ours, not theirs."""
    fewer: dict[int, list[Row]] = field(default_factory=dict)
    """Theirs, not ours."""
    missed: int = 0
    """Windows that our late table counts and their metric does not."""


SAME = Difference("")
KEY_CLOCK = "their clock is the key's, ours the partition's"
NEGATIVE = "they have no window that starts before the epoch"
LAST_WORD = (
    "the final row is a row of its own, when lateness has run out; before it come early ones, as Flink's all are"
)
DIFFERENCES = {
    "flink-tumbling-cleanup-list-state": Difference(LAST_WORD, more={2: [Row("key2", 0, 2000, 1)]}),
    "kafka-hopping-10-5-grace90-expired": Difference(NEGATIVE, missed=5),
    "kafka-hopping-10-5-emit-final-grace5": Difference(NEGATIVE, more={1: [Row("A", -5, 5, (1,))]}),
    "kafka-hopping-aggbasic-updates": Difference(
        NEGATIVE,
        more={
            1: [
                Row("A", -5, 5, (1, 1)),
                Row("B", -5, 5, (1, 2, 2)),
                Row("C", -5, 5, (3,)),
                Row("D", -5, 5, (4,)),
            ]
        },
    ),
    "quix-tumbling-10-nograce-key-clock": Difference(
        KEY_CLOCK,
        more={0: [Row("key1", 100, 110, 3), Row("key2", 100, 110, 3)]},
        fewer={1: [Row("key1", 100, 110, 3)]},
    ),
    "quix-hopping-10-5-nograce-key-clock": Difference(
        KEY_CLOCK,
        more={
            0: [Row("key1", 100, 110, 3), Row("key2", 100, 110, 3)],
            1: [Row("key2", 105, 115, 2), Row("key3", 105, 115, 1)],
        },
        fewer={1: [Row("key1", 100, 110, 3)]},
    ),
}


def windows_of(case: Case) -> Windows:
    window = case["window"]
    match window["type"]:
        case "tumbling":
            return TumblingWindows(window["size_ms"], window.get("offset_ms", 0))
        case "hopping":
            return HoppingWindows(window["size_ms"], window["advance_ms"], window.get("offset_ms", 0))
        case "session":
            return SessionWindows(window["gap_ms"])
        case "sliding":
            return SlidingWindows(window["size_ms"])
    raise AssertionError(window)


def topology_of(case: Case) -> Topology:
    window = case["window"]
    operator = Windowed(
        table="cases",
        window=windows_of(case),
        key=("key",),
        aggregates={"value": Listed("value") if window.get("agg") == "list" else Sum("value")},
        early_results=case["mode"] == "flink",
    )
    return Topology(
        codec=JsonCodec(schema.parse(SCHEMA)),
        operators=(operator,),
        event_time="ts",
        allowed_lateness_ms=window.get("grace_ms", window.get("lateness_ms", 0)),
        max_skew_ms=10**15,
    )


def records_of(case: Case) -> Iterator[tuple[dict[str, Any], Record | None]]:
    """The steps of a case, those that are input with the record that says the same to us.

    Flink's watermark W says that no event at or before W comes any more; ours says none before it.
    """
    offsets = itertools.count()
    for step in case["steps"]:
        fields = step.get("in")
        if "watermark" in step:
            fields = {"key": CLOCK, "ts": step["watermark"] + 1, "value": 0}
        yield step, record(next(offsets), json.dumps(fields).encode()) if fields else None


class Engine:
    """Our operator on a case. Each turn starts from what the turns before have saved."""

    def __init__(self, case: Case) -> None:
        self._topology = topology_of(case)
        # Kafka's sessions end with their last event, ours a gap later.
        self._after_ms = case["window"]["gap_ms"] if case["window"].get("inclusive_end") else 0
        self._watermark_ms: int | None = None
        self._saved: list[bytes] = []

    def take(self, records: Sequence[Record]) -> tuple[list[Row], list[dict[str, Any]]]:
        """The rows that the records close, and those of the late table."""
        logic = self._restarted()
        logic.apply(records)
        self._watermark_ms = logic.watermark_ms
        saved = logic.save(may_extend=bool(self._saved))
        if saved is None or saved.is_base:
            self._saved.clear()
        self._saved += [saved.content] if saved else []
        return self._rows(logic), rows_of(logic, "late")

    def open(self) -> list[Row]:
        """What is open, as it would be given out now."""
        copy = self._restarted()
        copy.tick()
        return self._rows(copy)

    def _restarted(self) -> Logic:
        return self._topology.build(PLACE, self._watermark_ms, self._saved)

    def _rows(self, logic: Logic) -> list[Row]:
        rows = [*rows_of(logic, "cases_early"), *rows_of(logic, "cases")]
        return [self._row(*row.values()) for row in rows if row["key"] != CLOCK]

    def _row(self, start: int, end: int, key: str, value: int | str, *_place: Any) -> Row:
        numbers = tuple(sorted(map(int, value.split()))) if isinstance(value, str) else value
        return Row(key, start, end - self._after_ms, numbers)


def rows_of(logic: Logic, table: str) -> list[dict[str, Any]]:
    """The rows that a turn gave out, times as epoch milliseconds."""
    return [
        dict(zip((column.name for column in rows.table.fields), map(_plain, values), strict=True))
        for rows in logic.rows
        if rows.table.name == table
        for values in zip(*(column.to_pylist() for column in rows.columns), strict=True)
    ]


def _plain(value: Any) -> Any:
    return round(value.timestamp() * 1000) if isinstance(value, datetime) else value


def theirs(emitted: list[dict[str, Any]]) -> Counter[Row]:
    rows = [(each["key"], each["start"], each["end"], each["value"]) for each in emitted]
    return Counter(Row(*row[:3], tuple(sorted(row[3])) if isinstance(row[3], list) else row[3]) for row in rows)


@pytest.fixture(scope="session")
def cases(shared_data: Path) -> dict[str, Case]:
    found = json.loads((shared_data / "windows" / "window_cases.json").read_text())["cases"]
    return {case["id"]: case for case in found}


def test_every_case_is_run(cases: dict[str, Case]) -> None:
    assert sorted(cases) == sorted(ASSIGNMENTS + STREAMS)


def test_every_difference_is_documented() -> None:
    documented = (Path(__file__).resolve().parents[3] / "docs" / "windows.md").read_text()
    assert [name for name in DIFFERENCES if f"`{name}`" not in documented] == []


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_a_time_belongs_to_the_windows_that_the_engine_says(name: str, cases: dict[str, Case]) -> None:
    windows = windows_of(cases[name])
    assert not isinstance(windows, SessionWindows)
    for vector in cases[name]["vectors"]:
        assert list(windows.containing(vector["ts"])) == [tuple(window) for window in vector["windows"]]


@pytest.mark.parametrize("name", STREAMS)
def test_windows_give_out_what_the_engine_says_when_it_says(name: str, cases: dict[str, Case]) -> None:
    case, difference = cases[name], DIFFERENCES.get(name, SAME)
    engine, asked = Engine(case), itertools.count()
    rows: list[Row] = []
    for step, given in records_of(case):
        if given:
            rows += engine.take([given])[0]
        elif "discard" in step:
            rows.clear()
        elif "dropped" not in step:
            number = next(asked)
            ours = Counter(engine.open() if "state" in step else rows)
            expected = theirs(step.get("state", step.get("emit")))
            assert ours + Counter(difference.fewer.get(number)) == expected + Counter(difference.more.get(number))
            rows.clear()


@pytest.mark.parametrize("name", STREAMS)
def test_those_records_are_late_for_all_of_their_windows_that_the_engine_drops(
    name: str, cases: dict[str, Case]
) -> None:
    case = cases[name]
    windows, engine = windows_of(case), Engine(case)
    steps = list(records_of(case))
    for (step, given), (following, _) in itertools.pairwise([*steps, ({}, None)]):
        if given is None:
            continue
        _, late = engine.take([given])
        time_ms = json.loads(given.value or b"")["ts"]
        all_of_them = 1 if isinstance(windows, SessionWindows) else len(windows.containing(time_ms))
        assert [row["windows"] == all_of_them for row in late].count(True) == following.get("dropped", 0), step


@pytest.mark.parametrize("name", [name for name in STREAMS if name.endswith("-expired")])
def test_the_late_table_adds_up_to_the_metric_of_kafka(name: str, cases: dict[str, Case]) -> None:
    """Kafka's dropped-records metric counts once per window that a record has missed, as our column does."""
    case, engine = cases[name], Engine(cases[name])
    late = [row for _, given in records_of(case) if given for row in engine.take([given])[1]]
    assert sum(row["windows"] for row in late) == case["kafka_dropped_metric"] + DIFFERENCES.get(name, SAME).missed
    assert max(row["watermark"] - row["event_time"] for row in late) == case["expect_lateness_max"]


@pytest.mark.parametrize("name", STREAMS)
def test_restarts_change_nothing(name: str, cases: dict[str, Case]) -> None:
    """All records in one turn, and a turn of its own for each, from the snapshot of the turn before."""
    given = [each for _, each in records_of(cases[name]) if each]
    at_once, one_by_one = Engine(cases[name]), Engine(cases[name])
    rows, late = at_once.take(given)
    turns = [one_by_one.take([each]) for each in given]
    assert Counter(rows) == Counter(row for turn, _ in turns for row in turn)
    assert late == [row for _, turn in turns for row in turn]
    assert Counter(at_once.open()) == Counter(one_by_one.open())


@pytest.mark.parametrize(
    ("size_ms", "events", "windows"),
    [
        pytest.param(
            5000,
            {8000: 1, 9200: 2, 12400: 3},
            [(3000, 8000, (1,)), (4200, 9200, (1, 2)), (7400, 12400, (1, 2, 3))],
            id="Kafka's, without the two windows of events that drop out",
        ),
        pytest.param(
            3_600_000,
            {3_600_000: 30, 4_800_000: 29, 4_800_001: 28, 7_200_000: 27, 7_200_001: 26},
            [
                (0, 3_600_000, (30,)),
                (1_200_000, 4_800_000, (29, 30)),
                (1_200_001, 4_800_001, (28, 29, 30)),
                (3_600_000, 7_200_000, (27, 28, 29, 30)),
                (3_600_001, 7_200_001, (26, 27, 28, 29)),
            ],
            id="Quix's",
        ),
    ],
)
def test_sliding_windows_are_those_of_the_documentation_of_others(
    size_ms: int, events: dict[int, int], windows: list[tuple[int, int, tuple[int, ...]]]
) -> None:
    """Both of their bounds are inclusive: their end is our `window_end` less one.

    Kafka: the javadoc of `SlidingWindows`. Quix: docs/windowing.md, which shows the means of these values.
    """
    steps = [{"in": {"key": "a", "ts": ts, "value": value}} for ts, value in events.items()]
    case: Case = {"window": {"type": "sliding", "size_ms": size_ms, "agg": "list"}, "mode": "kafka", "steps": steps}
    engine = Engine(case)
    rows = [row for _, given in records_of(case) if given for row in engine.take([given])[0]]
    assert [(row.start, row.end - 1, row.value) for row in [*rows, *engine.open()]] == windows
