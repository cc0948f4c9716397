"""Avro payloads: what is read, what is poison and why; which schemas a reader can have."""

import io
import json
import subprocess
import sys
from decimal import Decimal

import fastavro
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace import schema
from headrace.avro import AvroCodec
from headrace.errors import PoisonError, SchemaError
from headrace.records import Record

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
COLOUR = {"type": "enum", "name": "Colour", "symbols": ["red", "green"]}
TYPES = {
    "user": "string",
    "count": "int",
    "at": MILLIS,
    "seen": ["null", MICROS],
    "day": ["null", {"type": "int", "logicalType": "date"}],
    "score": ["null", "double"],
    "small": ["null", "float"],
    "flag": ["null", "boolean"],
    "blob": ["null", "bytes"],
    "tags": ["null", {"type": "array", "items": "string"}],
    "colour": ["null", COLOUR],
}
VALUES = {
    "user": st.text(),
    "count": st.integers(-(2**31), 2**31 - 1),
    "at": st.integers(-62_135_596_800_000, 253_402_300_799_999),
    "seen": st.none() | st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
    "day": st.none() | st.integers(-719_162, 2_932_896),
    "score": st.none() | st.floats(allow_nan=False),
    "small": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
    "flag": st.none() | st.booleans(),
    "blob": st.none() | st.binary(),
    "tags": st.none() | st.lists(st.text()),
    "colour": st.none() | st.sampled_from(COLOUR["symbols"]),
}
LEAST = dict.fromkeys(TYPES) | {"user": "ann", "count": 1, "at": 0}


def record_schema(**types):
    fields = [{"name": name, "type": declared} for name, declared in types.items()]
    return schema.parse(json.dumps({"type": "record", "name": "Visit", "fields": fields}))


VISIT = record_schema(**TYPES)
CODEC = AvroCodec(VISIT, VISIT)


def encoded(fields, **types):
    """Written by fastavro itself from the schema as a producer has it; times are numbers already."""
    definition = [{"name": name, "type": raw(declared)} for name, declared in (types or TYPES).items()]
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, {"type": "record", "name": "Visit", "fields": definition}, fields)
    return stream.getvalue()


def raw(declared):
    if isinstance(declared, list):
        return [raw(branch) for branch in declared]
    return declared["type"] if isinstance(declared, dict) and "logicalType" in declared else declared


def decoded(payload, codec=CODEC):
    """A row as a dict, or the poison's reason and detail."""
    result = codec.decode([Record("visits", 0, 7, value=payload)])
    assert len(result.records) == len(result.values) == 1 - len(result.poison)
    if result.poison:
        ((record, poison),) = result.poison
        assert (record.offset, record.value) == (7, payload)
        return poison.reason, poison.detail
    (value,) = result.values
    return {field.name: getattr(value, field.name) for field in codec.schema.fields}


@settings(max_examples=200)
@given(st.fixed_dictionaries(VALUES))
def test_what_fastavro_wrote_comes_back(fields):
    assert decoded(encoded(fields)) == fields


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (None, "tombstone", "no value"),
        (b"", "empty", "no bytes"),
        (encoded(LEAST)[:-1], "invalid_avro", "EOFError"),
        (encoded(LEAST) + b"\0\0", "invalid_avro", "2 byte(s) after the record"),
        (b'{"user": "ann", "count": 1, "at": 0}', "invalid_avro", ""),
        (b"\0\0\0\0\7" + encoded(LEAST), "invalid_avro", ""),
        (b"\x06ann\2\0" + b"\x63" * 8, "invalid_avro", "IndexError"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1ann", "invalid_avro", ""),
        (b"\x04\xff\xfe\2\0" + b"\0" * 8, "not_utf8", "utf-8"),
        (encoded(LEAST | {"count": 2**31}, **TYPES | {"count": "long"}), "invalid_field", "count: Expected"),
        (encoded(LEAST | {"at": 253_402_300_800_000}), "invalid_field", "at: Expected"),
    ],
    ids=[
        "tombstone",
        "empty",
        "cut short",
        "too long",
        "JSON",
        "framed by a registry",
        "union branch that is not there",
        "text of negative length",
        "not UTF-8",
        "beyond 32 bits",
        "year 10000",
    ],
)
def test_what_is_no_record_of_the_schema_is_poison_with_the_reason(payload, reason, detail):
    found, why = decoded(payload)
    assert found == reason
    assert detail in why


@settings(max_examples=500)
@given(st.binary(max_size=60))
@example(b"\x02a\x02\x02\x00\x00\x00\x00\x00\x00\x02\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_any_bytes_are_a_row_or_poison(payload):
    """Nothing is raised, nothing takes long: an array's claimed length is not believed."""
    outcome = decoded(payload)
    assert isinstance(outcome, dict) or outcome[0] in {"empty", "invalid_avro", "invalid_field", "not_utf8"}


@settings(max_examples=200)
@given(st.data(), st.fixed_dictionaries(VALUES))
def test_a_record_cut_short_anywhere_is_poison(data, fields):
    payload = encoded(fields)
    reason, _ = decoded(payload[: data.draw(st.integers(0, len(payload) - 1))])
    assert reason in {"empty", "invalid_avro"}


def test_the_bad_ones_of_a_batch_are_told_apart_in_offset_order():
    good, bad_bytes, bad_field = encoded(LEAST), b"\xff", encoded(LEAST | {"at": 253_402_300_800_000})
    payloads = [good, bad_field, good, bad_bytes, None, good]
    result = CODEC.decode([Record("visits", 0, n, value=payload) for n, payload in enumerate(payloads)])
    assert [record.offset for record in result.records] == [0, 2, 5]
    assert [value.user for value in result.values] == ["ann"] * 3
    reasons = [(record.offset, poison.reason) for record, poison in result.poison]
    assert reasons == [(1, "invalid_field"), (3, "invalid_avro"), (4, "tombstone")]


def test_fields_that_the_writer_has_not_get_their_defaults_and_others_are_dropped():
    reader = schema.parse(
        json.dumps(
            {
                "type": "record",
                "name": "Visit",
                "fields": [
                    {"name": "user", "type": "string"},
                    {"name": "kind", "type": "string", "default": "view"},
                    {"name": "mark", "type": "bytes", "default": "\u00ff"},
                    {"name": "note", "type": ["null", "string"]},
                ],
            }
        )
    )
    row = decoded(encoded(LEAST), AvroCodec(reader, VISIT))
    assert row == {"user": "ann", "kind": "view", "mark": b"\xff", "note": None}


def test_null_where_the_reader_needs_a_value_is_that_records_fault():
    codec = AvroCodec(record_schema(score="double"), VISIT)
    assert decoded(encoded(LEAST | {"score": 1.5}), codec) == {"score": 1.5}
    assert decoded(encoded(LEAST), codec) == ("invalid_field", "score: Expected `float`, got `null`")


def test_a_symbol_that_the_reader_does_not_know_is_that_records_fault():
    codec = AvroCodec(record_schema(colour=COLOUR | {"symbols": ["red"]}), VISIT)
    assert decoded(encoded(LEAST | {"colour": "red"}), codec) == {"colour": "red"}
    assert decoded(encoded(LEAST | {"colour": "green"}), codec)[0] == "invalid_field"


@pytest.mark.parametrize(
    ("written", "wanted", "value", "read"),
    [("int", "long", 7, 7), ("int", "double", 7, 7.0), ("long", "float", 7, 7.0), ("float", "double", 1.5, 1.5)],
)
def test_numbers_are_read_as_wider_ones(written, wanted, value, read):
    codec = AvroCodec(record_schema(n=wanted), record_schema(n=written))
    row = decoded(encoded({"n": value}, n=written), codec)
    assert row == {"n": read}
    assert type(row["n"]) is type(read)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("long", "int"),
        ("double", "long"),
        ("string", "bytes"),
        ("string", COLOUR),
        (MICROS, MILLIS),
        ("long", MILLIS),
        (["null", MILLIS], "long"),
        ({"type": "array", "items": "long"}, {"type": "array", "items": "string"}),
        ("string", {"type": "array", "items": "string"}),
    ],
    ids=str,
)
def test_a_field_that_could_only_make_dead_letters_is_refused(written, wanted):
    with pytest.raises(SchemaError, match=r"'x(\[\])?' is .* cannot be read from"):
        AvroCodec(record_schema(x=wanted), record_schema(x=written))


def test_a_field_that_the_writer_has_not_needs_a_default():
    with pytest.raises(SchemaError, match="'score' is not in the writer's schema and has no default"):
        AvroCodec(record_schema(score="double"), record_schema(user="string"))


def test_fastavro_is_imported_only_where_a_codec_is_made():
    """13 MB that a pipeline without Avro must not load."""
    command = "import sys, headrace.avro; sys.exit('fastavro' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def declared(*fields, **options):
    return {"type": "record", "name": "Row", "fields": [{"name": n, "type": t} | options for n, t in fields]}


def resolved(written, wanted, value):
    """What a reader makes of a value that a writer wrote, both records of Avro's JSON; fastavro encodes it."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(written), value)
    codec = AvroCodec(schema.parse(json.dumps(wanted)), schema.parse(json.dumps(written)))
    result = codec.decode([Record("t", 0, 0, value=stream.getvalue())])
    if result.poison:
        return result.poison[0][1].reason, result.poison[0][1].detail
    (row,) = msgspec.to_builtins(result.values, builtin_types=(bytes, Decimal))
    rescued = result.values[0]._rescued
    return {name: value for name, value in row.items() if name != "_rescued"}, rescued and json.loads(rescued)


POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "int"}, {"name": "old", "type": "string"}]}
NEW_POINT = {
    "type": "record",
    "name": "Point",
    "fields": [
        {"name": "w", "type": "int", "default": 9},
        {"name": "text", "type": "string", "aliases": ["older", "old"]},
        {"name": "x", "type": "double"},
    ],
}
READ_POINT = {"w": 9, "text": "a", "x": 1.0}


def decimal(precision, scale=2, **more):
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale} | more


@pytest.mark.parametrize(
    ("written", "wanted", "value", "read"),
    [
        (POINT, NEW_POINT, {"x": 1, "old": "a"}, READ_POINT),
        (
            {"type": "array", "items": POINT},
            {"type": "array", "items": NEW_POINT},
            [{"x": 1, "old": "a"}],
            [READ_POINT],
        ),
        (
            {"type": "map", "values": POINT},
            {"type": "map", "values": NEW_POINT},
            {"k": {"x": 1, "old": "a"}},
            {"k": READ_POINT},
        ),
        (POINT, ["null", NEW_POINT], {"x": 1, "old": "a"}, READ_POINT),
        ([POINT, "null"], ["null", NEW_POINT], {"x": 1, "old": "a"}, READ_POINT),
        ([POINT, "null"], ["null", NEW_POINT], None, None),
        (["int", "null"], "long", 5, 5),
        (["int", "null", "string"], ["string", "int", "null", "double"], 5, {"member_int": 5}),
        (["int", "null", "string"], ["string", "int", "null"], None, None),
        (["int", "string"], ["string", "double"], 5, {"member_double": 5.0}),
        (["int", POINT], [NEW_POINT, "int"], ("Point", {"x": 1, "old": "a"}), {"member_point": READ_POINT}),
        ("int", ["null", "double", "int"], 5, {"member_int": 5}),
        ("int", ["string", "double"], 5, {"member_double": 5.0}),
        (["int", "string"], "double", 5, 5.0),
        (decimal(4), decimal(9), Decimal("12.34"), Decimal("12.34")),
        (decimal(4), decimal(9, type="fixed", name="F", size=4), Decimal("-12.34"), Decimal("-12.34")),
        (decimal(9, type="fixed", name="F", size=6), decimal(9), Decimal("-12.34"), Decimal("-12.34")),
        ({"type": "fixed", "name": "A", "size": 2}, {"type": "fixed", "name": "B", "size": 2}, b"ab", b"ab"),
        (COLOUR, COLOUR | {"symbols": ["green", "red", "blue"]}, "green", "green"),
        (COLOUR, "string", "green", "green"),
        (
            {"type": "string", "logicalType": "uuid"},
            "string",
            "0B37b9a2-4a4c-4f4e-9d2e-1c2d3e4f5a6b",
            "0B37b9a2-4a4c-4f4e-9d2e-1c2d3e4f5a6b",
        ),
        ("double", "double", float("inf"), float("inf")),
        ("float", "float", float("-inf"), float("-inf")),
        ("float", "double", float("inf"), float("inf")),
    ],
    ids=str,
)
def test_what_one_schema_wrote_another_reads(written, wanted, value, read):
    found = resolved(declared(("v", written)), declared(("v", wanted)), {"v": value})
    assert found == ({"v": read}, None)
    assert type(found[0]["v"]) is type(read)


@pytest.mark.parametrize(
    ("written", "wanted", "value", "kept", "rescued"),
    [
        (COLOUR, COLOUR | {"symbols": ["red"], "default": "red"}, "green", "red", {"v": "green"}),
        (COLOUR, ["null", COLOUR | {"symbols": ["red"]}], "green", None, {"v": "green"}),
        (["int", "string"], ["null", "int"], "a", None, {"v": {"_": "a"}}),
        ("long", ["null", "long"], 5, 5, None),
        (MILLIS, ["null", MILLIS], 253_402_300_800_000, None, {"v": 253_402_300_800_000}),
        (decimal(4), ["null", decimal(4)], Decimal("12.34"), Decimal("12.34"), None),
        ({"type": "array", "items": "int"}, {"type": "array", "items": ["null", "int"]}, [1], [1], None),
    ],
    ids=str,
)
def test_what_a_column_could_not_hold_is_rescued_where_a_row_can_do_without(written, wanted, value, kept, rescued):
    assert resolved(declared(("v", written)), declared(("v", wanted)), {"v": value}) == ({"v": kept}, rescued)


@pytest.mark.parametrize(
    ("written", "wanted", "value", "detail"),
    [
        (["int", "string"], ["int", "boolean"], "a", "v: none of int, boolean"),
        (["int", "string"], "int", "a", "v: Expected `int`, got `object`"),
        ({"type": "array", "items": ["null", "int"]}, {"type": "array", "items": "int"}, [1, None], "v[1]: Expected"),
        (decimal(9), decimal(9), Decimal("1234567.89"), None),
    ],
    ids=str,
)
def test_a_value_that_the_reader_has_no_place_for_is_that_records_fault(written, wanted, value, detail):
    found = resolved(declared(("v", written)), declared(("v", wanted)), {"v": value})
    if detail is None:
        assert found == ({"v": value}, None)
    else:
        assert found[0] == "invalid_field"
        assert found[1].startswith(detail)


def test_a_decimal_of_more_digits_than_its_type_has_is_poison():
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, declared(("v", "bytes")), {"v": (10**4).to_bytes(2, "big")})
    found = decoded(stream.getvalue(), AvroCodec(*[record_schema(v=decimal(4))] * 2))
    assert found == ("invalid_field", "v: 2 bytes do not fit decimal(4, 2)")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (POINT, NEW_POINT | {"fields": [{"name": "z", "type": "int"}]}),
        (POINT, "string"),
        (decimal(9), decimal(4)),
        (decimal(9, 2), decimal(9, 3)),
        ({"type": "fixed", "name": "A", "size": 2}, {"type": "fixed", "name": "A", "size": 3}),
        (["string", "boolean"], "int"),
        ("string", ["int", "null", "double"]),
        ({"type": "map", "values": "int"}, {"type": "array", "items": "int"}),
        ({"type": "int", "logicalType": "time-millis"}, {"type": "long", "logicalType": "time-micros"}),
    ],
    ids=str,
)
def test_schemas_that_cannot_be_resolved_are_refused_with_the_field(written, wanted):
    with pytest.raises(SchemaError, match=r"field 'v(\.z)?' is "):
        AvroCodec(*[schema.parse(json.dumps(declared(("v", of)))) for of in (wanted, written)])


def test_fields_of_a_record_that_nobody_wants_have_names_that_nobody_has():
    wanted = {"type": "record", "name": "P", "fields": [{"name": "_0", "type": "string", "default": "mine"}]}
    written = {"type": "record", "name": "P", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "int"}]}
    assert resolved(declared(("v", written)), declared(("v", wanted)), {"v": {"a": "x", "b": 1}}) == (
        {"v": {"_0": "mine"}},
        None,
    )


class TestFraming:
    """What a registry's serializer puts before a record says which schema wrote it."""

    OLD = record_schema(user="string")
    NEW = record_schema(user="string", count="long")
    BAD = record_schema(user="int")
    WANTED = schema.parse(
        json.dumps({"type": "record", "name": "Visit", "fields": [{"name": "user", "type": "string"}]})
    )

    def framing(self, payload):
        if payload[:1] != b"\0":
            raise PoisonError("not_framed", "no magic byte")
        return (self.OLD, self.NEW, self.BAD)[payload[1]], payload[2:]

    @pytest.mark.parametrize(
        ("payload", "expected"),
        [
            (b"\0\0" + b"\x06ann", {"user": "ann"}),
            (b"\0\1" + b"\x06bob\x02", {"user": "bob"}),
            (b"\0\1" + b"\x06bob", ("invalid_avro", "EOFError")),
            (b"\x06ann", ("not_framed", "no magic byte")),
            (b"\0\2\x06", ("unreadable_schema", "field 'user' is string: it cannot be read from int")),
            (None, ("tombstone", "the record has no value")),
        ],
    )
    def test_each_payload_is_read_by_its_own(self, payload, expected):
        codec = AvroCodec(self.WANTED, self.framing)
        for _ in range(2):  # the second time from what is known already
            found = decoded(payload, codec)
            assert found == expected or found[1].startswith(expected[1])
