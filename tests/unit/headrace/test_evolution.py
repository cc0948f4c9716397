"""What may change in a schema: by the rules of Avro for records, and as one table for files of both versions."""

import io
import json
from decimal import Decimal

import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from headrace import lake, schema
from headrace.avro import AvroCodec
from headrace.codec import JsonCodec
from headrace.errors import SchemaError
from headrace.evolution import changes
from headrace.operators import Batch, Land, Restored
from headrace.outbox import MemoryOutbox
from headrace.records import Record, TopicPartition
from headrace_cli.lake_reader import TableSchema, batches, new_names, rows, table_files

COLOUR = {"type": "enum", "name": "C", "symbols": ["red", "green"]}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


def field(avro_type, name="x", **more):
    return {"name": name, "type": avro_type, **more}


def record(*fields):
    return schema.parse(json.dumps({"type": "record", "name": "R", "fields": [field("int", "id"), *fields]}))


def array(of):
    return {"type": "array", "items": of}


def map_of(of):
    return {"type": "map", "values": of}


def struct(*fields, name="S"):
    return {"type": "record", "name": name, "fields": list(fields)}


def decimal(precision, scale=2):
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


@pytest.mark.parametrize(
    ("old", "new", "change", "detail"),
    [
        (None, field(["null", "int"]), "added", "int or null"),
        (None, field("int", default=5), "added", "int"),
        (field("int"), None, "removed", "int"),
        (field("int", "a"), field("int", aliases=["b", "a"]), "renamed", "was a"),
        (field("int"), field("long"), "widened", "int → long"),
        (field("float"), field("double"), "widened", "float → double"),
        (field(decimal(4)), field(decimal(6)), "widened", "decimal(4, 2) → decimal(6, 2)"),
        (field("int"), field(["null", "int"]), "changed", "may be null now"),
        (field(COLOUR), field(COLOUR | {"symbols": ["green", "red", "blue"]}), "changed", "symbols added: blue"),
        (
            field(COLOUR),
            field(COLOUR | {"symbols": ["red"], "default": "red"}),
            "changed",
            "symbols removed: green",
        ),
        (field(COLOUR), field("string"), "changed", "enum C → string"),
        (field(["int", "string"]), field(["string", "int", "double"]), "added", "double"),
        (field(array("int")), field(array("long")), "widened", "int → long"),
        (field(map_of("int")), field(map_of(["null", "int"])), "changed", "may be null now"),
        (field(struct(field("int"))), field(struct(field("int"), field(["null", "int"], "y"))), "added", "int or null"),
        (field(["null", struct(field("int"))]), field(["null", struct(field("long"))]), "widened", "int → long"),
    ],
)
def test_a_schema_may_change_in_these_ways(old, new, change, detail):
    (found,) = changes(*(record(*[of] if of else []).record_type for of in (old, new)))
    assert (found.kind, found.detail, found.problem, found.iceberg) == (change, detail, None, True)
    assert found.path.startswith("x")


@pytest.mark.parametrize(("old", "new"), [("int", "double"), ("int", "float"), ("long", "double"), ("long", "float")])
def test_whole_numbers_may_become_floating_but_not_in_an_iceberg_table(old, new):
    (found,) = changes(record(field(old)).record_type, record(field(new)).record_type)
    assert (found.kind, found.problem, found.iceberg) == ("widened", None, False)


@pytest.mark.parametrize(
    ("old", "new", "path", "problem"),
    [
        (None, field("int"), "x", "needs a default"),
        (field(["null", "int"]), field("int"), "x", "old records may have null"),
        (field("long"), field("int"), "x", "long cannot be read as int"),
        (field("string"), field("bytes"), "x", "string cannot be read as bytes"),
        (field("string"), field(COLOUR), "x", "string cannot be read as enum C"),
        (
            field(MILLIS),
            field(MICROS),
            "x",
            "numbers in old records are milliseconds, and would be read as microseconds",
        ),
        (
            field(MILLIS),
            field({**MILLIS, "logicalType": "local-timestamp-millis"}),
            "x",
            "cannot be read as local-timest",
        ),
        (field("long"), field(MILLIS), "x", "long cannot be read as timestamp-millis"),
        (field(decimal(6)), field(decimal(4)), "x", "cannot be read"),
        (field(decimal(4)), field(decimal(6, 3)), "x", "cannot be read"),
        (field("int"), field(array("int")), "x", "int cannot be read as array of int"),
        (field(array("string")), field(array("int")), "x[]", "string cannot be read as int"),
        (field(map_of("string")), field(map_of("int")), "x{}", "string cannot be read as int"),
        (field(struct(field("int"))), field(struct(field("int"), field("int", "y"))), "x.y", "needs a default"),
        (field(COLOUR), field(COLOUR | {"symbols": ["red"]}), "x", "the enum has no default"),
        (field(["int", "string"]), field(["int", "double"]), "x.member_string", "old records may have string"),
        (field(["int", "string"]), field("string"), "x", "int or string cannot be read as string"),
    ],
)
def test_what_would_lose_old_records_or_files_is_told(old, new, path, problem):
    found = list(changes(*(record(*[of] if of else []).record_type for of in (old, new))))
    ((where, told),) = [(change.path, change.problem) for change in found if change.problem]
    assert where == path
    assert problem in told


def test_no_change_is_none():
    one = record(field(["null", struct(field(["int", "string"]), field(COLOUR, "c"), field(decimal(4), "d"))]))
    assert list(changes(one.record_type, one.record_type)) == []


OLD = record(
    field("int", "small"),
    field("float", "single"),
    field("string", "page"),
    field("int", "gone"),
    field(["null", decimal(4)], "price"),
    field(["null", struct(field("int", "a"))], "point"),
    field(array(struct(field("int", "a"), name="T")), "points"),
    field(map_of("int"), "counts"),
)
NEW = record(
    field("long", "small"),
    field("double", "single"),
    field("string", "path", aliases=["page"]),
    field(["null", decimal(9)], "price"),
    field(["null", struct(field("long", "a"), field(["null", "string"], "b"))], "point"),
    field(array(struct(field(["null", "string"], "b"), field("long", "a"), name="T")), "points"),
    field(map_of("int"), "counts"),
    field(["null", "string"], "extra"),
    field("string", "kind", default="view"),
)
OLD_ROW = {
    "id": 1,
    "small": 5,
    "single": 0.5,
    "page": "/a",
    "gone": 7,
    "price": "12.34",
    "point": {"a": 1},
    "points": [{"a": 2}],
    "counts": {"k": 1},
}
NEW_ROW = OLD_ROW | {"id": 2, "path": "/b", "small": 2**40, "price": "1234567.89", "extra": "e", "kind": "buy"}
NEW_ROW |= {"point": {"a": 2**40, "b": "x"}, "points": [{"a": 3, "b": "y"}]}
del NEW_ROW["page"], NEW_ROW["gone"]
BARE_ROW = OLD_ROW | {"id": 3, "price": None, "point": None, "points": []}


def published(version, declared, *sent):
    """Key and content of a file as landing makes it."""
    records = [Record("t", 0, n, timestamp_ms=0, value=json.dumps(row).encode()) for n, row in enumerate(sent)]
    decoded = JsonCodec(declared).decode(records)
    assert decoded.poison == []
    running = Land().build(JsonCodec(declared), TopicPartition("t", 0), 0, Restored(0, ()))
    running.apply(Batch(decoded.records, decoded.values, [0] * len(records), [0] * (len(records) + 1)))
    (made,) = running.close(0)
    (part,) = lake.split(made)
    file = lake.encode(part, {})
    place = {"pipeline": "landing", "generation": "1", "topic": "t", "partition": 0, "number": 0}
    return {lake.final_key(file, version=version, **place): file.content}


FILES = published(1, OLD, OLD_ROW, BARE_ROW) | published(2, NEW, NEW_ROW)
EXPECTED = {
    1: {"small": 5, "single": 0.5, "price": Decimal("12.34"), "point": {"a": 1, "b": None}, "extra": None},
    2: {"small": 2**40, "single": 0.5, "price": Decimal("1234567.89"), "point": {"a": 2**40, "b": "x"}, "extra": "e"},
    3: {"small": 5, "single": 0.5, "price": None, "point": None, "extra": None},
}
PAGES = {1: "/a", 2: "/b", 3: "/a"}


def written(folder):
    paths = []
    for number, content in enumerate(FILES.values()):
        paths.append(folder / f"{number}.parquet")
        paths[-1].write_bytes(content)
    return paths


def test_old_and_new_files_are_one_table_in_duckdb(tmp_path):
    written(tmp_path)
    query = (
        f"SELECT id, small, single, price, point, extra, coalesce(path, page) AS path, gone, kind, points"
        f" FROM read_parquet('{tmp_path}/*.parquet', union_by_name=true)"
    )
    with duckdb.connect() as duck:
        found = {row["id"]: row for row in duck.sql(query).to_arrow_table().to_pylist()}
    assert {key: {name: row[name] for name in EXPECTED[1]} for key, row in found.items()} == EXPECTED
    assert {key: row["path"] for key, row in found.items()} == PAGES
    assert [found[key]["gone"] for key in (1, 2, 3)] == [7, None, 7]
    assert [found[key]["kind"] for key in (1, 2, 3)] == [None, "buy", None]
    assert [found[key]["points"] for key in (1, 2, 3)] == [[{"a": 2, "b": None}], [{"a": 3, "b": "y"}], []]


def test_old_and_new_files_are_one_dataset_in_pyarrow(tmp_path):
    """pyarrow widens numbers and adds columns; a struct's new members it finds in the newest file's schema."""
    paths = written(tmp_path)
    flat = ["id", "small", "single", "price", "extra"]
    unified = pa.unify_schemas([pq.read_schema(path) for path in paths[::-1]], promote_options="permissive")
    wanted = pa.schema([unified.field(name).with_nullable(True) for name in flat])
    found = pyarrow.dataset.dataset(paths, schema=wanted).to_table().to_pylist()
    assert {row.pop("id"): row for row in found} == {
        key: {name: value for name, value in row.items() if name != "point"} for key, row in EXPECTED.items()
    }


@pytest.fixture
def objects():
    outbox = MemoryOutbox()
    outbox.stage(FILES)
    return outbox


def test_old_and_new_files_are_one_copy_under_the_newest_names(objects):
    files = table_files(objects, "t")
    unified = TableSchema(objects, files)
    found = {
        row["id"]: row for batch in batches(objects, files, unified) for row in batch.to_struct_array().to_pylist()
    }
    assert {key: {name: row[name] for name in EXPECTED[1]} for key, row in found.items()} == EXPECTED
    assert {key: row["path"] for key, row in found.items()} == PAGES
    assert "page" not in unified.schema.names
    assert [found[key]["points"] for key in (1, 2, 3)] == [[{"a": 2, "b": None}], [{"a": 3, "b": "y"}], []]
    assert [found[key]["counts"] for key in (1, 2, 3)] == [[("k", 1)]] * 3
    assert [unified.schema.field(name).nullable for name in ("id", "path", "gone", "kind")] == [
        False,
        False,
        True,
        True,
    ]


def test_rows_are_shown_under_the_newest_names(objects):
    files = table_files(objects, "t")
    names = new_names(objects, files[-1])
    assert names == {"page": "path"}
    assert {row["id"]: row["path"] for row in rows(objects, files, names=names)} == PAGES


def test_old_records_are_decoded_by_the_new_schema():
    result = JsonCodec(NEW).decode([Record("t", 0, 0, value=json.dumps(OLD_ROW).encode())])
    (value,) = result.values
    assert (value.small, value.path, value.kind, value.extra) == (5, "/a", "view", None)
    assert json.loads(value._rescued) == {"gone": 7}


def test_another_unit_of_time_is_refused_for_what_records_say_not_for_the_files():
    """A landed timestamp is microseconds either way. A number in JSON does not say its unit; Avro's reader asks."""
    old, new = record(field(MILLIS)), record(field(MICROS))
    assert old.landed_fields()[1].type == new.landed_fields()[1].type
    (value,) = JsonCodec(new).decode([Record("t", 0, 0, value=b'{"id": 1, "x": 1710324000000}')]).values
    assert value.x == 1_710_324_000_000, "which is 20 days after 1970, as microseconds"
    with pytest.raises(SchemaError, match=r"x.*timestamp-micros.*timestamp-millis"):
        AvroCodec(new, old)


def test_a_file_says_what_its_columns_were_called():
    (_, content) = FILES.values()
    assert pq.read_schema(io.BytesIO(content)).metadata[b"headrace.aliases"] == b'{"path":["page"]}'
