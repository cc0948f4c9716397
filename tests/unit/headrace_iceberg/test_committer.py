from iceberg_world import HOUR_MS, T0, World, click, once


def test_what_is_published_is_in_the_table_once(tmp_path):
    world = World(tmp_path)
    records = [click(n, T0 + n * HOUR_MS // 2, partition=n % 2) for n in range(8)]
    world.land(records[:4])
    first = world.committer().run()
    assert first.failures == {}
    world.land(records[4:])
    assert world.committer().run().failures == {}
    again = world.committer().run()
    assert [each.files for each in again.added] == [0]
    assert world.offsets() == once(records)
    for row in world.rows(): print(row)
    print(world.table().inspect.files().to_pylist()[0])


