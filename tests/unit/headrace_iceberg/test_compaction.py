"""Small files become large ones, and what nothing refers to goes: rows stay exactly what they were."""

import json
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iceberg_world import CLICK, CLICKS, HOUR_MS, T0, World, click, once

from headrace_iceberg import rewriting
from headrace_iceberg.compaction import Compaction, Rules
from headrace_iceberg.errors import FileUnreadable, RowsChanged
from headrace_iceberg.expiry import Expiry, Retention
from headrace_iceberg.splicing import SplicedFile
from headrace_iceberg.tally import tally_of

LATER = T0 + 100 * HOUR_MS


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def commit(world):
    world.committer().run().raise_failures()


def compact(world, now_ms=LATER, failures=None, **rules):
    found = {} if failures is None else failures
    done = Compaction(world.tables, Rules(**rules), lambda: now_ms).run(CLICKS, found)
    if failures is None:
        assert found == {}
    return done


def expire(world, snapshots_ms=-HOUR_MS, grace_ms=-HOUR_MS):
    expiry = Expiry(world.tables, world.objects, Retention(snapshots_ms, grace_ms))
    return expiry.run(CLICKS, time.time_ns() // 1_000_000)


def landed(world, table=None):
    files = [task.file.file_path for task in (table or world.table()).scan().plan_files()]
    return [path for path in files if "/lake/" in path]


def everything(world):
    return Counter(map(repr, world.rows()))


def test_small_files_of_a_bucket_become_one_and_keep_every_row(world):
    records = [click(n, T0 + (n % 2) * HOUR_MS if n % 5 else None, partition=n % 3) for n in range(30)]
    for start in range(0, 30, 6):
        world.land(records[start : start + 6])
    commit(world)
    before = everything(world)
    done = compact(world)
    assert (done.files_before, done.files_after) == (len(list(world.objects.keys("lake/landing"))), 2)
    assert everything(world) == before
    assert landed(world) == []
    assert compact(world).files_before == 0


def test_a_bucket_that_is_still_being_written_is_left_alone(world):
    """
    start      closed 2 h            settled 6 h
    │ nothing  │ if there are many   │ however few
    """
    for n in range(4):
        world.land([click(n)])
    commit(world)
    assert compact(world, now_ms=T0 + HOUR_MS).files_before == 0
    assert compact(world, now_ms=T0 + 3 * HOUR_MS).files_before == 0
    assert compact(world, now_ms=T0 + 3 * HOUR_MS, few=4).files_before == 4


def test_a_day_waits_for_its_last_hour(world):
    """
    13th 00h   10h written      14th 00h   01h closed         05h settled
    │                           │          │ if there are many│ however few
    """
    midnight_ms = T0 + 14 * HOUR_MS
    for n in range(4):
        world.land([click(n)], bucket="day")
    commit(world)
    assert compact(world, now_ms=midnight_ms, few=1).files_before == 0
    assert compact(world, now_ms=midnight_ms + 4 * HOUR_MS).files_before == 0
    assert compact(world, now_ms=midnight_ms + 5 * HOUR_MS).files_before == 4
    assert landed(world) == []


def test_a_single_landed_file_is_rewritten_too_because_its_retention_ends(world):
    world.land([click(0)])
    commit(world)
    assert compact(world).files_after == 1
    assert landed(world) == []


def test_late_files_are_picked_up_and_large_files_are_not_rewritten_for_them(world):
    records = [click(n) for n in range(3000)]
    world.land(records)
    commit(world)
    compact(world)
    for n in range(4):
        world.land([click(3000 + n)])
        commit(world)
        done = compact(world)
        assert done.files_before <= n + 1
        assert done.bytes_before < 10_000 * (n + 1)
    assert world.offsets() == once([*records, *(click(3000 + n) for n in range(4))])


def test_a_large_bucket_becomes_files_of_about_the_target(world):
    for n in range(12):
        world.land([click(100 * n + each) for each in range(100)])
    commit(world)
    size = sum(task.file.file_size_in_bytes for task in world.table().scan().plan_files())
    done = compact(world, target_bytes=size // 3)
    assert done.files_after == 3
    assert world.offsets() == once(click(n) for n in range(1200))


def test_files_of_different_age_become_one_with_todays_columns(world):
    longer = json.loads(json.dumps(CLICK))
    longer["fields"][2]["type"] = "long"
    longer["fields"].append({"name": "tag", "type": ["null", "string"], "default": None})
    world.land([click(0)])
    world.land([click(1, value=2**40, tag="new")], fields=longer)
    commit(world)
    before = everything(world)
    compact(world)
    assert everything(world) == before
    (file,) = (task.file.file_path.removeprefix("file://") for task in world.table().scan().plan_files())
    ids = [field.metadata[b"PARQUET:field_id"] for field in pq.read_schema(file)]
    assert len(set(ids)) == len(ids) == len(world.table().schema().fields) - 1  # the bucket is in no file


def test_an_unreadable_file_leaves_its_bucket_as_it_is_and_the_others_go_on(world):
    for n in range(6):
        world.land([click(n, T0 + (n % 2) * HOUR_MS)])
    commit(world)
    damaged = next(world.root.rglob("hour=10/1-clicks-0-1-0.parquet"))
    content = damaged.read_bytes()
    damaged.write_bytes(content[:60] + b"\x00" * (len(content) - 120) + content[-60:])
    failures = {}
    assert compact(world, failures=failures).files_before == 3
    ((place, error),) = failures.items()
    assert place == "clicks_g1 2024-03-13T10"
    assert isinstance(error, FileUnreadable)
    assert error.location.endswith(damaged.name)
    assert len(landed(world)) == 3
    damaged.write_bytes(content)
    compact(world)
    assert world.offsets() == once(click(n, T0 + (n % 2) * HOUR_MS) for n in range(6))


LONGER = {**CLICK, "fields": [*CLICK["fields"], {"name": "tag", "type": ["null", "string"], "default": None}]}


def large(first, partition=0, **fields):
    """So many rows that numbers are written as differences: pages that can be copied."""
    return [click(n, partition=partition, **fields) for n in range(first, first + 1200)]


def files_of(world):
    return [task.file.file_path.removeprefix("file://") for task in world.table().scan().plan_files()]


def was_copied(file):
    """A copied column is required where it was landed so; encoded anew it is optional, as all of the table's are."""
    return not pq.read_schema(file).field("_offset").nullable


def test_files_of_the_same_columns_are_copied_and_so_is_their_copy_with_late_ones(world):
    """
    1,200 rows   1,200 rows   │ compacted: copied, 2 pages a column   1,200 late rows   │ compacted: 3 pages, no less
    """
    world.land(large(0))
    world.land(large(1200, partition=1))
    commit(world)
    assert compact(world).files_after == 1
    (file,) = files_of(world)
    assert was_copied(file)
    assert pq.read_metadata(file).num_row_groups == 1
    world.land(large(2400))
    world.land(large(3600))
    commit(world)
    assert compact(world).files_before == 3
    (file,) = files_of(world)
    assert was_copied(file)
    assert world.offsets() == once([*large(0), *large(1200, partition=1), *large(2400), *large(3600)])
    ids = [field.metadata[b"PARQUET:field_id"] for field in pq.read_schema(file)]
    assert len(set(ids)) == len(ids) == len(world.table().schema().fields) - 1


def test_files_of_another_state_of_the_columns_are_decoded(world):
    world.land(large(0))
    world.land(large(1200, tag="new"), fields=LONGER)
    commit(world)
    before = everything(world)
    compact(world)
    (file,) = files_of(world)
    assert not was_copied(file)
    assert everything(world) == before


def test_a_rewritten_file_with_other_rows_is_not_used(world, monkeypatch):
    """A row gets lost on the way: the counts of both sides differ, and the table stays what it was."""
    world.land([click(n) for n in range(3)])
    world.land([click(n) for n in range(3, 6)], fields=LONGER)
    commit(world)
    write = rewriting._write_group
    monkeypatch.setattr(rewriting, "_write_group", lambda writer, rows: write(writer, [rows[0].slice(1), *rows[1:]]))
    failures = {}
    compact(world, failures=failures)
    (error,) = failures.values()
    assert isinstance(error, RowsChanged)
    assert len(landed(world)) == 2
    assert world.offsets() == once(click(n) for n in range(6))


def test_a_copied_file_with_a_page_in_the_place_of_another_is_not_used(world, monkeypatch):
    """As many rows, and a file that can be read: their offsets tell."""
    world.land(large(0))
    world.land(large(1200))
    commit(world)
    write = SplicedFile.write_row_group
    monkeypatch.setattr(
        SplicedFile,
        "write_row_group",
        lambda file, columns, rows: write(file, ([chunks[0]] * len(chunks) for chunks in columns), rows),
    )
    failures = {}
    compact(world, failures=failures)
    (error,) = failures.values()
    assert isinstance(error, RowsChanged)
    assert len(landed(world)) == 2


@pytest.mark.parametrize("damage", ["zeros in the middle", "cut", "zeros in the footer"])
def test_a_large_damaged_file_is_named(world, damage):
    world.land(large(0))
    world.land(large(1200))
    commit(world)
    damaged = next(world.root.rglob("1-clicks-0-2-*.parquet"))
    content = damaged.read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    damaged.write_bytes(
        {
            "zeros in the middle": content[:60] + bytes(len(content) - 120 - size) + content[-60 - size :],
            "cut": content[: len(content) // 2],
            "zeros in the footer": content[: -8 - size] + bytes(size) + content[-8:],
        }[damage]
    )
    failures = {}
    compact(world, failures=failures)
    (error,) = failures.values()
    assert isinstance(error, FileUnreadable)
    assert error.location.endswith(damaged.name)


OFFSETS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**40)), min_size=1, max_size=20, unique=True)


@given(OFFSETS, st.integers(0, 19), st.integers(1, 5))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_the_tally_notices_a_row_that_moved(rows, chosen, by):
    def tally(pairs):
        partitions, offsets = ([pair[n] for pair in pairs] for n in (0, 1))
        return tally_of(
            pa.table([pa.array(partitions, pa.int32()), pa.array(offsets, pa.int64())], ["_partition", "_offset"])
        )

    moved = list(rows)
    partition, offset = moved[chosen % len(rows)]
    moved[chosen % len(rows)] = (partition, offset + by)
    assert tally(rows) == tally(list(reversed(rows)))
    assert tally(rows) != tally(moved)
    assert tally(rows) != tally(rows[:-1])


def test_expiry_removes_what_nothing_refers_to_and_nothing_else(world):
    for n in range(4):
        world.land([click(n)])
        commit(world)
    compact(world)
    orphan = world.root / CLICKS.folder / "data" / "orphan.parquet"
    orphan.write_bytes(b"of a run that was killed")
    before = everything(world)
    done = expire(world)
    assert (done.snapshots, orphan.exists()) == (4, False)
    assert everything(world) == before
    assert len(list(world.objects.keys("lake/landing"))) == 4
    assert expire(world) == (CLICKS.name, 0, 0)
    world.land([click(9)])
    commit(world)
    assert len(world.offsets()) == 5


def test_what_is_young_or_named_by_a_snapshot_that_is_kept_stays(world):
    world.land([click(0)])
    commit(world)
    compact(world)
    world.land([click(1)])
    commit(world)
    compact(world)
    snapshots = [each.snapshot_id for each in world.table().snapshots()]
    orphan = world.root / CLICKS.folder / "data" / "orphan.parquet"
    orphan.write_bytes(b"being written")
    assert expire(world, snapshots_ms=HOUR_MS, grace_ms=HOUR_MS).objects == 0
    assert orphan.exists()
    expire(world, snapshots_ms=HOUR_MS)
    for snapshot in snapshots:
        assert world.table().scan(snapshot_id=snapshot).to_arrow().num_rows in {1, 2}
