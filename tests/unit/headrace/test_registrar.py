"""The catalog follows the lake: whatever is in it, whatever somebody did to the catalog, in bounded runs."""

from collections import Counter

from arro3.core import DataType, Field, Schema
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_files import HOUR_MS, column, file_of
from msgspec.structs import replace
from obstore.store import MemoryStore

from headrace import registrar as registrar_module
from headrace.catalog import LAKE_TABLE, Changes, Column, MemoryCatalog, Partition, Table, plain_name, table_names
from headrace.catalog_changes import Listed, columns_of, desired_table, merged_table, partition_changes, table_changes
from headrace.errors import CatalogConflict
from headrace.objects import ObjectStoreOutbox
from headrace.registrar import Registrar

NOW_MS = 1_710_324_000_000  # 2024-03-13T10:00Z
MINUTE_MS = 60_000
ID, NAME = column("id", DataType.int32()), column("name", DataType.string())


class World:
    """A lake in memory and its catalog."""

    def __init__(self, **bounds):
        self.objects = ObjectStoreOutbox(MemoryStore())
        self.catalog = MemoryCatalog()
        self.registrar = Registrar(self.objects, self.catalog, "s3://lake/team", **bounds)
        self.now_ms = NOW_MS

    def put(self, table, hours_ago, fields=(ID, NAME), **options):
        key, content = file_of(table, NOW_MS - hours_ago * HOUR_MS, fields, **options)
        self.objects.stage({key: content})
        return key

    def run(self):
        self.now_ms += 5 * MINUTE_MS
        return self.registrar.register(self.now_ms)

    def partitions(self, name):
        return sorted(self.catalog.partitions(name))


def counts(done):
    return (done.created, done.updated, done.added, done.replaced, done.removed)


def test_tables_and_hours_are_registered_once():
    world = World()
    for hour in range(3):
        world.put("clicks", hour)
    world.put("late", 0, pipeline="logs")
    assert counts(world.run()) == (2, 0, 4, 0, 0)
    assert counts(world.run()) == (0, 0, 0, 0, 0)
    table = world.catalog.tables()["landing_clicks"]
    assert table.location == "s3://lake/team/lake/landing/clicks/"
    assert [(c.name, c.type) for c in table.columns] == [("id", "int"), ("name", "string")]
    assert table.keys == ("date", "hour")
    assert world.partitions("landing_clicks") == [("2024-03-13", hour) for hour in ("08", "09", "10")]
    (first, *_) = world.catalog.partitions("landing_clicks").values()
    assert first.location == f"{table.location}date=2024-03-13/hour={first.values[1]}/"


def test_what_is_only_staged_is_not_registered():
    world = World()
    key = world.put("clicks", 0)
    world.objects.stage({key.replace("lake/", "staging/", 1).replace("hour=10", "hour=09"): b"", "staging/u/0": b""})
    world.run()
    assert world.partitions("landing_clicks") == [("2024-03-13", "10")]


def test_folders_that_are_no_hours_of_ours_are_left_alone():
    world = World()
    key = world.put("clicks", 0)
    folder = key.rpartition("/")[0]
    names = [folder.replace("hour=10", "hour=24"), folder.replace("2024-03-13", "soon"), "lake/notes"]
    world.objects.stage({f"{name}/a.parquet": b"" for name in names})
    assert world.run().failures == {}
    assert world.partitions("landing_clicks") == [("2024-03-13", "10")]


def test_a_deleted_partition_and_a_dropped_table_come_back():
    world = World()
    for hour in range(30):
        world.put("clicks", hour)
    world.run()
    before = world.catalog.tables(), world.catalog.partitions("landing_clicks")
    world.catalog.drop("landing_clicks", ("2024-03-12", "10"))
    assert counts(world.run()) == (0, 0, 1, 0, 0)
    world.catalog.drop("landing_clicks")
    assert counts(world.run()) == (1, 0, 30, 0, 0)
    assert (world.catalog.tables(), world.catalog.partitions("landing_clicks")) == before


def test_hours_whose_files_are_gone_are_taken_away():
    """date 11: gone · date 12: hour 10 gone · date 13: there"""
    world = World()
    keys = [world.put("clicks", hours) for hours in (0, 24, 25, 48, 49)]
    world.run()
    world.objects.delete([keys[1], keys[3], keys[4]])
    assert counts(world.run()) == (0, 0, 0, 0, 3)
    assert world.partitions("landing_clicks") == [("2024-03-12", "09"), ("2024-03-13", "10")]


def test_a_new_column_is_appended_and_a_wider_type_taken_by_the_table_and_its_partitions():
    world = World()
    for hour in range(3):
        world.put("clicks", hour)
    world.run()
    world.put(
        "clicks",
        0,
        [column("id", DataType.int64()), column("tags", DataType.list(column("element", DataType.string())))],
        version=2,
    )
    assert counts(world.run()) == (0, 1, 0, 3, 0)
    found = [(c.name, c.type) for c in world.catalog.tables()["landing_clicks"].columns]
    assert found == [("id", "bigint"), ("name", "string"), ("tags", "array<string>")]
    world.put("clicks", 3, version=3)  # a late file of an older schema narrows nothing
    assert counts(world.run()) == (0, 0, 1, 0, 0)


def test_columns_that_only_older_hours_have_are_in_the_table():
    world = World()
    world.put("clicks", 0, [ID])
    world.put("clicks", 5, [ID, column("retired", DataType.date32())])
    world.run()
    assert [c.name for c in world.catalog.tables()["landing_clicks"].columns] == ["id", "retired"]


def test_docs_are_comments_and_the_rule_of_merging_is_said():
    world = World()
    rule = {"group_by": ["page"], "columns": {"events": 'sum("events")'}}
    fields = [
        column("page", DataType.string(), doc="Path of the page,\n without host"),
        column("events", DataType.int64()),
    ]
    world.put("page_minutes", 0, fields, merge=rule, pipeline="clickstream")
    world.run()
    table = world.catalog.tables()["clickstream_page_minutes"]
    assert table.columns[0].comment == "Path of the page, without host"
    assert table.parameters["headrace.rows"] == "partial"
    assert 'group by page, events = sum("events")' in table.description
    world.put("clicks", 0)
    world.run()
    assert "Rows are complete." in world.catalog.tables()["landing_clicks"].description


def test_what_is_ours_is_corrected_and_what_is_not_stays():
    world = World()
    world.put("clicks", 0)
    world.run()
    table = world.catalog.tables()["landing_clicks"]
    theirs = replace(
        table,
        location="s3://elsewhere/",
        columns=(Column("name", "int", "who it was"), Column("added", "string")),
        parameters={LAKE_TABLE: "landing/clicks", "owner": "team", "headrace.rows": "partial"},
        description="",
    )
    world.catalog.apply(Changes(theirs, update=("all",)))
    done = world.run()
    assert (done.updated, done.failures) == (1, {})
    now = world.catalog.tables()["landing_clicks"]
    assert now.columns == (Column("name", "string", "who it was"), Column("added", "string"), Column("id", "int"))
    assert now.parameters == {**table.parameters, "owner": "team"}
    assert (now.location, now.description) == (table.location, table.description)


def test_a_table_of_somebody_else_is_never_touched():
    world = World()
    world.put("clicks", 0)
    world.put("logs", 0)
    foreign = Table("landing_clicks", "s3://theirs/", (), (), {})
    world.catalog.apply(Changes(foreign, create=True))
    done = world.run()
    assert world.catalog.tables()["landing_clicks"] == foreign
    assert isinstance(done.failures["landing/clicks"], CatalogConflict)
    assert world.partitions("landing_logs") == [("2024-03-13", "10")]


def test_names_that_become_the_same_stay_apart_and_keep_what_they_have():
    world = World()
    world.put("web.clicks", 0)
    world.run()
    world.put("web-clicks", 0)
    world.run()
    owners = {table.parameters[LAKE_TABLE]: name for name, table in world.catalog.tables().items()}
    assert owners["landing/web.clicks"] == "landing_web_clicks"
    assert owners["landing/web-clicks"].startswith("landing_web_clicks_")
    assert counts(world.run()) == (0, 0, 0, 0, 0)


def test_a_column_called_date_gets_partition_columns_of_other_names():
    world = World()
    world.put("clicks", 0, [column("Date", DataType.date32())])
    assert world.run().failures == {}
    table = world.catalog.tables()["landing_clicks"]
    assert (table.keys, [c.name for c in table.columns]) == (("_date", "hour"), ["date"])


def test_columns_that_no_table_can_have_are_left_out_and_said_why():
    names = {"at": DataType.time32("ms"), "a,b": DataType.int8(), "Id": DataType.int8(), "id": DataType.int8()}
    found = columns_of([Schema([column(name, kind) for name, kind in names.items()])])
    assert [(c.name, c.type) for c in found.columns] == [("id", "tinyint")]
    assert set(found.left_out) == {"at", "a,b", "id"}
    world = World()
    world.put("clicks", 0, [column("a,b", DataType.int8()), ID])
    done = world.run()
    assert (list(done.left_out["landing/clicks"]), done.failures) == (["a,b"], {})


def test_a_column_called_like_a_partition_column_that_was_there_first_is_told():
    world = World()
    world.put("clicks", 0)
    world.run()
    world.put("clicks", 0, [ID, column("hour", DataType.int8())], version=2)
    done = world.run()
    assert "drop the table" in done.left_out["landing/clicks"]["hour"]
    world.catalog.drop("landing_clicks")
    assert world.run().left_out == {}
    assert world.catalog.tables()["landing_clicks"].keys == ("date", "_hour")


def test_an_unreadable_file_hides_neither_its_hour_nor_the_table():
    world = World()
    damaged = world.put("clicks", 1)
    world.put("clicks", 0)
    world.objects.stage({damaged: b"PAR1 no PAR1"})
    assert world.run().failures == {}
    assert world.partitions("landing_clicks") == [("2024-03-13", "09"), ("2024-03-13", "10")]
    only = world.put("logs", 0)
    world.objects.stage({only: b""})
    assert "no file of landing/logs can be read" in str(world.run().failures["landing/logs"])


def test_a_footer_longer_than_what_was_read_first_is_read_whole():
    world = World()
    world.put("wide", 0, [column(f"column_{number:04}", DataType.int64()) for number in range(5000)])
    assert world.run().failures == {}
    assert len(world.catalog.tables()["landing_wide"].columns) == 5000


def test_tables_by_the_day_have_a_partition_per_day():
    world = World()
    for hours in (0, 24):
        key, content = file_of("clicks", NOW_MS - hours * HOUR_MS, [ID])
        world.objects.stage({key.replace("/hour=10", ""): content})
    assert counts(world.run()) == (1, 0, 2, 0, 0)
    assert world.catalog.tables()["landing_clicks"].keys == ("date",)
    assert world.partitions("landing_clicks") == [("2024-03-12",), ("2024-03-13",)]
    assert counts(world.run()) == (0, 0, 0, 0, 0)
    world.put("clicks", 1)
    assert "by the hour and by the day" in str(world.run().failures["landing/clicks"])


def test_two_thousand_late_hours_are_registered_over_several_bounded_runs():
    world = World()
    for hours in range(2000):
        world.put("clicks", hours, [ID])
    added = []
    while (done := world.run()).added:
        added.append(done.added)
    assert sum(added) == 2000
    assert max(added) <= registrar_module.MAX_PARTITIONS
    assert len(added) == 4
    assert max(world.partitions("landing_clicks")) == ("2024-03-13", "10")


def test_a_late_hour_of_an_old_date_is_found_within_bounded_runs_and_requests():
    """400 dates with one hour each: a run looks into 12 of them, other ones each time."""
    world = World(max_fruitless=10**9, max_partitions=10**9)
    for days in range(400):
        world.put("late", days * 24, [ID])
    world.run()
    asked = Counter()
    below = world.objects.below

    class Counting:
        newest_ends, read_end = world.objects.newest_ends, world.objects.read_end

        def below(self, prefix):
            asked[runs] += 1
            return below(prefix)

    bounded = Registrar(Counting(), world.catalog, "s3://lake/team")
    world.put("late", 399 * 24 + 1, [ID])
    runs = 0
    while not bounded.register(NOW_MS + runs * 5 * MINUTE_MS).added:
        runs += 1
        assert runs < 100
    assert max(asked.values()) <= 4 + registrar_module.MAX_FRUITLESS


def test_a_run_without_time_leaves_tables_for_the_next():
    world = World()
    world.put("clicks", 0)
    world.put("logs", 0)
    left = iter([True, False])
    done = world.registrar.register(NOW_MS, lambda: next(left))
    assert (done.created, done.skipped) == (1, 1)
    assert counts(world.run()) == (1, 0, 1, 0, 0)


def test_the_file_of_the_current_hour_tells_the_columns_not_one_of_the_future():
    """A producer's clock is years ahead: its hour would stay the newest for ever."""
    world = World()
    world.put("clicks", 0)
    world.put("clicks", -24 * 365)
    world.run()
    world.put("clicks", 0, [ID, NAME, column("new", DataType.bool())], version=2)
    assert world.run().updated == 1


def test_dates_of_the_future_do_not_keep_a_run_from_looking_into_today():
    world = World()
    for days in range(1, 30):
        world.put("clicks", -24 * 365 * days)
        world.put("clicks", 24 * days)
    world.put("clicks", 1)
    while world.run().added:
        pass
    for hours in (0, 23):
        world.put("clicks", hours)
    assert world.run().added == 2


# --- Names -----------------------------------------------------------------------------------------------------------

LAKE_TABLES = st.lists(st.from_regex(r"[a-z]{1,3}/[A-Za-z0-9._-]{1,249}", fullmatch=True), unique=True, max_size=8)


@given(LAKE_TABLES)
def test_names_are_distinct_small_and_short_enough(lake_tables):
    names = table_names(lake_tables, {})
    assert len(set(names.values())) == len(lake_tables)
    for name in names.values():
        assert len(name) <= 128
        assert name == plain_name(name)


# --- Differences ------------------------------------------------------------------------------------------------------

DATES = st.sampled_from([f"2024-03-{day:02}" for day in range(1, 6)])
HOURS = st.sampled_from([f"{hour:02}" for hour in range(24)])
LISTED = st.dictionaries(DATES, st.sets(HOURS, min_size=1), min_size=1)
COLUMNS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.sampled_from([DataType.int32(), DataType.int64(), DataType.string(), DataType.float32(), DataType.float64()]),
    min_size=1,
)


def schema_of(columns):
    return Schema([Field(name, kind, nullable=True) for name, kind in columns.items()])


def table_of(columns):
    return desired_table("t", "landing/t", "s3://lake/lake/landing/t/", [schema_of(columns)], by_hour=True)


@given(st.lists(COLUMNS, min_size=1, max_size=5))
def test_the_merged_table_needs_no_other_change_and_keeps_every_column(generations):
    known = None
    for columns in generations:
        merged = merged_table(table_of(columns), known)
        again = merged_table(table_of(columns), merged)
        assert again == merged
        assert table_changes(again, merged) == ()
        assert {c.name for c in merged.columns} >= set(columns) | {c.name for c in (known.columns if known else ())}
        known = merged


@given(
    LISTED,
    st.dictionaries(st.tuples(DATES, HOURS), st.sampled_from(["ours", "old columns", "elsewhere"])),
    st.integers(1, 60),
)
def test_after_the_changes_nothing_is_left_to_change(hours, registered, limit):
    table = table_of({"a": DataType.int32()})
    listed = Listed(set(hours), hours)
    known = {}
    for values, how in registered.items():
        location = f"{table.location}date={values[0]}/hour={values[1]}/" if how != "elsewhere" else "s3://elsewhere/"
        known[values] = Partition(values, location, {"headrace.columns": table.digest if how == "ours" else "old"})
    rounds = 0
    while any(changes := partition_changes(table, listed, known, limit)):
        assert sum(map(len, changes)) <= limit
        add, replaced, remove = changes
        known.update({each.values: each for each in (*add, *replaced)})
        for each in remove:
            del known[each.values]
        rounds += 1
        assert rounds <= 300
    wanted = {(date, hour) for date, of_date in hours.items() for hour in of_date}
    assert wanted <= known.keys()
    strangers = {values for values in known if values not in wanted}
    assert all(known[values].location == "s3://elsewhere/" for values in strangers)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 80), COLUMNS),
        st.tuples(st.just("expire"), st.integers(0, 80), st.none()),
        st.tuples(st.just("drop partition"), st.integers(0, 80), st.none()),
        st.tuples(st.just("drop table"), st.none(), st.none()),
        st.tuples(st.just("run"), st.none(), st.none()),
    ),
    max_size=15,
)


@settings(max_examples=60)
@given(ACTIONS)
def test_whatever_happened_the_catalog_ends_up_with_what_is_published(actions):
    world = World(max_partitions=5)
    keys = {}
    for version, (action, hours, columns) in enumerate(actions):
        hour = (NOW_MS - (hours or 0) * HOUR_MS) // HOUR_MS
        if action == "publish":
            fields = list(map(schema_of(columns).field, columns))
            keys.setdefault(hour, []).append(world.put("clicks", hours, fields, version=version + 1))
        elif action == "expire":
            world.objects.delete(keys.pop(hour, []))
        elif action == "drop partition":
            for values in list(world.catalog.partitions("landing_clicks"))[: hours % 3]:
                world.catalog.drop("landing_clicks", values)
        elif action == "drop table":
            world.catalog.drop("landing_clicks")
        else:
            world.run()
    for _ in range(80):
        done = world.run()
        assert done.failures == {}
    published = {tuple(part.partition("=")[2] for part in key.split("/")[3:5]) for of in keys.values() for key in of}
    if published:  # a table without files is not looked at
        assert set(world.catalog.partitions("landing_clicks")) == published
        digest = world.catalog.tables()["landing_clicks"].digest
        found = {each.parameters["headrace.columns"] for each in world.catalog.partitions("landing_clicks").values()}
        assert found == {digest}
