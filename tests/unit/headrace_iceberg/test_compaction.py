from headrace_iceberg.compaction import Compaction, Rules
from headrace_iceberg.expiry import Expiry, Retention
from iceberg_world import CLICKS, HOUR_MS, T0, World, click, once

LATER = T0 + 100 * HOUR_MS


def compaction(world, now_ms=LATER, **rules):
    return Compaction(world.tables, Rules(**rules), lambda: now_ms)


def test_small_files_of_a_bucket_become_one(tmp_path):
    world = World(tmp_path)
    records = [click(n, T0 + (n % 2) * HOUR_MS if n % 5 else None, partition=n % 3) for n in range(30)]
    for start in range(0, 30, 6):
        world.land(records[start : start + 6])
    world.committer().run()
    before = sorted(map(repr, world.rows()))
    failures = {}
    done = compaction(world).run(CLICKS, failures)
    assert failures == {}
    assert done.files_after == 2
    assert sorted(map(repr, world.rows())) == before
    assert world.offsets() == once(records)
    assert len(world.table().inspect.files()) == 2
    assert compaction(world).run(CLICKS, failures).files_before == 0
    e = Expiry(world.tables, world.objects, Retention(0, -10**9))
    import time
    print(e.run(CLICKS, time.time_ns() // 10**6))
    assert world.offsets() == once(records)
    print([str(p.relative_to(tmp_path)) for p in (tmp_path/"tables").rglob("*.*")])
