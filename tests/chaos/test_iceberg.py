"""Landing, commit, compaction and expiry, killed at every call: before its effect, and after.

    land ─ commit ─ land (late, another partition) ─ commit ─ compact ─ land (late again) ─ commit ─ compact ─ expire

Whoever was killed runs again, as the schedule would have it. Every offset is then in the table exactly once, and no
reader ever saw one twice or one vanish.
"""

import shutil
import time
from collections import Counter
from functools import partial

import duckdb
import pyarrow.parquet as pq
from faults import Calls, Killed, kill_at
from iceberg_faults import InterruptedWorld
from iceberg_world import CLICKS, HOUR_MS, T0, World, click, once

from headrace_iceberg.compaction import Compaction, Rules
from headrace_iceberg.expiry import Expiry, Retention

LATER = T0 + 100 * HOUR_MS
FIRST = [click(n, T0 + (n % 2) * HOUR_MS, partition=n % 2) for n in range(8)]
LATE = [click(8 + n, T0, partition=n % 3) for n in range(6)]
LATEST = [click(20 + n, T0 + HOUR_MS, partition=1) for n in range(3)]


def commit(world):
    world.committer(files=3).run().raise_failures()


def compact(world):
    failures = {}
    Compaction(world.tables, Rules(), lambda: LATER).run(CLICKS, failures)
    assert failures == {}


def expire(world):
    at_once = Retention(snapshots_ms=-HOUR_MS, grace_ms=-HOUR_MS)
    Expiry(world.tables, world.shaky_objects, at_once).run(CLICKS, time.time_ns() // 1_000_000)


def land(records, world):
    world.land(records)


STEPS = [
    ("land", partial(land, FIRST)),
    ("commit the first files", commit),
    ("land late rows", partial(land, LATE)),
    ("commit late rows", commit),
    ("compact", compact),
    ("land rows of a compacted hour", partial(land, LATEST)),
    ("commit to a compacted hour", commit),
    ("compact again", compact),
    ("expire", expire),
]


def readers(root):
    """What each reader of the table sees now: offsets, by the reader's name."""
    world = World(root)
    table = world.table()
    if table is None:
        return {}
    files = [task.file.file_path.removeprefix("file://") for task in table.scan().plan_files()]
    seen = {"pyiceberg": world.offsets(), "duckdb": Counter(), "pyarrow": Counter()}
    if files:
        query = "select _partition, _offset from read_parquet(?, union_by_name=true)"
        seen["duckdb"] = Counter(duckdb.execute(query, [files]).fetchall())
        for file in files:
            rows = pq.read_table(file, columns=["_partition", "_offset"]).to_pylist()
            seen["pyarrow"].update((row["_partition"], row["_offset"]) for row in rows)
    return seen


def landed(root):
    """What a reader of the landing prefix sees."""
    files = [str(path) for path in (root / "lake" / "landing" / "clicks").rglob("*.parquet")]
    return Counter(duckdb.execute("select _partition, _offset from read_parquet(?)", [files]).fetchall())


def assert_once_each(seen, at_least=()):
    for name, offsets in seen.items():
        assert max(offsets.values(), default=1) == 1, f"{name} sees a row twice"
        assert set(at_least) <= set(offsets), f"{name} lost a row that it saw before"


def step_killed_everywhere(root, saved, run, expected):
    """Restore, kill at the n-th point, look, run again, look: for each n until the step survives."""
    before = set(readers(root).get("pyiceberg", ()))
    for number in range(1000):
        shutil.rmtree(root)
        shutil.copytree(saved, root)
        try:
            run(InterruptedWorld(root, Calls(kill_at(number))))
        except Killed:
            assert_once_each(readers(root), before)
        else:
            return number
        run(InterruptedWorld(root, Calls()))
        seen = readers(root)
        assert_once_each(seen, before)
        for name, offsets in seen.items():
            assert offsets == expected, f"{name}, killed at {number}"
    raise AssertionError("it never ends")


def test_killed_at_every_call_each_offset_is_there_once(tmp_path):
    root, saved = tmp_path / "world", tmp_path / "saved"
    root.mkdir()
    known, expected, points = Counter(), Counter(), {}
    for name, run in STEPS:
        if name.startswith("land"):
            run(World(root))
            known = landed(root)
            continue
        expected = known if name.startswith("commit") else expected
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(root, saved)
        points[name] = step_killed_everywhere(root, saved, run, expected)
        assert landed(root) == known
    assert expected == once(FIRST + LATE + LATEST)
    assert all(count > 5 for count in points.values()), points
