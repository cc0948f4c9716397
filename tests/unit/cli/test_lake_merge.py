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
from arro3.io import read_parquet, write_parquet
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from samples import record

from headrace import schema
from headrace.aggregates import Aggregate, Count, First, Last, Max, Mean, Min, Sum, merge_rule
from headrace.codec import JsonCodec
from headrace.distinct_count import DistinctCount
from headrace.lake import COMPLETENESS, HOUR_MS, MERGE, TIMESTAMP, LakeFile, Rows, column, encode, final_key, split
from headrace.quantiles import Quantile, Quantiles
from headrace.records import TopicPartition
from headrace.top_k import TopK
from headrace.topology import Topology
from headrace.window_rows import Top
from headrace.windowed import Windowed
from headrace.windows import SessionWindows, SlidingWindows, TumblingWindows
from headrace_cli.commands.rendering import json_value
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
    "pages": DistinctCount("page"),
    "median": Quantile("value", 0.5),
    "quantiles": Quantiles("value", (0.0, 0.75)),
    "top_pages": TopK("page", 2),
    "top_times": TopK("at", 1),
}
SKETCHES = ("pages", "median", "quantiles", "top_pages", "top_times")
INT, TEXT = DataType.int64(), DataType.string()
AVSC = json.dumps(
    {
        "type": "record",
        "name": "Click",
        "fields": [
            {"name": "user", "type": ["null", "string"]},
            {"name": "page", "type": ["null", "string"]},
            {"name": "value", "type": ["null", "long"]},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
)
FIELDS = {"value": INT, "page": TEXT, "at": TIMESTAMP}
TYPES = {
    "user": TEXT,
    **{name: aggregate.result_type(FIELDS.get(aggregate.field)) for name, aggregate in AGGREGATES.items()},
    **{
        partial: arrow_type
        for name, aggregate in AGGREGATES.items()
        for partial, arrow_type in aggregate.partials(name, FIELDS.get(aggregate.field))
    },
    "_topic": TEXT,
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

    def payload(self) -> bytes:
        """As JSON."""
        fields = {"user": self.user, "page": self.page, "value": self.value, "at": self.time_ms}
        return json.dumps(fields).encode()


def finished(bounds: str, events: Iterable[Event], *, partition: int = 0, **declared: Any) -> list[Rows]:
    """The rows of one partition with these events, in order of time, once all of its windows are closed."""
    window = TumblingWindows(MINUTE_MS) if bounds == "window" else SessionWindows(GAP_MS)
    operator = replace(Windowed(TABLES[bounds], window, ("user",), AGGREGATES), **declared)
    patience_ms = {"out_of_orderness_ms": GAP_MS} if declared.get("complete") else {}
    topology = Topology(JsonCodec(schema.parse(AVSC)), (operator,), "at", max_skew_ms=10**15, **patience_ms)
    logic = topology.build(TopicPartition("clicks", partition), None)
    in_order = sorted(events, key=lambda event: event.time_ms)
    logic.apply([record(n, event.payload()) for n, event in enumerate(in_order)])
    logic.tick()
    assert (logic.late, logic.dead) == (0, 0)
    return logic.rows


def merged(bounds: str, events: Iterable[Event]) -> list[dict]:
    """What one partition makes of all events.

    It is patient: where the watermark is the newest event's time, somebody else's event at a session's end closes it,
    and the user's own at the same moment, which would have continued it, begins another one that touches it. Merging
    joins those, as it joins what two partitions have of one session; so the reference must not part them.
    """
    found = []
    for rows in finished(bounds, events, complete=True):
        names = [field.name for field in rows.table.fields]
        values = zip(*(column.to_pylist() for column in rows.columns), strict=True)
        found += [dict(zip(names, row, strict=True)) for row in values]
    return sorted([json_value({n: v for n, v in row.items() if n[0] != "_"}) for row in found], key=row_order)


def row_order(row: dict) -> tuple:
    return [str(value) for value in row.values()][:3]


def moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def said(bounds: str, **more: Any) -> dict[str, str]:
    """A partial table's metadata."""
    rule = merge_rule([f"{bounds}_start", f"{bounds}_end", "user"], AGGREGATES)
    window = {"window": "SessionWindows" if bounds == "session" else "TumblingWindows"}
    return {COMPLETENESS: "partial", MERGE: json.dumps(rule | window | more)}


def parquet(columns: dict[str, tuple[DataType, list]], metadata: dict[str, str]) -> bytes:
    fields = [Field(name, arrow_type) for name, (arrow_type, _) in columns.items()]
    arrays = [column(values, arrow_type) for arrow_type, values in columns.values()]
    return written(RecordBatch.from_arrays(arrays, schema=Schema(fields, metadata=metadata)))


def saying(metadata: dict[str, str], content: bytes) -> bytes:
    """The file with other metadata."""
    (batch,) = read_parquet(io.BytesIO(content))
    columns = [(name, batch.schema.field(name).type, batch.column(name)) for name in batch.schema.names]
    schema = Schema([Field(name, arrow_type) for name, arrow_type, _ in columns], metadata=metadata)
    return written(RecordBatch.from_arrays([values for *_, values in columns], schema=schema))


def written(batch: RecordBatch) -> bytes:
    buffer = io.BytesIO()
    write_parquet(Table.from_batches([batch]), buffer)
    return buffer.getvalue()


class Lake:
    """A folder with the tables `clickstream/minutes` and `clickstream/visits`, as several partitions write them."""

    def __init__(self, folder):
        self.folder = folder
        self._version = 0

    def write(self, bounds, events, *, generation="1", metadata=None, **declared):
        """Each partition's rows, in a file for each hour, as the operator writes them; with other metadata if given."""
        for partition in sorted({event.partition for event in events}):
            of_partition = [event for event in events if event.partition == partition]
            finished_rows = finished(bounds, of_partition, partition=partition, **declared)
            for part in (part for rows in finished_rows for part in split(rows)):
                content = encode(part, {}).content
                content = content if metadata is None else saying(metadata, content)
                self.put(TABLES[bounds], content, part.hour_ms, partition, generation)

    def put(self, table, content, hour_ms=NOON_MS, partition=0, generation="1"):
        self._version += 1
        place = {"pipeline": "clickstream", "generation": generation, "topic": "clicks", "partition": partition}
        key = final_key(LakeFile(table, hour_ms, content, 1), **place, version=self._version, number=0)
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return key


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
@settings(max_examples=30, deadline=None)
@given(events=EVENTS)
@example(events=[Event(0, NOON_MS, "ann"), Event(0, NOON_MS + GAP_MS, "bob"), Event(0, NOON_MS + GAP_MS, "ann")])
def test_merged_rows_are_those_that_one_partition_computes_of_all_events_and_sql_agrees(
    bounds, events, tmp_path_factory
):
    lake = Lake(tmp_path_factory.mktemp("lake"))
    lake.write(bounds, events)
    expected = merged(bounds, events)
    assert rows(lake, TABLES[bounds]) == expected
    assert by_sql(merge(lake, TABLES[bounds], "--sql")) == list(map(sql_can, expected))


def at(minutes, user="ann", partition=0, **fields):
    return Event(partition, NOON_MS + minutes * MINUTE_MS, user, **fields)


def sql_can(row):
    return {name: value for name, value in row.items() if name not in SKETCHES}


def columns_of(found, *names):
    return [tuple(row[name] for name in names) for row in found]


def clock(minutes):
    return moment(NOON_MS + minutes * MINUTE_MS)


class TestSessions:
    """A gap of 30 minutes."""

    @pytest.mark.parametrize(
        ("second", "expected"),
        [
            ([at(29, partition=1)], [(0, 59, 2)]),
            ([at(30, partition=1)], [(0, 60, 2)]),  # touching: exactly one gap after the last event
            ([at(31, partition=1)], [(0, 30, 1), (31, 61, 1)]),
            ([at(0, partition=1)], [(0, 30, 2)]),
        ],
    )
    def test_two_that_overlap_or_touch_are_one(self, lake, second, expected):
        """
        partition 0   0 ------- 30)
        partition 1            [29 …
        """
        lake.write("session", [at(0), *second])
        found = columns_of(rows(lake, "visits"), "session_start", "session_end", "events")
        assert found == [(clock(start), clock(end), events) for start, end, events in expected]
        assert found == columns_of(by_sql(merge(lake, "visits", "--sql")), "session_start", "session_end", "events")

    def test_a_chain_through_the_hours_is_one(self, lake):
        """
        hour          12              13              14              15
        partition 0   0 -- 30)             [80 - 110)
        partition 1      [25 ------ 85)                  [140 - 170)
        """
        lake.write("session", [at(0), at(80), *(at(m, partition=1) for m in (25, 55, 140))])
        expected = [(clock(0), clock(110), 4), (clock(140), clock(170), 1)]
        assert columns_of(rows(lake, "visits"), "session_start", "session_end", "events") == expected

    def test_one_that_ends_with_the_hour_touches_one_that_starts_with_the_next(self, lake):
        """
        hour          12          13
        partition 0   [30 ------ 60)
        partition 1             [60 ------ 90)
        """
        lake.write("session", [at(30), at(60, partition=1)])
        expected = [(clock(30), clock(90), 2)]
        assert columns_of(rows(lake, "visits"), "session_start", "session_end", "events") == expected

    @pytest.mark.parametrize(
        ("hour", "starts"),
        [("2024-03-13T12", [0, 58]), ("2024-03-13T13", [100]), ("2024-03-13T14", [])],
    )
    def test_one_hour_has_those_that_start_in_it_after_merging(self, lake, hour, starts):
        """
        hour               12                 13                      14
        ann, partition 0   0 -- 30)    [58 ------ 88)
        ann, partition 1                     [70 ----- 100)
        bob, partition 0                             [100 ------ 130)
        bob, partition 1                                    [120 ------ 150)
        """
        lake.write("session", [at(0), at(58), at(100, "bob"), at(70, partition=1), at(120, "bob", partition=1)])
        found = columns_of(rows(lake, "visits", "--where-hour", hour), "session_start")
        assert found == [(clock(minute),) for minute in starts]
        by_query = by_sql(merge(lake, "visits", "--where-hour", hour, "--sql"))
        assert columns_of(by_query, "session_start") == found

    def test_without_a_key_all_partitions_share_theirs(self, lake):
        lake.write("session", [at(0), at(20, partition=1), at(90)], metadata=said("session", group_by=BOUNDS))
        expected = [(clock(0), clock(50), 2), (clock(90), clock(120), 1)]
        assert columns_of(rows(lake, "visits"), *BOUNDS, "events") == expected
        assert columns_of(by_sql(merge(lake, "visits", "--sql")), *BOUNDS, "events") == expected


BOUNDS = ["session_start", "session_end"]


class TestGenerations:
    def test_the_newest_is_the_largest_number_and_never_merges_with_another(self, lake, capsys):
        lake.write("window", [at(0), at(0)], generation="9")
        lake.write("window", [at(0), at(0, partition=1), at(0, partition=2)], generation="10")
        assert columns_of(rows(lake, "minutes"), "events") == [(3,)]
        assert "generation 10 (--generation takes another one: 10, 9)" in capsys.readouterr().err
        assert columns_of(rows(lake, "minutes", "--generation", "9"), "events") == [(2,)]
        assert columns_of(by_sql(merge(lake, "minutes", "--sql")), "events") == [(3,)]
        assert columns_of(by_sql(merge(lake, "minutes", "--sql", "--generation", "9")), "events") == [(2,)]

    def test_names_have_no_order(self, lake, capsys):
        for generation in ("blue", "2"):
            lake.write("window", [at(0)], generation=generation)
        assert run(["lake", "merge", str(lake.folder), "minutes"]) == 2
        assert "which generation? name it with --generation: 2, blue" in capsys.readouterr().err
        assert columns_of(rows(lake, "minutes", "--generation", "blue"), "events") == [(1,)]

    def test_one_that_does_not_exist_is_answered_with_those_that_do(self, lake, capsys):
        lake.write("window", [at(0)])
        assert run(["lake", "merge", str(lake.folder), "minutes", "--generation", "2"]) == 2
        assert "--generation 2: clickstream/minutes has 1" in capsys.readouterr().err


class TestQueries:
    def test_the_one_for_athena_is_right_and_takes_one_generation_and_hour(self, lake):
        """Run by DuckDB, which reads the same SQL, on a view that has what Athena has: the path, the partitions."""
        for generation in ("1_a", "10a", "11a"):  # for LIKE, an underscore is any character
            lake.write("window", [at(0, page=None), at(1, partition=1), at(61)], generation=generation)
            lake.write("session", [at(0), at(20, partition=1), at(99)], generation=generation)
        for bounds, table in TABLES.items():
            files = f"{lake.folder}/lake/clickstream/{table}/**/*.parquet"
            read = f"read_parquet('{files}', hive_partitioning = true, hive_types_autocast = false, filename = '$path')"
            view = f"create view clickstream_{table} as from {read}"
            options = (table, "--generation", "1_a")
            query = merge(lake, *options, "--sql", "athena")
            assert by_sql(query, [view]) == list(map(sql_can, rows(lake, *options)))
            assert "from clickstream_" in query
            in_hour = merge(lake, *options, "--sql", "athena", "--where-hour", "2024-03-13T13")
            expected = rows(lake, *options, "--where-hour", "2024-03-13T13")
            assert len(expected) == 1
            assert columns_of(by_sql(in_hour, [view]), f"{bounds}_start", "events") == columns_of(
                expected, f"{bounds}_start", "events"
            )

    def test_the_one_for_spark_quotes_names_as_spark_does(self, lake):
        lake.write("window", [at(0)])
        athena = merge(lake, "minutes", "--sql", "athena", "--table-name", "shop.minutes")
        spark = merge(lake, "minutes", "--sql", "spark", "--table-name", "shop.minutes")
        assert spark == athena.replace('"$path"', "input_file_name()").replace('"', "`")
        assert "from shop.minutes\n" in spark

    def test_a_column_named_like_a_folder_is_the_tables_own(self, lake):
        columns = {"window_start": (TIMESTAMP, [NOON_MS]), "window_end": (TIMESTAMP, [NOON_MS + MINUTE_MS])}
        columns |= {"hour": (INT, [77]), "events": (INT, [5])}
        merging = merge_rule([*columns][:3], {"events": Count()})
        lake.put("hours", parquet(columns, said("window", **merging)))
        assert columns_of(by_sql(merge(lake, "hours", "--sql")), "hour", "events") == [(77, 5)]

    def test_a_sketch_is_named_in_the_query_and_left_to_the_command(self, lake):
        lake.write("window", [at(0)])
        assert "-- pages (DistinctCount): no SQL expression merges it" in merge(lake, "minutes", "--sql")


class TestCommand:
    def test_for_a_person_as_many_as_asked_for_and_no_file_more_than_needed(self, lake, monkeypatch):
        monkeypatch.setenv("COLUMNS", "400")
        lake.write("window", [at(minute) for minute in range(70)])
        lake.put("minutes", b"damaged", NOON_MS + HOUR_MS)
        printed = merge(lake, "minutes", "--limit", "3")
        assert printed.count("│ ann") == 3

    def test_complete_rows_are_shown_as_they_are_and_it_says_so(self, lake, capsys):
        lake.write("window", [at(0), at(0, partition=1)], metadata={COMPLETENESS: "complete"})
        assert columns_of(rows(lake, "minutes"), "_partition", "events") == [(0, 1), (1, 1)]
        assert "clickstream/minutes: rows are complete already" in capsys.readouterr().err
        assert len(by_sql(merge(lake, "minutes", "--sql"))) == 2

    def test_the_best_keys_of_each_partition_are_not_the_best_of_all(self, lake, capsys):
        lake.write("window", [at(0)], top=Top(10, by="events"))
        assert columns_of(rows(lake, "minutes"), "events") == [(1,)]
        assert "warning: of each window, a partition kept its 10 best keys by events only" in capsys.readouterr().err

    def test_an_aggregate_of_the_functions_own_is_left_out_with_a_warning(self, lake, capsys):
        known = {"events": ["Count", {}], "mean": ["Folded", {"fold": {}, "field": "value"}], "pages": ["TopK", {}]}
        lake.write("window", [at(0)], metadata=said("window", aggregates=known))
        assert list(rows(lake, "minutes")[0]) == ["window_start", "window_end", "user", "events"]
        assert (
            "warning: left out, as only the function's own code can merge them: mean, pages" in capsys.readouterr().err
        )

    def test_tables_and_show_say_which_rows_are_partial(self, lake, capsys):
        lake.write("window", [at(0)])
        lake.write("session", [at(0)], metadata={COMPLETENESS: "complete"})
        lake.put("old", parquet({"a": (TEXT, ["x"])}, {}))
        assert run(["lake", "tables", str(lake.folder), "--json"]) == 0
        listed = map(json.loads, capsys.readouterr().out.splitlines())
        assert {row["table"].partition("/")[2]: row["completeness"] for row in listed} == {
            "minutes": "partial",
            "old": "unknown",
            "visits": "complete",
        }
        for table, said_of_it in [("minutes", "partial rows"), ("visits", "complete rows"), ("old", "unknown rows")]:
            assert run(["lake", "show", str(lake.folder), table, "--json"]) == 0
            assert f"{table}: {said_of_it}" in capsys.readouterr().err


def record_table(**bounds):
    """A row for each record, as landing and the late table have."""
    return parquet({**bounds, "_offset": (INT, [0])}, {COMPLETENESS: "complete"})


def early():
    names = ("window_start", "window_end", "revision")
    return parquet({name: (INT, [0]) for name in names}, said("window"))


BOUND_COLUMNS = {"window_start": (INT, [0]), "window_end": (INT, [0])}


class TestErrors:
    @pytest.mark.parametrize("bounds", TABLES)
    @pytest.mark.parametrize("hour", ["2024-03-14T00", "noon"])
    @pytest.mark.parametrize("more", [[], ["--sql"]])
    def test_an_hour_without_rows_is_answered_with_those_that_there_are(self, lake, bounds, hour, more, capsys):
        lake.write(bounds, [at(0), at(61)])
        assert run(["lake", "merge", str(lake.folder), TABLES[bounds], "--where-hour", hour, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"--where-hour {hour}: no rows; there are hours 2024-03-13T12 to 2024-03-13T13" in line

    def test_sliding_windows_have_rows_for_other_times_in_each_partition(self, lake, capsys):
        lake.write("window", [at(0), at(1, partition=1)], window=SlidingWindows(2 * MINUTE_MS))
        assert run(["lake", "merge", str(lake.folder), "minutes"]) == 2
        assert "clickstream/minutes has sliding windows" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("table", "content", "status", "message"),
        [
            ("clicks", record_table(), 2, "clickstream/clicks is not a windowed table"),
            ("late", record_table(**BOUND_COLUMNS), 2, "clickstream/late is not a windowed table"),
            ("minutes_early", early(), 2, "superseded by its next revision: merge clickstream/minutes instead"),
            ("old", parquet(BOUND_COLUMNS, {COMPLETENESS: "partial"}), 1, "an older version of Headrace wrote it"),
            ("older", parquet(BOUND_COLUMNS, {}), 1, "an older version of Headrace wrote it"),
            ("odd", parquet(BOUND_COLUMNS, {MERGE: "{}"}), 1, "its metadata headrace.merge cannot be read"),
            ("cut", b"PAR1", 1, "is not a Parquet file, or only a part of one"),
        ],
    )
    def test_each_is_one_line_that_names_it(self, lake, table, content, status, message, capsys):
        lake.put(table, content)
        assert run(["lake", "merge", str(lake.folder), table]) == status
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line

    @pytest.mark.parametrize(
        ("columns", "metadata", "message"),
        [
            ({}, said("window", top={"count": 3, "by": "events"}), "says another thing about how rows merge than"),
            ({}, {COMPLETENESS: "complete"}, "says another thing about how rows merge than"),
            ({"events": (TEXT, ["1"])}, said("window"), "column events is"),
            ({"events": None}, said("window"), "has no column events"),
        ],
    )
    def test_files_that_do_not_fit_the_first_one_are_not_merged(self, lake, columns, metadata, message, capsys):
        lake.write("window", [at(0)])
        first = {name: (TYPES.get(name, TIMESTAMP), [None]) for name in TYPES} | {
            "window_start": (TIMESTAMP, [NOON_MS]),
            "window_end": (TIMESTAMP, [NOON_MS + MINUTE_MS]),
        }
        content = parquet({n: c for n, c in (first | columns).items() if c}, metadata)
        key = lake.put("minutes", content, partition=1)
        assert run(["lake", "merge", str(lake.folder), "minutes"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert key in line
        assert message in line

    def test_a_file_of_a_foreign_name_has_no_generation(self, lake, capsys):
        lake.write("window", [at(0)])
        (file,) = lake.folder.rglob("*.parquet")
        file.rename(file.with_name("part-0.snappy.parquet"))
        assert run(["lake", "merge", str(lake.folder), "minutes"]) == 1
        assert "has a name that no function gives" in capsys.readouterr().err
