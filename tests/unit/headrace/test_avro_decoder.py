"""Avro's bytes: against fastavro on the same schema and bytes, and by hand what fastavro would not write."""

import io
import json
import math

import fastavro
import pytest
from avro_cases import ROWS, avro_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import schema
from headrace.avro_decoder import decoder
from headrace.avro_layout import layout

LONGS = {"type": "array", "items": "long"}
COUNTS = {"type": "map", "values": "int"}
ENUM = {"type": "enum", "name": "E", "symbols": ["it's", 'a "b"\\']}
PAIR = {"type": "record", "name": "P", "fields": [{"name": "it's", "type": "long"}, {"name": "n", "type": "string"}]}


def ours(of, payload):
    """The value, or None if the bytes are refused."""
    try:
        return decoder(of)(payload)
    except (EOFError, ValueError):
        return None


def fastavros(of, payload):
    """The value, or None if the bytes are refused or some are left."""
    stream = io.BytesIO(payload)
    try:
        value = fastavro.schemaless_reader(stream, of, None)
    except Exception:  # noqa: BLE001 - it raises whatever its parts do
        return None
    return value if stream.tell() == len(payload) else None


def laid_out(case):
    written = schema.parse(json.dumps(case.avro)).record_type
    return layout(written, written)


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_what_fastavro_wrote_is_read_as_by_fastavro(case):
    of, payload = laid_out(case), avro_bytes(case)
    assert ours(of, payload) == fastavros(of, payload) is not None


@settings(max_examples=300, deadline=None)
@given(st.data(), ROWS)
def test_damaged_bytes_are_refused_or_read_as_by_fastavro(data, case):
    of, payload = laid_out(case), bytearray(avro_bytes(case))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not payload:
            return
    found = ours(of, bytes(payload))
    assert found is None or repr(found) == repr(fastavros(of, bytes(payload)))  # by repr: a NaN equals none


@pytest.mark.parametrize(
    ("of", "payload", "value"),
    [
        ("null", b"", None),
        ("boolean", b"\0", False),
        ("boolean", b"\1", True),
        ("int", b"\x80\1", 64),
        ("long", b"\xff" * 9 + b"\1", -(2**63)),
        ("long", b"\xfe" + b"\xff" * 8 + b"\1", 2**63 - 1),
        ("long", b"\x82\x80\0", 1),
        ("float", b"\0\0\x80\x7f", math.inf),
        ("double", b"\0\0\0\0\0\0\xf8\x3f", 1.5),
        ("bytes", b"\4\xff\0", b"\xff\0"),
        ("string", b"\4\xc3\xbc", "ü"),
        ("string", b"\0", ""),
        ({"type": "fixed", "name": "F", "size": 2}, b"\xff\0", b"\xff\0"),
        (ENUM, b"\2", 'a "b"\\'),
        (["null", "long"], b"\0", None),
        (["null", "long"], b"\2\2", 1),
        (["null", "long"], b"\x82\0\2", 1),
        (PAIR, b"\2\2x", {"it's": 1, "n": "x"}),
        (LONGS, b"\0", []),
        (LONGS, b"\2\2\4\4\6\0", [1, 2, 3]),
        (LONGS, b"\3\4\4\6\0", [2, 3]),  # a negative count has the block's size after it
        (LONGS, b"\3\x82\0\4\6\0", [2, 3]),
        (COUNTS, b"\2\2a\2\1\2\2b\4\0", {"a": 1, "b": 2}),
        ({"type": "array", "items": LONGS}, b"\4\2\2\0\2\4\0\0", [[1], [2]]),
    ],
    ids=str,
)
def test_values_by_the_specification(of, payload, value):
    assert decoder(of)(payload) == value


@pytest.mark.parametrize(
    ("of", "payload", "error", "message"),
    [
        ("long", b"\x80", EOFError, "end within a number"),
        ("long", b"", EOFError, "end within the record"),
        ("long", b"\xff" * 10 + b"\1", ValueError, "more than ten bytes"),
        ("long", b"\xff" * 9 + b"\2", ValueError, "more than 64 bits"),
        ("double", b"\0" * 7, EOFError, "end within the record"),
        ("bytes", b"\4\0", EOFError, "end within the record"),
        ("string", b"\4a", EOFError, "end within the record"),
        ("string", b"\4\xc3", EOFError, "end within a text"),
        ("string", b"\1", ValueError, "a length is negative"),
        ("string", b"\2\xff", UnicodeDecodeError, "utf-8"),
        ("int", b"\2\2", ValueError, "1 byte"),
        (["null"], b"\1", ValueError, "no branch -1"),
        (ENUM, b"\4", ValueError, "no symbol 2"),
        (ENUM, b"\1", ValueError, "no symbol"),
        (LONGS, b"\2\2", EOFError, "end within the record"),
        (LONGS, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1\0", EOFError, "a block has 9223372036854775807 items in 1"),
        (LONGS, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1\0\0", EOFError, "a block has 9223372036854775808 items in 1"),
    ],
    ids=str,
)
def test_what_is_refused_and_why(of, payload, error, message):
    with pytest.raises(error, match=message):
        decoder(of)(payload)


def test_types_nest_as_deep_as_schemas_may():
    of, value = "long", 1
    for number in range(32):
        record = {"type": "record", "name": f"R{number}", "fields": [{"name": "x", "type": of}]}
        of = {"type": "array", "items": ["null", record]}
        value = [{"x": value}, None]
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(of), value)
    assert decoder(of)(stream.getvalue()) == value
