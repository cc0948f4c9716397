"""An .avsc file as a decoder and as columns."""

import json
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

import fastavro
import msgspec
import pytest
from arro3.core import DataType, Field

from headrace import schema
from headrace.errors import ConfigurationError, SchemaError
from headrace.log_event import LogEvent

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "functions" / "schemas").glob("*.avsc"))
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
COLOURS = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}


def avsc(*fields, name="Row"):
    return json.dumps({"type": "record", "name": name, "fields": list(fields)})


def parsed(avro_type, **more):
    """The one field of a record with a field of that type."""
    (field,) = schema.parse(avsc({"name": "x", "type": avro_type, **more})).fields
    return field


def list_of(item_type):
    return DataType.list(Field("element", item_type, nullable=False))


def accepted(avro_type, text):
    """What the decoder makes of a JSON text; a `ValidationError` says that it refuses it."""
    struct = schema.parse(avsc({"name": "x", "type": avro_type})).struct_type(forbid_unknown_fields=True)
    return msgspec.json.decode(f'{{"x":{text}}}', type=struct).x


@pytest.mark.parametrize(
    ("avro_type", "arrow_type", "text", "value"),
    [
        ("boolean", DataType.bool(), "true", True),
        ("int", DataType.int32(), "-2147483648", -(2**31)),
        ("long", DataType.int64(), "9223372036854775807", 2**63 - 1),
        ("float", DataType.float32(), "3.4028234663852886e38", 3.4028234663852886e38),
        ("double", DataType.float64(), "1e308", 1e308),
        ("double", DataType.float64(), "7", 7.0),
        ("bytes", DataType.binary(), '"AP8="', b"\x00\xff"),
        ("string", DataType.string(), '"a\\u0000b"', "a\0b"),
        ({"type": "string"}, DataType.string(), '"a"', "a"),
        (COLOURS, DataType.string(), '"green"', "green"),
        ({"type": "int", "logicalType": "date"}, DataType.date32(), "-1", -1),
        (MILLIS, DataType.timestamp("ms", tz="UTC"), "-1", -1),
        (MICROS, DataType.timestamp("us", tz="UTC"), "1710331200000000", 1710331200000000),
        ({"type": "array", "items": "int"}, list_of(DataType.int32()), "[1,2]", [1, 2]),
        ({"type": "array", "items": COLOURS}, list_of(DataType.string()), '["red"]', ["red"]),
        ({"type": "array", "items": MILLIS}, list_of(DataType.timestamp("ms", tz="UTC")), "[]", []),
        (["string"], DataType.string(), '"a"', "a"),
        (["null", "long"], DataType.int64(), "null", None),
        (["double", "null"], DataType.float64(), "0.5", 0.5),
        (["null", {"type": "array", "items": "string"}], list_of(DataType.string()), "null", None),
    ],
)
def test_a_type_is_a_decoder_and_a_column(avro_type, arrow_type, text, value):
    field = parsed(avro_type)
    assert field.arrow_type == arrow_type
    assert accepted(avro_type, text) == value
    assert type(accepted(avro_type, text)) is type(value)


@pytest.mark.parametrize(
    ("avro_type", "text"),
    [
        ("boolean", "1"),
        ("int", "true"),
        ("int", "2147483648"),
        ("int", "1.0"),
        ("int", '"1"'),
        ("long", "9223372036854775808"),
        ("float", "3.5e38"),
        ("float", "-3.5e38"),
        ("double", '"0.5"'),
        ("double", "1e400"),
        ("bytes", '"not base64!"'),
        ("string", "1"),
        ("string", "null"),
        (COLOURS, '"blue"'),
        (MILLIS, "1.5"),
        ({"type": "array", "items": "int"}, "[1,null]"),
        ({"type": "array", "items": "int"}, "1"),
        (["null", "string"], "1"),
    ],
)
def test_values_that_the_column_could_not_hold_are_refused(avro_type, text):
    with pytest.raises(msgspec.ValidationError):
        accepted(avro_type, text)


def test_nullable_fields_are_optional_and_the_others_are_not():
    optional, required = parsed(["null", "int"]), parsed("int")
    assert (optional.optional, optional.default) == (True, None)
    assert (required.optional, required.default) == (False, msgspec.NODEFAULT)
    columns = schema.parse(avsc({"name": "a", "type": ["null", "int"]}, {"name": "b", "type": "int"})).arrow_fields()
    assert columns == [Field("a", DataType.int32(), nullable=True), Field("b", DataType.int32(), nullable=False)]


@pytest.mark.parametrize(
    ("avro_type", "ticks"),
    [(MILLIS, 1), (["null", MICROS], 1000), ("long", None), ({"type": "array", "items": MILLIS}, None)],
)
def test_only_timestamps_have_ticks(avro_type, ticks):
    assert parsed(avro_type).ticks_per_ms == ticks


@pytest.mark.parametrize(
    ("avro_type", "written", "default"),
    [
        ("int", 5, 5),
        ("double", 0, 0.0),
        ("string", "none", "none"),
        ("bytes", "\u0000\u00ff", b"\x00\xff"),
        (["bytes", "null"], "AAA=", b"AAA="),
        (["null", "double"], None, None),
        (COLOURS, "red", "red"),
        ({"type": "array", "items": "int"}, [], []),
        ({"type": "array", "items": "int"}, [1, 2], [1, 2]),
        ({"type": "map", "values": "bytes"}, {"a": "\u00ff"}, {"a": b"\xff"}),
        ({"type": "fixed", "name": "F", "size": 2}, "\u0000\u00ff", b"\x00\xff"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}, "\u0001\u0000", Decimal("2.56")),
        (["string", "int"], "a", {"member_string": "a"}),
    ],
)
def test_a_default_stands_in_for_an_absent_field(avro_type, written, default):
    fields = {"name": "x", "type": avro_type, "default": written}
    assert parsed(avro_type, default=written).default == default
    row = schema.parse(avsc(fields)).struct_type(forbid_unknown_fields=True)()
    assert row.x == default
    assert type(row.x) is type(default)


BAD = [
    ("not json", "not JSON"),
    ("", "not JSON"),
    (b"\xff\xfe", "not JSON"),
    ('{"type":"record","name":"\\ud800"}', "not JSON"),
    ('"string"', "an Avro schema of type 'record' is needed"),
    ("[]", "an Avro schema of type 'record' is needed"),
    ("null", "an Avro schema of type 'record' is needed"),
    ('{"type":"enum","name":"E","symbols":["a"]}', "an Avro schema of type 'record' is needed"),
    ('{"type":"record","name":"R"}', "a record needs at least one field"),
    ('{"type":"record","name":"R","fields":[]}', "a record needs at least one field"),
    ('{"type":"record","name":"R","fields":{"a":1}}', "a record needs at least one field"),
    ('{"type":"record","fields":[{"name":"a","type":"int"}]}', "a record needs a name .* not None"),
    (avsc({"name": "a", "type": "int"}, name="a b"), "a record needs a name .* not 'a b'"),
    (avsc({"name": "a", "type": "int"}, name="a\0b"), "a record needs a name"),
    (avsc("a"), "a field needs a name .* not None"),
    (avsc({"type": "int"}), "a field needs a name .* not None"),
    (avsc({"name": "a-b", "type": "int"}), "a field needs a name .* not 'a-b'"),
    (avsc({"name": "größe", "type": "int"}), "a field needs a name .* not 'größe'"),
    (avsc({"name": "1a", "type": "int"}), "a field needs a name .* not '1a'"),
    (avsc({"name": "_offset", "type": "long"}), "field '_offset': names that start with an underscore"),
    (avsc({"name": "_rescued", "type": "string"}), "field '_rescued': names that start with an underscore"),
    (avsc({"name": "a", "type": "int"}, {"name": "a", "type": "long"}), "field 'a' is declared twice"),
    (avsc({"name": "a"}), "field 'a': type None is not supported"),
    (avsc({"name": "a", "type": "integer"}), "field 'a': type 'integer' is not supported"),
    (avsc({"name": "a", "type": "null"}), "field 'a': type 'null' is not supported"),
    (avsc({"name": "a", "type": 5}), "field 'a': type 5 is not supported"),
    (avsc({"name": "a", "type": {"type": "map"}}), "field 'a{}': type None is not supported"),
    (avsc({"name": "a", "type": {"type": "array"}}), "field 'a\\[\\]': type None is not supported"),
    (avsc({"name": "a", "type": {"type": "array", "items": "x.Y"}}), "field 'a\\[\\]': type 'x.Y' is not supported"),
    (avsc({"name": "a", "type": {"type": "record", "name": "B", "fields": []}}), "field 'a': a record needs at least"),
    (avsc({"name": "a", "type": {"type": "record", "name": "B", "fields": [{"name": "b"}]}}), "field 'a.b': type None"),
    (avsc({"name": "a", "type": {"type": "record", "fields": [{"name": "b"}]}}), "field 'a': a record needs a name"),
    *(
        (avsc({"name": "a", "type": {"type": "fixed", "name": "F", "size": size}}), "field 'a': a fixed needs a size")
        for size in (0, -1, None, "4", True, 2**31)
    ),
    (avsc({"name": "a", "type": ["null"]}), "field 'a': a union needs one type besides null"),
    (avsc({"name": "a", "type": []}), "field 'a': a union needs one type besides null"),
    (avsc({"name": "a", "type": ["null", "int", "null"]}), "field 'a': a union needs one type besides null"),
    (avsc({"name": "a", "type": ["null", ["null", "int"]]}), "field 'a': a union directly in a union is not allowed"),
    (avsc({"name": "a", "type": ["int", "int"]}), "field 'a': two types of a union would both be its 'member_int'"),
    (
        avsc({"name": "a", "type": [COLOURS, {"type": "enum", "name": "other.colour", "symbols": ["x"]}]}),
        "field 'a': two types of a union would both be its 'member_colour'",
    ),
    *(
        (avsc({"name": "a", "type": {"type": "bytes", "logicalType": "decimal", **size}}), f"field 'a': {message}")
        for size, message in (
            ({}, "a decimal needs a precision of 1 to 38, not None"),
            ({"precision": 39}, "a decimal needs a precision of 1 to 38, not 39"),
            ({"precision": 0}, "a decimal needs a precision of 1 to 38, not 0"),
            ({"precision": 4, "scale": 5}, "a decimal needs a scale of 0 to its precision, not 5"),
            ({"precision": 4, "scale": -1}, "a decimal needs a scale of 0 to its precision, not -1"),
        )
    ),
    (
        avsc({"name": "a", "type": {"type": "int", "logicalType": "timestamp-millis"}}),
        "field 'a': logical type 'timestamp-millis' of 'int' is not supported",
    ),
    (
        avsc({"name": "a", "type": {"type": "string", "logicalType": "decimal", "precision": 4}}),
        "field 'a': logical type 'decimal' of 'string' is not supported",
    ),
    (
        avsc({"name": "a", "type": {"type": "fixed", "name": "F", "size": 4, "logicalType": "uuid"}}),
        "field 'a': a uuid has 16 bytes, not 4",
    ),
    (avsc({"name": "a", "type": COLOURS}, {"name": "b", "type": COLOURS}), "field 'b': the name 'Colour' is defined"),
    (avsc({"name": "a", "type": {**COLOURS, "default": "blue"}}), "field 'a': the enum's default 'blue' is none of"),
    (avsc({"name": "Id", "type": "int"}, {"name": "id", "type": "int"}), "fields 'Id' and 'id': query engines do not"),
    (avsc({"name": "a", "type": "int"}, {"name": "b", "type": "int", "aliases": ["a"]}), "field 'a' is declared twice"),
    (avsc({"name": "a", "type": "int", "aliases": "b"}), "field 'a': aliases are a list of names, not 'b'"),
    (
        avsc({"name": "a", "type": {"type": "array", "items": "Row"}}),
        "field 'a\\[\\]': record 'Row' contains itself: a recursive type has no column",
    ),
    (
        avsc({"name": "a", "type": {"type": "record", "name": "Tree", "fields": [{"name": "b", "type": "Tree"}]}}),
        "field 'a.b': record 'Tree' contains itself: a recursive type has no column",
    ),
    *(
        (avsc({"name": "a", "type": {"type": "enum", "name": "E", **symbols}}), "field 'a': an enum needs a list")
        for symbols in ({}, {"symbols": []}, {"symbols": 5}, {"symbols": "abc"}, {"symbols": [1]}, {"symbols": [["a"]]})
    ),
    (avsc({"name": "a", "type": "int", "default": "x"}), "field 'a': its default does not fit"),
    (avsc({"name": "a", "type": "int", "default": 2**31}), "field 'a': its default does not fit"),
    (avsc({"name": "a", "type": "int", "default": None}), "field 'a': its default does not fit"),
    (
        avsc({"name": "a", "type": "bytes", "default": "\u0100"}),
        "field 'a': its default does not fit: has a code",
    ),
    (avsc({"name": "a", "type": COLOURS, "default": "blue"}), "field 'a': its default does not fit"),
    (
        avsc({"name": "a", "type": {"type": "array", "items": "int"}, "default": ["x"]}),
        "field 'a': its default does not",
    ),
    ("[" * 5000 + "]" * 5000, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[str(text)[:70] for text, _ in BAD])
def test_what_cannot_be_used_is_refused_in_one_line(text, message):
    with pytest.raises(SchemaError, match=message) as refusal:
        schema.parse(text)
    assert "\n" not in str(refusal.value)
    assert isinstance(refusal.value, ConfigurationError)


@pytest.mark.parametrize("levels", [100, 400, 900, 950, 960, 970, 980, 990, 2000])
def test_nesting_of_any_depth_is_refused_not_followed(levels):
    for opening, closing in (('{"type":"array","items":', "}"), ("[", "]")):
        nested = opening * levels + '"int"' + closing * levels
        with pytest.raises(SchemaError):
            schema.parse('{"type":"record","name":"R","fields":[{"name":"a","type":' + nested + "}]}")


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    missing, broken = tmp_path / "missing.avsc", tmp_path / "broken.avsc"
    broken.write_text(avsc({"name": "a", "type": "uuid"}))
    with pytest.raises(SchemaError, match=r"missing\.avsc: No such file or directory"):
        schema.load(missing)
    with pytest.raises(SchemaError, match=r"broken\.avsc: field 'a': type 'uuid' is not supported"):
        schema.load(broken)
    with pytest.raises(SchemaError, match="Is a directory"):
        schema.load(tmp_path)


def test_a_projection_keeps_the_order_that_was_asked_for():
    whole = schema.parse(avsc(*({"name": name, "type": "int"} for name in "abc")))
    assert [field.name for field in whole.project(("c", "a")).fields] == ["c", "a"]
    assert whole.arrow_type("b") == DataType.int32()
    with pytest.raises(SchemaError, match="Row has no field 'd', only a, b, c"):
        whole.project(("a", "d"))


def test_field_names_may_be_words_of_python():
    words = ("class", "from", "None", "mro", "self")
    struct = schema.parse(avsc(*({"name": word, "type": "int"} for word in words))).struct_type(
        forbid_unknown_fields=True
    )
    row = msgspec.json.decode(json.dumps({word: n for n, word in enumerate(words)}), type=struct)
    assert [getattr(row, word) for word in words] == [*range(5)]


def test_a_namespace_is_no_part_of_the_name():
    assert schema.parse(avsc({"name": "a", "type": "int"}, name="shop.events.Click")).name == "Click"


def test_equal_files_make_equal_schemas():
    """The operators' fingerprint is made of their text: it must not tell of addresses in memory."""
    text = avsc({"name": "a", "type": ["null", COLOURS]}, {"name": "b", "type": MILLIS}, {"name": "c", "type": "bytes"})
    assert repr(schema.parse(text)) == repr(schema.parse(text))
    assert " at 0x" not in repr(schema.parse(text))


PYTHON_TYPES = {"string": str, "int": int, "long": int, "double": float}


def shape(avro_type):
    """Avro's type as fastavro reads it: whether null is allowed, the Python type, the logical type."""
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    (plain,) = [branch for branch in branches if branch != "null"]
    kind, logical = (plain["type"], plain.get("logicalType")) if isinstance(plain, dict) else (plain, None)
    return "null" in branches, PYTHON_TYPES[kind], logical


def plain_type(value_type):
    """Without `| None` and without bounds."""
    if get_origin(value_type) in (Union, UnionType):
        (value_type,) = [branch for branch in get_args(value_type) if branch is not NoneType]
    return value_type.__origin__ if get_origin(value_type) is Annotated else value_type


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_schemas_mean_to_fastavro_what_they_mean_here(path):
    ours, theirs = schema.load(path), fastavro.schema.load_schema(str(path), _write_hint=False)
    assert theirs["name"] == f"headrace.{ours.name}"
    assert [field.name for field in ours.fields] == [field["name"] for field in theirs["fields"]]
    for field, avro in zip(ours.fields, theirs["fields"], strict=True):
        nullable, python_type, logical = shape(avro["type"])
        assert field.optional is nullable
        assert plain_type(field.value_type) is python_type
        assert (field.ticks_per_ms == 1) is (logical == "timestamp-millis")
        assert field.default == avro.get("default", msgspec.NODEFAULT)


def test_two_schemas_are_shipped():
    assert [path.name for path in SHIPPED] == ["clicks.avsc", "log_event.avsc"]


def test_the_log_schema_has_the_parsers_fields_and_types():
    by_name = {field.name: field for field in schema.load(SHIPPED[1]).fields}
    hints = {field.name: field.type for field in msgspec.structs.fields(LogEvent)}
    assert list(by_name) == list(hints)
    for name, hint in hints.items():
        branches = set(get_args(hint)) or {hint}
        assert by_name[name].optional is (type(None) in branches), name
        assert {plain_type(by_name[name].value_type)} == branches - {type(None)}, name
