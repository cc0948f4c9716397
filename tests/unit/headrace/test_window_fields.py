"""Which fields a window can have as keys and in aggregates: those whose values state gives back as they were."""

import json

import pytest
from samples import NOON_MS

from headrace import schema
from headrace.aggregates import Count, Last
from headrace.codec import JsonCodec
from headrace.errors import ConfigurationError
from headrace.operators import Restored
from headrace.records import TopicPartition
from headrace.windowed import Windowed
from headrace.windows import TumblingWindows

POINT = {"type": "record", "name": "P", "fields": [{"name": "x", "type": "int"}]}
KEPT = ["int", "string", {"type": "string", "logicalType": "uuid"}, {"type": "fixed", "name": "F", "size": 2}]
NOT_KEPT = [
    POINT,
    ["null", POINT],
    ["int", "string"],
    {"type": "map", "values": "int"},
    {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2},
    {"type": "array", "items": POINT},
]


def built(avro_type, **declared):
    """The operator at work on values with a field `v` of the type."""
    text = json.dumps({"type": "record", "name": "R", "fields": [{"name": "v", "type": avro_type}]})
    windowed = Windowed(table="t", window=TumblingWindows(size_ms=10), **declared)
    return windowed.build(JsonCodec(schema.parse(text)), TopicPartition("t", 0), 0, Restored(NOON_MS, ()))


@pytest.mark.parametrize("avro_type", KEPT, ids=str)
def test_fields_of_one_value_are_kept(avro_type):
    assert built(avro_type, key=("v",), aggregates={"n": Count(), "last": Last("v")}).state is not None


@pytest.mark.parametrize("avro_type", NOT_KEPT, ids=str)
@pytest.mark.parametrize(
    "declared", [{"key": ("v",), "aggregates": {"n": Count()}}, {"key": (), "aggregates": {"l": Last("v")}}]
)
def test_others_are_refused_when_the_function_starts(avro_type, declared):
    with pytest.raises(ConfigurationError, match=r"field 'v' is .*: windows keep no records, maps, unions or decimals"):
        built(avro_type, **declared)
