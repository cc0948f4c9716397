"""`headrace lake merge`: several partitions' partial rows against one partition's rows of all events, and SQL."""

import contextlib
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb
import pytest
from arro3.core import DataType, Field, RecordBatch, Schema, Table
from arro3.io import write_parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.aggregates import Aggregate, Count, First, Last, Max, Mean, Min, Sum
from headrace.lake import COMPLETENESS, HOUR_MS, TIMESTAMP, LakeFile, column, final_key
from headrace_cli.lake_windows import MERGE
from headrace_cli.main import run

NOON_MS = 1_710_331_200_000  # 2024-03-13T12:00:00Z
MINUTE_MS = 60_000
GAP_MS = 30 * MINUTE_MS
AGGREGATES: dict[str, Aggregate] = {
    "events": Count(),
    "value_sum": Sum("value"),
    "smallest": Min("value"),
    "largest": Max("value"),
    "mean": Mean("value"),
    "first_page": First("page"),
    "last_page": Last("page"),
}
SQL = {
    "events": 'sum("events")',
    "value_sum": 'sum("value_sum")',
    "smallest": 'min("smallest")',
    "largest": 'max("largest")',
    "mean": 'cast(sum("mean__sum") as double) / nullif(sum("mean__count"), 0)',
    "first_page": 'min_by("first_page", "first_page__at")',
    "last_page": 'max_by("last_page", "last_page__at")',
}
INT, TEXT = DataType.int64(), DataType.string()
TYPES = {
    **dict.fromkeys(("events", "value_sum", "smallest", "largest", "mean__sum", "mean__count"), INT),
    **dict.fromkeys(("first_page__at", "last_page__at"), INT),
    **dict.fromkeys(("user", "first_page", "last_page", "_topic"), TEXT),
    "mean": DataType.float64(),
    "_partition": DataType.int32(),
}
TABLES = {"window": "minutes", "session": "visits"}


class Event(NamedTuple):
    """One click."""

    partition: int
    time_ms: int
    user: str | None
    page: str | None = "/"
    value: int | None = 1


def groups(bounds: str, events: Iterable[Event]) -> dict[tuple[int, int, Any], list[Event]]:
    """Events by the window, a minute or a session, that they belong to."""
    found: dict[tuple[int, int, Any], list[Event]] = {}
    for event in sorted(events, key=lambda e: (str(e.user), e.time_ms)):
        start_ms = event.time_ms - event.time_ms % MINUTE_MS
        end_ms = start_ms + MINUTE_MS
        members = [event]
        if bounds == "session":
            start_ms, end_ms = event.time_ms, event.time_ms + GAP_MS
            last = next(reversed(found), None)
            if last and last[2] == event.user and event.time_ms <= last[1]:
                start_ms, members = last[0], [*found.pop(last), event]
        found.setdefault((start_ms, end_ms, event.user), []).extend(members)
    return found


def states_of(events: list[Event]) -> dict[str, tuple]:
    states = {}
    times_ms = [event.time_ms for event in events]
    for name, aggregate in AGGREGATES.items():
        columns = [[scalar] for scalar in aggregate.initial()]
        values = [getattr(event, aggregate.field or "user") for event in events]
        aggregate.add(columns, [0] * len(events), values, times_ms)
        states[name] = tuple(scalar for (scalar,) in columns)
    return states


def merged(bounds: str, events: Iterable[Event]) -> list[dict]:
    """What one partition makes of all events."""
    rows = []
    for (start_ms, end_ms, user), members in groups(bounds, events).items():
        results = {name: AGGREGATES[name].result(state) for name, state in states_of(members).items()}
        rows.append({f"{bounds}_start": moment(start_ms), f"{bounds}_end": moment(end_ms), "user": user, **results})
    return sorted(rows, key=row_order)


def row_order(row: dict) -> tuple:
    return [str(value) for value in row.values()][:3]


def moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def said(bounds: str, **more: Any) -> dict[str, str]:
    """A partial table's metadata."""
    described = {n: [type(a).__name__, {"field": a.field} if a.field else {}] for n, a in AGGREGATES.items()}
    group_by = [f"{bounds}_start", f"{bounds}_end", "user"]
    merge = {"group_by": group_by, "columns": SQL, "sketches": {}, "aggregates": described, **more}
    return {COMPLETENESS: "partial", MERGE: json.dumps(merge)}


def parquet(columns: dict[str, tuple[DataType, list]], metadata: dict[str, str]) -> bytes:
    fields = [Field(name, arrow_type) for name, (arrow_type, _) in columns.items()]
    arrays = [column(values, arrow_type) for arrow_type, values in columns.values()]
    buffer = io.BytesIO()
    batch = RecordBatch.from_arrays(arrays, schema=Schema(fields, metadata=metadata))
    write_parquet(Table.from_batches([batch]), buffer)
    return buffer.getvalue()


class Lake:
    """A folder with the tables `clickstream/minutes` and `clickstream/visits`, as several partitions write them."""

    def __init__(self, folder):
        self.folder = folder
        self._version = 0

    def write(self, bounds, events, *, generation="1", metadata=None):
        """Each partition's rows, in a file for each hour."""
        for partition in sorted({event.partition for event in events}):
            found = groups(bounds, [event for event in events if event.partition == partition])
            for hour in sorted({start_ms // HOUR_MS for start_ms, _, _ in found}):
                of_hour = {place: members for place, members in found.items() if place[0] // HOUR_MS == hour}
                content = parquet(self._columns(bounds, partition, of_hour), metadata or said(bounds))
                self.put(TABLES[bounds], content, hour * HOUR_MS, partition, generation)

    def put(self, table, content, hour_ms=NOON_MS, partition=0, generation="1"):
        self._version += 1
        place = {"pipeline": "clickstream", "generation": generation, "topic": "clicks", "partition": partition}
        key = final_key(LakeFile(table, hour_ms, content, 1), **place, version=self._version, number=0)
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return key

    def _columns(self, bounds, partition, found):
        names = [f"{bounds}_start", f"{bounds}_end", "user"]
        values: dict[str, list] = {name: [place[n] for place in found] for n, name in enumerate(names)}
        for states in map(states_of, found.values()):
            for name, state in states.items():
                values.setdefault(name, []).append(AGGREGATES[name].result(state))
                if name == "mean":
                    values.setdefault("mean__sum", []).append(state[0])
                    values.setdefault("mean__count", []).append(state[1])
                elif len(state) > 1:
                    values.setdefault(f"{name}__at", []).append(state[1])
        values["_topic"], values["_partition"] = ["clicks"] * len(found), [partition] * len(found)
        return {name: (TYPES.get(name, TIMESTAMP), column) for name, column in values.items()}


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def merge(lake, table, *options):
    """What the command prints; it must succeed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert run(["lake", "merge", str(lake.folder), table, *options]) == 0
    return printed.getvalue()


def rows(lake, table, *options):
    """The merged rows that the command prints."""
    found = map(json.loads, merge(lake, table, "--json", "--limit", "100000", *options).splitlines())
    return sorted(found, key=row_order)


def by_sql(text, views=()):
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for view in views:
            connection.execute(view)
        found = connection.execute(text)
        names = [name for name, *_ in found.description]
        rows = [
            {n: moment(value.timestamp() * 1000) if isinstance(value, datetime) else value for n, value in row}
            for row in (zip(names, values, strict=True) for values in found.fetchall())
        ]
        return sorted(rows, key=row_order)


EVENTS = st.lists(
    st.builds(
        Event,
        partition=st.integers(0, 3),
        time_ms=st.integers(0, 4 * 60).map(lambda minutes: NOON_MS + minutes * MINUTE_MS),
        user=st.sampled_from(["ann", "bob", None]),
        page=st.sampled_from(["/", "/shoes", None]),
        value=st.one_of(st.none(), st.integers(-5, 5)),
    ),
    min_size=1,
    max_size=60,
    # Two events of a user at one time on two partitions: none of them is the first or the last one.
    unique_by=lambda event: (event.user, event.time_ms),
)


@pytest.mark.parametrize("bounds", ["window", "session"])
@settings(max_examples=40, deadline=None)
@given(events=EVENTS)
def test_merged_rows_are_those_that_one_partition_computes_of_all_events_and_sql_agrees(
    bounds, events, tmp_path_factory
):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.write(bounds, events)
    expected = merged(bounds, events)
    assert rows(lake, TABLES[bounds]) == expected
    assert by_sql(merge(lake, TABLES[bounds], "--sql")) == expected
