"""What each Avro type accepts in JSON, and what of a bad value is kept, rescued or refused, at any depth."""

import json
from decimal import Decimal

import pytest

from headrace import columns, schema
from headrace.codec import JsonCodec
from headrace.errors import SchemaError
from headrace.records import Record


def logical(base, kind, **more):
    return {"type": base, "logicalType": kind, **more}


DECIMAL = logical("bytes", "decimal", precision=6, scale=2)
FIXED = {"type": "fixed", "name": "F", "size": 4}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}
WITH_DEFAULT = COLOUR | {"default": "red"}
POINT = {
    "type": "record",
    "name": "Point",
    "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": ["null", "int"]}],
}
ID = "0b37b9a2-4a4c-4f4e-9d2e-1c2d3e4f5a6b"


def codec_of(*fields, **options):
    named = [{"name": name, "type": avro_type} for name, avro_type in fields]
    return JsonCodec(schema.parse(json.dumps({"type": "record", "name": "Row", "fields": named})), **options)


def decoded(codec, payload):
    """Plain data of a row with `_rescued` parsed, or the poison's reason and detail."""
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    result = codec.decode([Record("t", 0, 0, value=payload)])
    if result.poison:
        return result.poison[0][1].reason, result.poison[0][1].detail
    (value,) = result.values
    row = {}
    for field in codec.schema.fields:  # as a reader of the table would have it
        (row[field.name],) = columns.column([getattr(value, field.name)], field.arrow_type).to_pylist()
    return row, None if value._rescued is None else json.loads(value._rescued)


def value_of(avro_type, text):
    """What becomes of a JSON text where a value of the type is needed: the value, or the reason and detail."""
    codec = codec_of(("v", avro_type))
    found = decoded(codec, b'{"v":' + text.encode() + b"}")
    if isinstance(found[0], str):
        return found
    (value,) = codec.decode([Record("t", 0, 0, value=b'{"v":' + text.encode() + b"}")]).values
    assert value._rescued is None
    return value.v


@pytest.mark.parametrize(
    ("avro_type", "text", "value"),
    [
        ("float", '"NaN"', "nan"),
        ("double", '"-Infinity"', float("-inf")),
        ("double", '"Infinity"', float("inf")),
        ("double", "1e308", 1e308),
        ("double", "9007199254740993", 9007199254740992.0),
        ("bytes", '"AP8="', b"\x00\xff"),
        (FIXED, '"AAECAw=="', b"\x00\x01\x02\x03"),
        (FIXED, '"\\u0000\\u0001\\u00fe\\u00ff"', b"\x00\x01\xfe\xff"),
        (DECIMAL, "12.3", Decimal("12.30")),
        (DECIMAL, '"12.3"', Decimal("12.30")),
        (DECIMAL, "12.300", Decimal("12.30")),
        (DECIMAL, "-9999.99", Decimal("-9999.99")),
        (DECIMAL, "7", Decimal("7.00")),
        (DECIMAL, "1e3", Decimal("1000.00")),
        (DECIMAL, "0e-99", Decimal("0.00")),
        (
            logical("bytes", "decimal", precision=38, scale=9),
            "12345678901234567890123456789.123456789",
            Decimal("12345678901234567890123456789.123456789"),
        ),
        (logical("int", "date"), "-1", -1),
        (logical("int", "date"), '"1969-12-31"', -1),
        (logical("int", "time-millis"), "1", 1),
        (logical("int", "time-millis"), '"00:00:01.0019"', 1001),
        (logical("long", "time-micros"), '"23:59:59.999999"', 86_399_999_999),
        (logical("long", "timestamp-nanos"), '"1970-01-01T00:00:00.123456789Z"', 123_456_789),
        (logical("long", "timestamp-nanos"), '"1969-12-31T23:59:59.9999999991Z"', -1),
        (logical("long", "timestamp-nanos"), '"1970-01-01T01:00:00+01:00"', 0),
        (logical("long", "local-timestamp-millis"), '"1970-01-01T00:00:01"', 1000),
        (logical("long", "local-timestamp-nanos"), '"1970-01-01T00:00:00.000000001"', 1),
        (logical("string", "uuid"), f'"{ID.upper()}"', ID),
        (logical("fixed", "uuid", name="U", size=16), f'"{ID}"', ID),
        (COLOUR, '"green"', "green"),
        (["int", "string"], "5", {"member_int": 5}),
        (["int", "string"], '"5"', {"member_string": "5"}),
        (["int", "string"], '{"string":"5"}', {"member_string": "5"}),
        (["bytes", "string"], '"AAAA"', {"member_string": "AAAA"}),
        (["bytes", "string"], '{"bytes":"AAAA"}', {"member_bytes": b"\0\0\0"}),
        (["string", COLOUR], '"red"', {"member_colour": "red"}),
        (["string", COLOUR], '"blue"', {"member_string": "blue"}),
        (["double", "long"], "5", {"member_long": 5}),
        (["double", "long"], "5.0", {"member_double": 5.0}),
        (["double", "long"], "9223372036854775808", {"member_double": 2.0**63}),
        ([DECIMAL, "string"], "12.3", {"member_bytes": Decimal("12.30")}),
        (["null", "int", "string"], "null", None),
        (["null", "int"], '{"int":5}', 5),
        ({"type": "map", "values": ["null", "int"]}, '{"a":null,"":1}', {"a": None, "": 1}),
    ],
)
def test_a_value_may_be_written_in_these_ways(avro_type, text, value):
    found = value_of(avro_type, text)
    assert str(found) == "nan" if value == "nan" else found == value
    assert type(found) is type(value) or value == "nan"


@pytest.mark.parametrize(
    ("avro_type", "text", "problem"),
    [
        ("double", '"nan"', "got `str`"),
        ("double", "1e400", "out of range of double"),
        ("float", "1e39", "<="),
        ("long", "1e400", "got `float`"),
        ("int", "1.0", "got `float`"),
        ("bytes", '"no base64"', "base64"),
        (FIXED, '"AAECAwQ="', "5 bytes instead of 4"),
        (FIXED, '"\\u0000\\u0001\\u0002\\u0100"', "no byte"),
        (DECIMAL, "12.345", "does not fit decimal(6, 2)"),
        (DECIMAL, "10000", "does not fit decimal(6, 2)"),
        (DECIMAL, "1e400", "does not fit decimal(6, 2)"),
        (DECIMAL, "1e-400", "does not fit decimal(6, 2)"),
        (DECIMAL, '"NaN"', "no decimal number"),
        (DECIMAL, '"1,5"', "Invalid decimal"),
        (DECIMAL, "true", "got `bool`"),
        (logical("int", "date"), '"1969-02-30"', "Invalid RFC3339"),
        (logical("int", "time-millis"), "86400000", "<= 86399999"),
        (logical("long", "time-micros"), "-1", ">= 0"),
        (logical("long", "time-micros"), '"00:00:00Z"', "no zone"),
        (logical("long", "timestamp-nanos"), '"2300-01-01T00:00:00Z"', "<="),
        (logical("long", "timestamp-micros"), "253402300800000000", "<="),
        (logical("long", "local-timestamp-millis"), '"1970-01-01T00:00:00Z"', "no zone"),
        (logical("string", "uuid"), '"{' + ID + '}"', "Invalid UUID"),
        (logical("string", "uuid"), "5", "got `int`"),
        (COLOUR, '"blue"', "Invalid enum value 'blue'"),
        (WITH_DEFAULT, "5", "Invalid enum value 5"),
        (["int", "boolean"], '"5"', "none of int, boolean"),
        (["int", "boolean"], '{"string":"5"}', "none of int, boolean"),
        ({"type": "map", "values": "int"}, "[]", "Expected `object`, got `array`"),
        (POINT, "5", "Expected `object`, got `int`"),
        ({"type": "array", "items": "int"}, '{"0":1}', "Expected `array`, got `object`"),
    ],
)
def test_what_is_none_of_its_type_is_refused_where_it_is_needed(avro_type, text, problem):
    reason, detail = value_of(avro_type, text)
    assert reason == "invalid_field"
    assert problem in detail
    assert detail.startswith("v: ")


@pytest.mark.parametrize(
    ("avro_type", "sent", "kept", "rescued"),
    [
        (WITH_DEFAULT, "blue", "red", {"v": "blue"}),
        (["null", COLOUR], "blue", None, {"v": "blue"}),
        (["null", "int"], {"int": "5"}, None, {"v": {"int": "5"}}),
        (POINT, {"x": 1, "z": 2}, {"x": 1, "y": None}, {"v.z": 2}),
        (POINT, {"x": 1, "y": "2"}, {"x": 1, "y": None}, {"v.y": "2"}),
        (POINT, {"x": 1, "a.b": 2, "": 3}, {"x": 1, "y": None}, {'v["a.b"]': 2, 'v[""]': 3}),
        (["null", POINT], {"y": 2}, None, {"v": {"y": 2}}),
        (["null", POINT], {"x": "1", "z": 2}, None, {"v": {"x": "1", "z": 2}}),
        ({"type": "array", "items": ["null", "int"]}, [1, "2", None], [1, None, None], {"v[1]": "2"}),
        (
            {"type": "array", "items": POINT},
            [{"x": 1}, {"x": 2, "z": 3}],
            [{"x": 1, "y": None}, {"x": 2, "y": None}],
            {"v[1].z": 3},
        ),
        (["null", {"type": "array", "items": "int"}], [1, "2"], None, {"v": [1, "2"]}),
        (
            {"type": "map", "values": ["null", "int"]},
            {"k": "1", "a]": True, "l": 2},
            [("k", None), ("a]", None), ("l", 2)],
            {"v.k": "1", 'v["a]"]': True},
        ),
        ([POINT, "string"], {"x": 1, "z": 2}, {"member_point": {"x": 1, "y": None}, "member_string": None}, {"v.z": 2}),
        (
            [POINT, "string"],
            {"Point": {"x": 1, "z": 2}},
            {"member_point": {"x": 1, "y": None}, "member_string": None},
            {"v.z": 2},
        ),
        (["null", POINT, "string"], [1], None, {"v": [1]}),
    ],
)
def test_what_has_no_place_is_rescued_with_its_path_and_the_rest_is_kept(avro_type, sent, kept, rescued):
    assert decoded(codec_of(("v", avro_type)), {"v": sent}) == ({"v": kept}, rescued)


@pytest.mark.parametrize(
    ("avro_type", "sent", "reason", "detail"),
    [
        (POINT, {"y": 1}, "missing_field", "v.x"),
        (POINT, {"x": "1"}, "invalid_field", "v.x: Expected `int`, got `str`"),
        ({"type": "array", "items": POINT}, [{"x": 1}, {}], "missing_field", "v[1].x"),
        ({"type": "map", "values": "int"}, {"a b": "1"}, "invalid_field", "v.a b: Expected `int`, got `str`"),
        ({"type": "array", "items": COLOUR}, ["red", "blue"], "invalid_field", "v[1]: Invalid enum value 'blue'"),
    ],
)
def test_what_a_row_needs_is_named_with_its_path(avro_type, sent, reason, detail):
    assert decoded(codec_of(("v", avro_type)), {"v": sent}) == (reason, detail)


def test_numbers_are_rescued_digit_by_digit():
    sent = b'{"v":1,"a":1e400,"b":0.10,"c":12345678901234567890.5}'
    (value,) = codec_of(("v", "int")).decode([Record("t", 0, 0, value=sent)]).values
    found = json.loads(value._rescued, parse_float=str)
    assert found == {"a": "1E+400", "b": "0.10", "c": "12345678901234567890.5"}


def test_a_path_means_one_place_only():
    """An unknown field `a.b` is another one than the unknown field `b` of the record `a`."""
    inner = {"type": "record", "name": "A", "fields": [{"name": "x", "type": "int"}]}
    found = decoded(codec_of(("a", inner)), {"a": {"x": 1, "b": 2}, "a.b": 3})
    assert found == ({"a": {"x": 1}}, {"a.b": 2, '["a.b"]': 3})


def test_of_a_key_that_comes_twice_in_a_nested_record_the_last_one_counts():
    codec = codec_of(("v", POINT))
    value = {"v": {"x": 2, "y": None}}
    assert decoded(codec, b'{"v":{"x":1,"x":2}}') == (value, {"v.x[earlier]": [1]})
    assert decoded(codec, b'{"v":{"x":"1","x":2,"z":0}}') == (value, {"v.z": 0, "v.x[earlier]": ["1"]})


def nested(levels):
    """Records in records: the innermost has an optional number."""
    of = ["null", "int"]
    for level in range(levels):
        of = {"type": "record", "name": f"L{level}", "fields": [{"name": "v", "type": of}]}
    return of["fields"][0]["type"]


def test_ten_levels_of_nesting_are_columns_and_are_rescued_from():
    codec = codec_of(("v", nested(10)))
    good, bad = 1, "1"
    for _ in range(9):
        good, bad = {"v": good}, {"v": bad}
    assert decoded(codec, {"v": good}) == ({"v": good}, None)
    row, rescued = decoded(codec, {"v": bad})
    assert rescued == {".".join("v" * 10): "1"}
    assert json.dumps(row).count("null") == 1


def test_five_thousand_columns_are_decoded_and_rescued_from():
    codec = codec_of(*((f"c{n}", ["null", "int"]) for n in range(5000)))
    fields = {f"c{n}": n for n in range(5000)}
    assert decoded(codec, fields) == (fields, None)
    assert decoded(codec, fields | {"c7": "7"}) == (fields | {"c7": None}, {"c7": "7"})


def test_a_few_lines_that_stand_for_billions_of_columns_are_refused():
    fields = [{"name": "a0", "type": {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "int"}]}}]
    for level in range(1, 20):
        inner = [{"name": side, "type": f"R{level - 1}"} for side in ("left", "right")]
        fields.append({"name": f"a{level}", "type": {"type": "record", "name": f"R{level}", "fields": inner}})
    with pytest.raises(SchemaError, match="more than 10000 columns"):
        schema.parse(json.dumps({"type": "record", "name": "Row", "fields": fields}))


def test_a_named_type_is_used_by_its_name_with_or_without_its_namespace():
    text = """{"type":"record","name":"shop.Order","fields":[
        {"name":"from","type":{"type":"record","name":"Address","fields":[{"name":"city","type":"string"}]}},
        {"name":"to","type":["null","Address"]},
        {"name":"via","type":{"type":"array","items":"shop.Address"}},
        {"name":"kind","type":{"type":"enum","name":"other.Kind","symbols":["a"]}},
        {"name":"kind2","type":"other.Kind"}]}"""
    codec = JsonCodec(schema.parse(text))
    sent = {"from": {"city": "a"}, "to": {"city": "b"}, "via": [{"city": "c"}], "kind": "a", "kind2": "a"}
    assert decoded(codec, sent) == (sent, None)
    with pytest.raises(SchemaError, match="field 'a': type 'Kind' is not supported"):
        schema.parse(
            text.replace("]}]}", ']},{"name":"a","type":"Kind"}]}').replace(
                '"other.Kind"}]}', '"other.Kind"},{"name":"a","type":"Kind"}]}'
            )
        )


def test_a_field_is_found_under_its_earlier_names():
    text = '{"type":"record","name":"R","fields":[{"name":"page","type":"string","aliases":["url","uri"]}]}'
    codec = JsonCodec(schema.parse(text))
    assert decoded(codec, {"page": "/"}) == ({"page": "/"}, None)
    assert decoded(codec, {"uri": "/"}) == ({"page": "/"}, None)
    assert decoded(codec, {"uri": "/", "url": "/a"}) == ({"page": "/a"}, {"uri": "/"})
    assert decoded(codec, {"page": "/", "url": "/a"}) == ({"page": "/"}, {"url": "/a"})
    assert decoded(codec, {"path": "/"}) == ("missing_field", "page")


def test_an_unknown_logical_type_is_ignored():
    """As Avro's specification demands."""
    assert value_of(logical("string", "iso-country"), '"CH"') == "CH"
    assert value_of(
        {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}, '"AAAAAAAAAAAAAAAA"'
    ) == bytes(12)
