"""What the committer adds, and what it refuses to."""

import json
import threading

import duckdb
import pyarrow as pa
import pytest
from faults import Calls
from iceberg_faults import InterruptedWorld
from iceberg_world import CLICK, CLICKS, HOUR_MS, T0, World, click, once
from samples import lambda_event

from headrace_iceberg import tables as in_catalog
from headrace_iceberg.columns import adopt
from headrace_iceberg.compaction import Compaction, Rules
from headrace_iceberg.errors import BooksDisagree, CatalogFailed, FileUnreadable, MarksLost, SchemaConflict, TableTaken
from headrace_iceberg.high_water import PROPERTY, Source
from headrace_iceberg.tables import TableId


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def commit(world, **options):
    run = world.committer(**options).run()
    assert run.failures == {}
    return run


def with_field(**field):
    return {**CLICK, "fields": [*CLICK["fields"], field]}


def test_what_is_published_is_in_the_table_once(world):
    records = [click(n, T0 + n * HOUR_MS // 2, partition=n % 2) for n in range(8)]
    world.land(records[:4])
    commit(world)
    world.land(records[4:])
    commit(world)
    (again,) = commit(world).added
    assert again.files == again.snapshots == 0
    assert world.offsets() == once(records)


def test_a_run_adds_in_one_snapshot_and_its_marks_are_the_checkpoints(world):
    world.land([click(n, T0 + n * HOUR_MS, partition=n % 2) for n in range(6)])
    commit(world)
    (snapshot,) = world.table().snapshots()
    assert json.loads(snapshot.summary[PROPERTY]) == {"1/clicks/0": [1, 3], "1/clicks/1": [1, 3]}


def test_a_backlog_takes_several_snapshots_and_no_version_is_divided(world):
    for n in range(5):
        world.land([click(2 * n, T0), click(2 * n + 1, T0 + HOUR_MS)])
    (added,) = commit(world, files=3).added
    assert (added.files, added.snapshots) == (10, 3)
    assert world.offsets() == once(click(n) for n in range(10))


def test_a_row_without_event_time_is_found_where_it_is_filed(world):
    """Its bucket is Kafka's hour; a query for rows without event time finds it, one for the bucket too."""
    world.land([click(0, T0 + 5 * HOUR_MS), click(1, None)])
    commit(world)
    table = world.table()
    assert [row["_offset"] for row in table.scan("at is null").to_arrow().to_pylist()] == [1]
    found = table.scan("_bucket = '2024-03-13T10:00:00+00:00'").to_arrow().to_pylist()
    assert [row["_offset"] for row in found] == [1]


def test_only_buckets_that_are_asked_for_are_read(world):
    world.land([click(n, T0 + n * HOUR_MS) for n in range(4)])
    commit(world)
    table = world.table()
    assert len(list(table.scan("_bucket = '2024-03-13T12:00:00+00:00'").plan_files())) == 1
    assert len(list(table.scan("at >= '2024-03-13T13:00:00+00:00'").plan_files())) == 1


def test_the_search_ends_where_nothing_is_missing(world):
    """A hundred old hours, one new file in the newest: two buckets are looked into, not a hundred."""
    world.land([click(n, T0 + n * HOUR_MS) for n in range(100)])
    assert commit(world).added[0].buckets == 100
    world.land([click(100, T0 + 99 * HOUR_MS)])
    assert commit(world).added[0].buckets <= 2
    world.land([click(101, T0 + 90 * HOUR_MS)])
    assert commit(world).added[0].buckets == 10


def test_while_a_commit_is_being_published_the_ones_before_it_are_added(world):
    """
    version  1 published   2 published   3 committed, nothing of it published
    table    ├──────── added ────────┤   waits, although it is in the checkpoint's count
    """

    class Unpublished(Exception):
        pass

    class Stuck:
        def __getattr__(self, name):
            return getattr(world.objects, name)

        def publish(self, entries):
            raise Unpublished

    world.land([click(0)])
    world.land([click(1)])
    with pytest.raises(Exception, match="Unpublished"):
        world.process(outbox=Stuck()).handle(lambda_event([click(2)]))
    commit(world)
    assert world.offsets() == once([click(0), click(1)])
    world.land([click(2), click(3)])
    commit(world)
    assert world.offsets() == once(click(n) for n in range(4))


def test_a_file_that_was_deleted_is_missed_and_stops_its_own_partition_only(world):
    world.land([click(n, T0 + (n % 3) * HOUR_MS, partition=n % 2) for n in range(6)])
    lost = next(key for key in world.objects.keys("lake/landing") if "clicks-1-" in key)
    world.objects.delete([lost])
    run = world.committer().run()
    (error,) = run.failures.values()
    assert isinstance(error, BooksDisagree)
    assert (error.expected, error.found) == (3, 2)
    assert {partition for partition, _ in world.offsets()} == {0}
    commit(world, accept_missing=True)
    assert len(world.offsets()) == 5
    world.land([click(6, partition=1)])
    commit(world)
    assert len(world.offsets()) == 6


def test_what_is_no_parquet_stops_its_partition_until_it_is_restored(world):
    world.land([click(0), click(1, partition=1)])
    world.land([click(2)])
    damaged = next(p for p in world.root.rglob("1-clicks-0-1-0.parquet"))
    content = damaged.read_bytes()
    damaged.write_bytes(b"PAR1" + b"\xff" * 40 + b"PAR1")
    (error,) = world.committer().run().failures.values()
    assert isinstance(error, FileUnreadable)
    assert world.offsets() == once([click(1, partition=1)])
    damaged.write_bytes(content)
    commit(world)
    assert world.offsets() == once([click(0), click(2), click(1, partition=1)])


def test_new_columns_and_wider_types_read_as_one_table(world):
    world.land([click(0)])
    commit(world)
    longer = json.loads(json.dumps(with_field(name="tag", type=["null", "string"], default=None)))
    longer["fields"][2]["type"] = "long"
    world.land([click(1, tag="new", value=2**40)], fields=longer)
    world.land([click(2)], fields=longer)
    commit(world)
    assert {row["_offset"]: (row["value"], row["tag"]) for row in world.rows()} == {
        0: (0, None),
        1: (2**40, "new"),
        2: (2, None),
    }


def test_a_type_that_the_column_cannot_become_stops_its_partition_with_the_reason(world):
    world.land([click(0)])
    commit(world)
    other = json.loads(json.dumps(CLICK))
    other["fields"][2]["type"] = "string"
    world.land([click(1, value="text")], fields=other)
    world.land([click(2, partition=1)])
    (error,) = world.committer().run().failures.values()
    assert isinstance(error, SchemaConflict)
    file = "lake/landing/clicks/date=2024-03-13/hour=10/1-clicks-0-2-0.parquet"
    assert str(error).startswith(f"{file}: column 'value' is string in the file and int in the table. It and")
    assert world.offsets() == once([click(0), click(2, partition=1)])


def test_the_ways_out_of_a_schema_conflict_leave_everything_there_once(world):
    """The old table goes on without the file that was moved aside; a new generation has its rows, too."""
    world.land([click(0)])
    commit(world)
    other = json.loads(json.dumps(CLICK))
    other["fields"][2]["type"] = "string"
    texts = [click(1, value="text"), click(2, T0 + HOUR_MS, value="more")]  # two files
    world.land(texts, fields=other)
    world.land([click(3)])  # the old schema is back
    failures = world.committer().run().failures
    assert all(isinstance(error, SchemaConflict) for error in failures.values())
    for error in failures.values():
        (world.root / error.file).rename(world.root / f"set-aside-{error.file.rpartition('/')[2]}")
    (missing,) = world.committer().run().failures.values()
    assert isinstance(missing, BooksDisagree)
    world.committer(accept_missing=True).run().raise_failures()
    world.land([click(4)])
    commit(world)
    assert world.offsets() == once([click(0), click(3), click(4)])
    everything = [click(0, value="0"), *texts, click(3, value="3"), click(4, value="4")]
    world.land(everything, fields=other, generation="2")
    commit(world)
    assert world.offsets(TableId("landing", "clicks", "2")) == once(everything)
    assert world.offsets() == once([click(0), click(3), click(4)])


def test_a_conflict_inside_of_a_record_is_told_too(world):
    def nested(of):
        return with_field(name="place", type={"type": "record", "name": "Place", "fields": [{"name": "x", "type": of}]})

    world.land([click(0, place={"x": 1})], fields=nested("int"))
    commit(world)
    world.land([click(1, place={"x": "a"})], fields=nested("string"))
    (error,) = world.committer().run().failures.values()
    assert isinstance(error, SchemaConflict)
    assert "place.x" in str(error)
    assert "int" in str(error)


def test_each_generation_has_a_table_of_its_own(world):
    world.land([click(0), click(1)])
    world.land([click(0), click(1)], generation="2")
    assert {each.table for each in commit(world).added} == {"clicks_g1", "clicks_g2"}
    assert world.offsets() == world.offsets(TableId("landing", "clicks", "2")) == once([click(0), click(1)])


def test_a_table_of_the_same_name_is_left_alone(world):
    world.land([click(0)])
    commit(world)
    with pytest.raises(TableTaken):
        world.tables.load(TableId("landing", "Clicks", "1"))


def test_of_two_writers_at_once_one_adds_and_the_other_is_told(tmp_path):
    """The slower one's snapshot was built before the faster one's commit: repeated upon it, every row were twice."""
    records = [click(n) for n in range(4)]
    World(tmp_path).land(records[:2])
    commit(World(tmp_path))
    World(tmp_path).land(records[2:])
    raced = []

    def overtaken(point):
        if point == "before commit table" and not raced:
            raced.append(point)
            InterruptedWorld(tmp_path, Calls()).committer().run().raise_failures()

    slow = InterruptedWorld(tmp_path, Calls(overtaken))
    (error,) = slow.committer().run().failures.values()
    assert raced
    assert isinstance(error, CatalogFailed)
    assert World(tmp_path).offsets() == once(records)


def test_a_commit_whose_outcome_nobody_heard_of_is_not_repeated(tmp_path):
    World(tmp_path).land([click(0), click(1)])

    def lost(point):
        if point == "after commit table":
            raise ConnectionError("the answer got lost")

    (error,) = InterruptedWorld(tmp_path, Calls(lost)).committer().run().failures.values()
    assert isinstance(error, CatalogFailed)
    commit(World(tmp_path))
    assert World(tmp_path).offsets() == once([click(0), click(1)])


def test_another_writers_snapshot_hides_no_marks(world):
    """Athena deletes a row: its snapshot says nothing of files, and the rows are not added again."""
    world.land([click(0), click(1)])
    commit(world)
    world.table().delete("_offset = 1")
    world.land([click(2)])
    commit(world)
    assert world.offsets() == once([click(0), click(2)])


def test_without_any_marks_nothing_is_added(world):
    world.land([click(0)])
    commit(world)
    table = world.table()
    table.delete("_offset = 0")
    table = world.table()
    first = table.snapshots()[0].snapshot_id
    table.maintenance.expire_snapshots().by_id(first).commit()
    world.land([click(1)])
    (error,) = world.committer().run().failures.values()
    assert isinstance(error, MarksLost)


def test_marks_are_read_back_as_they_were_written(world):
    world.land([click(0), click(1, partition=7)])
    commit(world)
    assert in_catalog.marks(world.table()) == {Source("1", "clicks", 0): (1, 1), Source("1", "clicks", 7): (1, 1)}


def test_a_reader_in_another_thread_never_sees_a_row_twice_or_one_vanish(tmp_path):
    World(tmp_path).land([click(0)])
    commit(World(tmp_path))
    stop, seen, wrong = threading.Event(), [set()], []

    def read():
        while not stop.is_set():
            world = World(tmp_path)
            files = [task.file.file_path.removeprefix("file://") for task in world.table().scan().plan_files()]
            rows = duckdb.connect().execute("select _offset from read_parquet(?)", [files]).fetchall()
            if len(set(rows)) != len(rows) or not seen[0] <= set(rows):
                wrong.append(rows)
            seen[0] = set(rows)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for n in range(1, 9):
            world = World(tmp_path)
            world.land([click(n, T0 + (n % 2) * HOUR_MS)])
            commit(world)
            Compaction(world.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, {})
    finally:
        stop.set()
        reader.join()
    assert wrong == []
    assert World(tmp_path).offsets() == once(click(n) for n in range(9))


def test_a_renamed_column_keeps_its_old_rows(world):
    """A file that says how its column was called before: the table's column is renamed, old files are read by it."""
    world.land([click(0)])
    commit(world)
    user, *others = CLICK["fields"]
    renamed = user | {"name": "visitor", "aliases": ["user"]}
    world.land([click(1, visitor="v")], fields=CLICK | {"fields": [renamed, *others]})
    commit(world)
    assert {row["_offset"]: row["visitor"] for row in world.rows()} == {0: "u0", 1: "v"}
    assert "user" not in world.rows()[0]


def test_a_table_of_days_is_found_and_filed_by_the_day(world):
    world.land([click(0), click(1, T0 + 3 * HOUR_MS), click(2, T0 + 24 * HOUR_MS)], bucket="day")
    (added,) = commit(world).added
    assert (added.files, added.rows) == (2, 3)
    found = world.table().scan("_bucket = '2024-03-13T00:00:00+00:00'").to_arrow().to_pylist()
    assert sorted(row["_offset"] for row in found) == [0, 1]


NESTED = {
    **CLICK,
    "fields": [
        *CLICK["fields"],
        {"name": "seen", "type": {"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}}},
        {"name": "counts", "type": {"type": "map", "values": "long"}},
        {"name": "last", "type": {"type": "map", "values": {"type": "long", "logicalType": "timestamp-millis"}}},
        {
            "name": "place",
            "type": {
                "type": "record",
                "name": "Place",
                "fields": [
                    {"name": "city", "type": ["null", "string"], "default": None},
                    {"name": "since", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                ],
            },
        },
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "answer", "type": ["null", "string", "long"], "default": None},
    ],
}


def test_lists_maps_records_decimals_and_unions_read_the_same_before_and_after_compaction(world):
    values = {"seen": [T0], "counts": {"a": 1, "b": 2}, "last": {"a": T0}}
    values |= {"place": {"city": None, "since": T0}, "price": "12.30"}
    world.land([click(n, answer=answer, **values) for n, answer in enumerate([None, "x", 7])], fields=NESTED)
    commit(world)
    before = sorted(map(repr, world.rows()))
    (row,) = (row for row in world.rows() if row["_offset"] == 2)
    moments = (*row["seen"], row["place"]["since"], dict(row["last"])["a"])
    assert [moment.timestamp() * 1000 for moment in moments] == [T0, T0, T0]
    assert (dict(row["counts"]), str(row["price"])) == ({"a": 1, "b": 2}, "12.30")
    failures = {}
    Compaction(world.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, failures)
    assert failures == {}
    assert sorted(map(repr, world.rows())) == before


def test_files_of_a_day_are_filed_under_its_first_hour_beside_those_of_hours(world):
    """
    12th 23h  13th 00h        13th 10h                 14th 00h
    │ hour    │ hour          │ hour 0, day 1 and 2    │ day 3
    """
    world.land([click(0)])
    commit(world)
    day = 24 * HOUR_MS
    world.land([click(n, T0 + (n - 1) * 6 * HOUR_MS) for n in range(1, 4)] + [click(4, T0 + day)], bucket="day")
    world.land([click(5, T0 - 10 * HOUR_MS), click(6, T0 - 11 * HOUR_MS)])
    commit(world)
    midnight_ms = T0 - 10 * HOUR_MS
    buckets = {row["_offset"]: int(row["_bucket"].timestamp() * 1000) for row in world.rows()}
    assert buckets == {
        0: T0,
        1: midnight_ms,
        2: midnight_ms,
        3: midnight_ms,
        4: midnight_ms + day,
        5: midnight_ms,
        6: midnight_ms - HOUR_MS,
    }
    assert world.offsets() == once(click(n) for n in range(7))


def test_times_in_milliseconds_are_refused_because_spark_would_misread_them(world):
    world.land([click(0)])
    commit(world)
    with pytest.raises(SchemaConflict, match="no type of Iceberg's"):
        adopt(world.table().transaction(), pa.schema([pa.field("at", pa.timestamp("ms", tz="UTC"))]))
