"""Random Avro schemas and records, sent in JSON and in Avro: what pyarrow and DuckDB read is what was sent."""

import io
import json

import duckdb
import pyarrow.parquet as pq
import pytest
from avro_cases import ROWS, avro_bytes, json_bytes
from hypothesis import HealthCheck, given, settings

from headrace import lake, schema
from headrace.avro import AvroCodec
from headrace.codec import JsonCodec
from headrace.operators import Batch, Land, Restored
from headrace.records import Record, TopicPartition


@pytest.fixture(scope="module")
def duck():
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("lake") / "scratch.parquet"


def landed(codec, payloads):
    """The file that the real operator makes of these payloads."""
    records = [Record("t", 0, n, timestamp_ms=0, value=payload) for n, payload in enumerate(payloads)]
    decoded = codec.decode(records)
    assert decoded.poison == []
    running = Land().build(codec, TopicPartition("t", 0), 0, Restored(0, ()))
    running.apply(Batch(decoded.records, decoded.values, [0] * len(records), [0] * (len(records) + 1)))
    (rows,) = running.close(0)
    (part,) = lake.split(rows)
    return lake.encode(part, {}).content


UNKNOWN = '{"unknown":[1]}'


def without_place(row, rescued):
    assert row["_rescued"] == rescued
    return {name: value for name, value in row.items() if not name.startswith("_")}


def in_duckdb(duck, path):
    found = duck.execute(f"SELECT * FROM read_parquet('{path}')")
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def as_duckdb(value):
    """DuckDB's maps are dicts."""
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):
            return {key: as_duckdb(item) for key, item in value}
        return [as_duckdb(item) for item in value]
    if isinstance(value, dict):
        return {name: as_duckdb(item) for name, item in value.items()} or []
    return value


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(case=ROWS)
def test_what_was_sent_is_what_readers_read(duck, scratch, case):
    declared = schema.parse(json.dumps(case.avro))
    more = json.dumps(case.sent | {"unknown": [1]}).encode()
    for codec, payload, rescued in (
        (JsonCodec(declared), json_bytes(case), None),
        (AvroCodec(declared, declared), avro_bytes(case), None),
        (JsonCodec(declared), more, UNKNOWN),
        (JsonCodec(declared, keep_unknown=False), more, None),
    ):
        content = landed(codec, [payload, payload])
        table = pq.read_table(io.BytesIO(content))
        assert [without_place(row, rescued) for row in table.to_pylist()] == [case.read] * 2
        scratch.write_bytes(content)
        rows = [as_duckdb(without_place(row, rescued)) for row in in_duckdb(duck, scratch)]
        assert rows == [as_duckdb(case.read)] * 2
