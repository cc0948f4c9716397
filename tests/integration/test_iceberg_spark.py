"""Spark reads landed files, and the Iceberg table before and after its compaction, as pyarrow and DuckDB do.

`make spark`: one session for everything that is read.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from iceberg_world import CLICK, CLICKS, HOUR_MS, T0, World, click
from java_tools import require_java_tools
from spark.plain_rows import plain

from headrace_cli.maven import Distribution, jars, java
from headrace_iceberg.compaction import Compaction, Rules

HERE = Path(__file__).resolve().parents[1] / "spark"
RUNTIME = Distribution(
    "Iceberg's Spark runtime", "iceberg-spark", "1.10.0", ("org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.10.0",)
)
WIDER = {**CLICK, "fields": [*CLICK["fields"][:2], {"name": "value", "type": "long"}]}

PLACE = {"type": "record", "name": "Place", "fields": [{"name": "city", "type": ["null", "string"], "default": None}]}
TYPES = {
    "boolean": ("boolean", True),
    "int": ("int", -(2**31)),
    "long": ("long", 2**63 - 1),
    "float": ("float", 1.5),
    "double": ("double", -0.1),
    "bytes": ("bytes", "AP8="),
    "string": ("string", "Zürich ✓"),
    "uuid": ({"type": "string", "logicalType": "uuid"}, "0b5c9a0e-5f0d-4e3c-9a56-0d4d8a6f2f11"),
    "date": ({"type": "int", "logicalType": "date"}, "1969-12-31"),
    "time_ms": ({"type": "int", "logicalType": "time-millis"}, "10:05:03.250"),
    "time_us": ({"type": "long", "logicalType": "time-micros"}, "23:59:59.999999"),
    "moment_ms": ({"type": "long", "logicalType": "timestamp-millis"}, -1),
    "moment_us": ({"type": "long", "logicalType": "timestamp-micros"}, T0 * 1000 + 1),
    "moment_ns": ({"type": "long", "logicalType": "timestamp-nanos"}, T0 * 10**6 + 1),
    "local_ms": ({"type": "long", "logicalType": "local-timestamp-millis"}, T0 + 1),
    "local_us": ({"type": "long", "logicalType": "local-timestamp-micros"}, T0 * 1000 + 1),
    "local_ns": ({"type": "long", "logicalType": "local-timestamp-nanos"}, T0 * 10**6 + 1),
    "decimal": ({"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}, "-" + "9" * 36 + ".25"),
    "fixed": ({"type": "fixed", "name": "Four", "size": 4}, "AAECAw=="),
    "enum": ({"type": "enum", "name": "Kind", "symbols": ["x", "y"]}, "y"),
    "array": ({"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}}, [T0, T0 + 1]),
    "map": ({"type": "map", "values": "long"}, {"a": 1, "b": 2}),
    "record": (PLACE, {"city": "Bern"}),
    "records": ({"type": "array", "items": "Place"}, [{"city": None}, {"city": "Biel"}]),
    "union": (["null", "string", "long"], 7),
}
ALL_TYPES = {
    **CLICK,
    "name": "Everything",
    "fields": [*CLICK["fields"], *({"name": f"f_{name}", "type": avro} for name, (avro, _) in TYPES.items())],
}
OPTIONAL = {
    **CLICK,
    "name": "Everything",
    "fields": [
        *CLICK["fields"],
        *(
            {"name": f"f_{name}", "type": avro if isinstance(avro, list) else ["null", avro], "default": None}
            for name, (avro, _) in TYPES.items()
        ),
    ],
}

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


def ask(spark, requests):
    python, jar = spark
    environment = {**os.environ, "JAVA_HOME": str(Path(java()).resolve().parents[1]), "TZ": "UTC"}
    command = [python, HERE / "read_table.py", jar]
    text = json.dumps(requests)
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def iceberg(world, **more):
    return {"format": "iceberg", "paths": [world.table().metadata_location], **more}


def by_offset(rows):
    return sorted(map(plain, rows), key=lambda row: row["_offset"])


def landed_files(world):
    return sorted(str(path) for path in (world.root / "lake" / "landing" / "clicks").rglob("*.parquet"))


def by_duckdb(files):
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        found = connection.execute("select * from read_parquet(?, hive_partitioning = false)", [files])
        names = [column[0] for column in found.description]
        return by_offset(dict(zip(names, row, strict=True)) for row in found.fetchall())


def by_pyarrow(files):
    tables = [pq.read_table(file, partitioning=None) for file in files]
    return by_offset(pa.concat_tables(tables, promote_options="default").to_pylist())


def as_in_the_table(rows):
    """A row of a file under the names of the table, without what the table adds."""
    return [{"_kafka_partition" if name == "_partition" else name: row[name] for name in row} for row in rows]


@pytest.fixture(scope="module")
def evolved(tmp_path_factory):
    """
    hour 10   [0, 1 without time] compacted   [3] landed later
    hour 11   [2]                 compacted   [4] landed later, its value of a wider type
    """
    world = World(tmp_path_factory.mktemp("evolved"))
    world.land([click(0), click(1, None), click(2, T0 + HOUR_MS)])
    world.committer().run().raise_failures()
    Compaction(world.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, {})
    world.land([click(3)])
    world.land([click(4, T0 + HOUR_MS, value=2**40)], fields=WIDER)
    world.committer().run().raise_failures()
    return world


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Each type with a value, needed and optional, and as null."""
    world = World(tmp_path_factory.mktemp("everything"))
    values = {f"f_{name}": value for name, (_, value) in TYPES.items()}
    world.land([click(0, **values), click(1, **values, unknown=[1])], fields=ALL_TYPES)
    world.land([click(2, **values), click(3)], fields=OPTIONAL)
    world.committer().run().raise_failures()
    return world


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """
    one row group of a day   │ 10h: 1,200 rows │ 11h: 1,200 │ 12h: 1,200 │   each a file and a page once
    """
    world = World(tmp_path_factory.mktemp("copied"))
    records = [click(n, T0 + n // 1200 * HOUR_MS, partition=n // 1200) for n in range(3600)]
    for start in range(0, 3600, 1200):
        world.land(records[start : start + 1200], bucket="day")
    world.committer().run().raise_failures()
    Compaction(world.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, failures := {})
    assert failures == {}
    return world, records


@pytest.fixture(scope="module")
def answers(spark, evolved, everything, copied):
    """What Spark says to everything, in one session."""
    before = iceberg(everything)
    Compaction(everything.tables, Rules(), lambda: T0 + 99 * HOUR_MS).run(CLICKS, failures := {})
    assert failures == {}
    requests = {
        "evolved": iceberg(evolved),
        "in_first_hour": iceberg(evolved, where="_bucket = timestamp'2024-03-13T10:00:00Z'"),
        "without_time": iceberg(evolved, where="at is null"),
        "from_eleven": iceberg(evolved, where="at >= timestamp'2024-03-13T11:00:00Z'"),
        "files": {"format": "parquet", "paths": [landed_files(everything)]},
        "before": before,
        "after": iceberg(everything),
        "copied": iceberg(copied[0]),
        "copied_without_time": iceberg(copied[0], where="at is null"),
        "copied_from_eleven": iceberg(copied[0], where="at >= timestamp'2024-03-13T11:00:00Z'"),
    }
    return dict(zip(requests, ask(spark, list(requests.values())), strict=True))


def test_spark_reads_each_row_once_before_and_after_compaction_and_evolution(answers):
    ten, eleven = "2024-03-13T10:00:00", "2024-03-13T11:00:00"
    rows = [(row["_offset"], row["value"], row["_bucket"], row["at"]) for row in by_offset(answers["evolved"])]
    assert rows == [
        (0, 0, ten, ten),
        (1, 1, ten, None),
        (2, 2, eleven, eleven),
        (3, 3, ten, ten),
        (4, 2**40, eleven, eleven),
    ]
    assert (answers["in_first_hour"], answers["without_time"], answers["from_eleven"]) == (3, 1, 2)


def test_spark_reads_landed_files_of_every_type_as_pyarrow_and_duckdb_do(answers, everything):
    files = landed_files(everything)
    found = by_offset(answers["files"])
    assert [row["_offset"] for row in found] == [0, 1, 2, 3]
    assert found == by_pyarrow(files)
    assert found == by_duckdb(files)
    assert found[0]["f_moment_us"] == "2024-03-13T10:00:00.000001"
    assert found[1]["_rescued"] == '{"unknown":[1]}'
    assert {found[3][f"f_{name}"] for name in TYPES} == {None}


@pytest.mark.parametrize("table", ["before", "after"])
def test_spark_reads_the_table_as_the_files(answers, everything, table):
    rows = by_offset(answers[table])
    assert {row.pop("_bucket") for row in rows} == {"2024-03-13T10:00:00"}
    assert rows == as_in_the_table(by_pyarrow(landed_files(everything)))


def test_spark_reads_pages_that_were_copied_and_leaves_out_what_their_index_excludes(answers, copied):
    world, records = copied
    (file,) = (task.file.file_path.removeprefix("file://") for task in world.table().scan().plan_files())
    assert not pq.read_schema(file).field("_offset").nullable  # as it was landed: copied
    rows = [(row["_kafka_partition"], row["_offset"], row["value"], row["at"]) for row in by_offset(answers["copied"])]
    hours = [f"2024-03-13T{10 + number // 1200}:00:00" for number in range(3600)]
    assert rows == [(r.partition, r.offset, r.offset, hour) for r, hour in zip(records, hours, strict=True)]
    assert (answers["copied_without_time"], answers["copied_from_eleven"]) == (0, 2400)
