"""Spark reads what was committed and compacted: each row once, in its bucket, by its own time (`make spark`)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from iceberg_world import CLICK, CLICKS, HOUR_MS, T0, World, click
from java_tools import require_java_tools

from headrace_cli.maven import Distribution, jars, java
from headrace_iceberg.compaction import Compaction, Rules

HERE = Path(__file__).resolve().parents[1] / "spark"
RUNTIME = Distribution(
    "Iceberg's Spark runtime", "iceberg-spark", "1.10.0", ("org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.0",)
)
WIDER = {**CLICK, "fields": [*CLICK["fields"][:2], {"name": "value", "type": "long"}]}

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def spark():
    """Its interpreter and the jar: both are fetched on the first run."""
    require_java_tools()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "UV_"))}
    uv = Path(sys.executable).with_name("uv")
    subprocess.run(
        [uv, "sync", "--frozen", "--quiet", "--project", HERE, "--python", sys.executable], env=environment, check=True
    )
    (jar,) = jars(RUNTIME, print).glob("iceberg-spark-runtime-*.jar")
    return HERE / ".venv" / "bin" / "python", jar


def read(spark, metadata):
    python, jar = spark
    environment = {**os.environ, "JAVA_HOME": str(Path(java()).resolve().parents[1])}
    command = [python, HERE / "read_table.py", jar, metadata]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_spark_reads_each_row_once_before_and_after_compaction_and_evolution(tmp_path, spark):
    """
    hour 10   [0, 1 without time] compacted   [3] landed later
    hour 11   [2]                 compacted   [4] landed later, its value of a wider type
    """
    world = World(tmp_path)
    world.land([click(0), click(1, None), click(2, T0 + HOUR_MS)])
    world.committer().run().raise_failures()
    Compaction(world.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, {})
    world.land([click(3)])
    world.land([click(4, T0 + HOUR_MS, value=2**40)], fields=WIDER)
    world.committer().run().raise_failures()
    found = read(spark, world.table().metadata_location)
    ten, eleven = T0 // 1000, (T0 + HOUR_MS) // 1000
    assert sorted(found["rows"]) == [
        [0, 0, 0, ten, ten],
        [0, 1, 1, ten, None],
        [0, 2, 2, eleven, eleven],
        [0, 3, 3, ten, ten],
        [0, 4, 2**40, eleven, eleven],
    ]
    assert (found["in_first_hour"], found["without_time"], found["from_eleven"]) == (3, 1, 2)


def test_spark_reads_pages_that_were_copied_and_leaves_out_what_their_index_excludes(tmp_path, spark):
    """
    one row group of a day   │ 10h: 1,200 rows │ 11h: 1,200 │ 12h: 1,200 │   each a file and a page once
    """
    world = World(tmp_path)
    records = [click(n, T0 + n // 1200 * HOUR_MS, partition=n // 1200) for n in range(3600)]
    for start in range(0, 3600, 1200):
        world.land(records[start : start + 1200], bucket="day")
    world.committer().run().raise_failures()
    failures = {}
    Compaction(world.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, failures)
    assert failures == {}
    (file,) = (task.file.file_path.removeprefix("file://") for task in world.table().scan().plan_files())
    assert not pq.read_schema(file).field("_offset").nullable  # as it was landed: copied
    found = read(spark, world.table().metadata_location)
    midnight = T0 // 86_400_000 * 86_400
    assert sorted(found["rows"]) == [
        [record.partition, record.offset, record.offset, midnight, record.timestamp_ms // 1000] for record in records
    ]
    assert (found["without_time"], found["from_eleven"]) == (0, 2400)
