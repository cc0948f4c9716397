"""A file's rows as the table's columns: nulls stay null, also where pyiceberg makes them empty."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from iceberg_world import CLICK, CLICKS, HOUR_MS, T0, World, click

from headrace_iceberg.compaction import Compaction, Rules

INNER = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": ["null", "long"], "default": None}]}
NESTED = {
    "record": (INNER, {"x": 1}),
    "array": ({"type": "array", "items": "long"}, [1, 2]),
    "records": ({"type": "array", "items": INNER}, [{"x": 1}, {"x": None}]),
    "map": ({"type": "map", "values": "long"}, {"a": 1}),
    "map_of_records": ({"type": "map", "values": INNER}, {"a": {"x": 1}, "b": {"x": None}}),
    "arrays": ({"type": "array", "items": ["null", {"type": "array", "items": INNER}]}, [[{"x": 1}], None, []]),
}


@pytest.mark.parametrize("kind", NESTED)
def test_after_compaction_null_empty_and_full_are_what_they_were(tmp_path, kind):
    avro, value = NESTED[kind]
    fields = {**CLICK, "fields": [*CLICK["fields"], {"name": "v", "type": ["null", avro], "default": None}]}
    world = World(tmp_path)
    empty = type(value)()
    for start in (0, 4):  # two files: rows are put together anew
        given = [value, None, empty, value]
        world.land([click(start + n, v=each) for n, each in enumerate(given)], fields=fields)
    world.committer().run().raise_failures()
    landed = in_files(tmp_path / "lake" / "landing" / "clicks")
    Compaction(world.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, failures := {})
    assert failures == {}
    compacted = in_files(tmp_path / "tables")
    assert compacted == landed
    assert [landed[n] is None for n in range(4)] == [False, True, False, False]


def in_files(folder):
    """The values as they are written, by offset."""
    files = list(folder.rglob("*.parquet"))
    assert files
    rows = pa.concat_tables(
        pq.read_table(file, columns=["_offset", "v"], partitioning=None) for file in files
    ).to_pylist()
    return {row["_offset"]: row["v"] for row in rows}
