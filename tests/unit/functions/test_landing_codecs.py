"""The landing function's codecs by topic: what starts, and what is refused before it does."""

import io
import json

import fastavro
import pytest

from headrace.errors import ConfigurationError
from headrace.records import Record
from headrace.settings import Settings
from landing import topology
from landing.topology import SCHEMAS, topologies

CLICK = {"user_id": "ann", "page": "/", "event_type": "view", "timestamp": 5}


def codec(name):
    return topologies(Settings(landing_codecs={"clicks": name}))("clicks").codec


def test_bare_avro_records_are_landed():
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.schema.load_schema(SCHEMAS / "clicks.avsc"), CLICK)
    decoded = codec("avro:clicks.avsc").decode([Record("clicks", 0, 0, value=stream.getvalue())])
    assert [(value.user_id, value.timestamp, value.value) for value in decoded.values] == [("ann", 5, None)]


@pytest.fixture
def schemas(tmp_path, monkeypatch):
    """Another folder of schemas; answers how to put one there."""
    monkeypatch.setattr(topology, "SCHEMAS", tmp_path)

    def write(name, **types):
        fields = [{"name": field, "type": avro_type} for field, avro_type in types.items()]
        (tmp_path / name).write_text(json.dumps({"type": "record", "name": "R", "fields": fields}))

    return write


def test_the_producers_schema_may_be_another_one(schemas):
    schemas("new.avsc", id="long", note=["null", "string"])
    schemas("old.avsc", gone="string", id="int")
    decoded = codec("avro:new.avsc:old.avsc").decode([Record("clicks", 0, 0, value=b"\x02x\x0a")])
    assert [(value.id, value.note) for value in decoded.values] == [(5, None)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("avro:new.avsc:bad.avsc", "field 'id' is long: it cannot be read from string"),
        ("avro:new.avsc:none.avsc", r"none\.avsc: No such file"),
        ("avro:new.avsc:new.avsc:new.avsc", "is none of json:FILE"),
        ("json:new.avsc:new.avsc", "is none of json:FILE"),
        ("avro:", "is none of json:FILE"),
        ("avro:../new.avsc", "is none of json:FILE"),
    ],
)
def test_what_could_only_make_dead_letters_is_refused_when_the_function_starts(schemas, name, message):
    schemas("new.avsc", id="long")
    schemas("bad.avsc", id="string")
    with pytest.raises(ConfigurationError, match=message):
        codec(name)
