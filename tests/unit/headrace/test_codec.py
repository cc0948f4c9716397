"""From payloads to values: what is a row, what is rescued, what is poison and why."""

import base64
import gc
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import schema
from headrace.avro import AvroCodec
from headrace.codec import JsonCodec, LogCodec, RawCodec
from headrace.errors import SchemaError
from headrace.records import Record
from headrace.rescued import child

SCHEMAS = Path(__file__).resolve().parents[3] / "functions" / "schemas"
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
REQUIRED = {"user": "string", "count": "int", "at": MILLIS}
OPTIONAL = {
    "score": "double",
    "seen": MICROS,
    "flag": "boolean",
    "blob": "bytes",
    "tags": {"type": "array", "items": "string"},
    "colour": {"type": "enum", "name": "Colour", "symbols": ["red", "green"]},
    "small": "float",
}
VISIT = schema.parse(
    json.dumps(
        {
            "type": "record",
            "name": "Visit",
            "fields": [
                *({"name": name, "type": avro_type} for name, avro_type in REQUIRED.items()),
                *({"name": name, "type": ["null", avro_type], "default": None} for name, avro_type in OPTIONAL.items()),
                {"name": "kind", "type": "string", "default": "view"},
            ],
        }
    )
)
CODEC = JsonCodec(VISIT)
LEAST = {"user": "ann", "count": 1, "at": 0}
DEFAULTS = dict.fromkeys(OPTIONAL, None) | {"kind": "view"}


def decoded(payload, codec=CODEC):
    """A row as a dict, `_rescued` parsed, or the poison's reason and detail."""
    result = codec.decode([Record("visits", 0, 7, value=payload)])
    assert len(result.records) == len(result.values) == 1 - len(result.poison)
    if result.poison:
        ((record, poison),) = result.poison
        assert (record.offset, record.value) == (7, payload)
        return poison.reason, poison.detail
    (value,) = result.values
    rescued = getattr(value, "_rescued", None)
    row = {
        name: getattr(value, name) for name in codec.schema.struct_type(forbid_unknown_fields=True).__struct_fields__
    }
    return row | {"_rescued": None if rescued is None else json.loads(rescued)}


def sent(**fields):
    return json.dumps(LEAST | fields).encode()


def row(**fields):
    return LEAST | DEFAULTS | {"_rescued": None} | fields


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (sent(), row()),
        (b' {"at":0,"count":1,"user":"ann"}\r\n', row()),
        (sent(kind="buy", score=1), row(kind="buy", score=1.0)),
        (sent(score=None, tags=None), row()),
        (sent(user="", count=-(2**31), at=-1), row(user="", count=-(2**31), at=-1)),
        (sent(blob="AP8="), row(blob=b"\x00\xff")),
        (sent(tags=["a", ""], colour="green", flag=False), row(tags=["a", ""], colour="green", flag=False)),
        (b'{"user":"a\\u0000\\ud83d\\ude00","count":1,"at":0}', row(user="a\0😀")),
        ('{"user":"Zoë","count":1,"at":0}'.encode(), row(user="Zoë")),
        (sent(user="x" * (1 << 20)), row(user="x" * (1 << 20))),
    ],
)
def test_what_fits_the_schema_is_a_row(payload, expected):
    assert decoded(payload) == expected


@pytest.mark.parametrize(
    ("fields", "lost", "rescued"),
    [
        ({"colour2": "red"}, {}, {"colour2": "red"}),
        ({"": 1, "größe": [1, {"a": None}]}, {}, {'[""]': 1, "größe": [1, {"a": None}]}),
        ({"User": "case matters"}, {}, {"User": "case matters"}),
        ({"_rescued": {"x": 1}}, {}, {"_rescued": {"x": 1}}),
        ({"_rescued": None}, {}, {"_rescued": None}),
        ({"_offset": 99}, {}, {"_offset": 99}),
        ({"score": "0.5"}, {"score": None}, {"score": "0.5"}),
        ({"score": True}, {"score": None}, {"score": True}),
        ({"flag": 1}, {"flag": None}, {"flag": 1}),
        ({"flag": "true"}, {"flag": None}, {"flag": "true"}),
        ({"blob": "not base64!"}, {"blob": None}, {"blob": "not base64!"}),
        ({"tags": ["a", 1]}, {"tags": None}, {"tags": ["a", 1]}),
        ({"tags": "a"}, {"tags": None}, {"tags": "a"}),
        ({"colour": "blue"}, {"colour": None}, {"colour": "blue"}),
        ({"small": 1e300}, {"small": None}, {"small": 1e300}),
        ({"seen": "yesterday"}, {"seen": None}, {"seen": "yesterday"}),
        ({"seen": 1.5, "new": 2}, {"seen": None}, {"seen": 1.5, "new": 2}),
        ({"big": 2**64, "small_int": -(2**63) - 1}, {}, {"big": 2**64, "small_int": -(2**63) - 1}),
        ({"seen": 2**63}, {"seen": None}, {"seen": 2**63}),
    ],
)
def test_what_the_schema_has_no_place_for_is_rescued(fields, lost, rescued):
    assert decoded(sent(**fields)) == row(**lost, _rescued=rescued)


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (None, "tombstone", "no value"),
        (b"", "empty", "white space"),
        (b" \r\n\t", "empty", "white space"),
        (b"{", "invalid_json", "truncated"),
        (b"nonsense", "invalid_json", "malformed"),
        (sent() + sent(), "invalid_json", "trailing"),
        (sent() + b"\n" + sent(), "invalid_json", "trailing"),
        (b'{"user":"a",}', "invalid_json", "trailing comma"),
        (b"{'user':'a'}", "invalid_json", "malformed"),
        (b"\xef\xbb\xbf" + sent(), "invalid_json", "malformed"),
        (sent().decode().encode("utf-16"), "invalid_json", "malformed"),
        (sent(x=float("nan")), "invalid_json", "malformed"),
        (sent(x=float("inf")), "invalid_json", "malformed"),
        (b'{"user":"a","count":1e400,"at":0}', "invalid_field", "count: Expected `int`, got `float`"),
        (b'{"user":"a","count":1,"at":0,"x":' + b"9" * 5000 + b"}", "invalid_json", "out of range"),
        (b'{"user":"\\ud800","count":1,"at":0}', "invalid_json", ""),
        (b'{"user":"\xff","count":1,"at":0}', "not_utf8", "0xff"),
        (b'{"user":"a","count":1,"at":0,"x":"\xc3"}', "not_utf8", "0xc3"),
        (b'{"user":"a","count":1,"at":0,"\xff":1}', "not_utf8", "0xff"),
        (b"null", "not_an_object", "NoneType"),
        (b"[]", "not_an_object", "list"),
        (b'"{}"', "not_an_object", "str"),
        (b"12", "not_an_object", "int"),
        (b"{}", "missing_field", "user"),
        (b'{"user":"a","at":0}', "missing_field", "count"),
        (b'{"User":"a","count":1,"at":0}', "missing_field", "user"),
        (sent(user=None), "invalid_field", "user: Expected `str`, got `null`"),
        (sent(user=5), "invalid_field", "user: Expected `str`, got `int`"),
        (sent(count=True), "invalid_field", "count: Expected `int`, got `bool`"),
        (sent(count="1"), "invalid_field", "count: Expected `int`, got `str`"),
        (sent(count=1.0), "invalid_field", "count: Expected `int`, got `float`"),
        (sent(count=2**31), "invalid_field", "count: Expected `int` <= 2147483647"),
        (sent(count=10**30), "invalid_field", "count: Expected `int` <= 2147483647"),
        (sent(at="noon"), "invalid_field", "at: Invalid RFC3339"),
        (sent(at="2024-03-13"), "invalid_field", "at: Invalid RFC3339"),
        (sent(at="2024-02-30T00:00:00Z"), "invalid_field", "at: Invalid RFC3339"),
        (sent(at="2016-12-31T23:59:60Z"), "invalid_field", "at: Invalid RFC3339"),
        (sent(kind=None), "invalid_field", "kind: Expected `str`, got `null`"),
    ],
)
def test_what_cannot_be_a_row_is_poison_with_a_reason(payload, reason, detail):
    found_reason, found_detail = decoded(payload)
    assert found_reason == reason
    assert detail in found_detail


@pytest.mark.parametrize(
    ("text", "at_ms", "seen_us"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("2024-03-13T12:00:00.123956789Z", 1710331200123, 1710331200123957),
        ("2024-03-13T12:00:00", 1710331200000, 1710331200000000),
        ("2024-03-13 14:00:00+02:00", 1710331200000, 1710331200000000),
        ("2024-03-13t12:00:00z", 1710331200000, 1710331200000000),
        ("1969-12-31T23:59:59.9995Z", -1, -500),
        ("0001-01-01T00:00:00Z", -62135596800000, -62135596800000000),
        ("9999-12-31T23:59:59.999999Z", 253402300799999, 253402300799999999),
    ],
)
def test_rfc_3339_texts_are_times_without_a_zone_in_utc(text, at_ms, seen_us):
    """To the microsecond they are rounded, then cut off to the field's unit, towards the past."""
    assert decoded(sent(at=text, seen=text)) == row(at=at_ms, seen=seen_us)


@pytest.mark.parametrize("levels", [*range(940, 1010, 3), 5000, 100_000])
def test_nesting_that_the_interpreter_could_not_follow_is_poison(levels):
    """Just below the interpreter's limit, decoding still works and encoding what is to be rescued does not."""
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        payload = sent()[:-1] + b',"x":' + opening * levels + b"1" + closing * levels + b"}"
        assert decoded(payload) == ("invalid_json", "nested deeper than 64 levels")


def test_nesting_up_to_64_levels_is_rescued_whatever_the_callers_stack():
    def at_depth(frames, levels):
        if frames:
            return at_depth(frames - 1, levels)
        return decoded(sent()[:-1] + b',"x":' + b"[" * levels + b"]" * levels + b"}")

    for frames in (0, 500):
        assert at_depth(frames, 63)["_rescued"] is not None
        assert at_depth(frames, 64) == ("invalid_json", "nested deeper than 64 levels")


def test_many_brackets_are_no_depth():
    assert decoded(sent(x=[[]] * 200, y="[{" * 200)) == row(_rescued={"x": [[]] * 200, "y": "[{" * 200})


def test_of_a_key_that_comes_twice_the_last_one_counts():
    """RFC 8259 leaves it open; both paths have to agree."""
    assert decoded(b'{"user":"a","user":"ann","count":1,"at":0}') == row(_rescued={"user[earlier]": ["a"]})
    assert decoded(b'{"user":5,"user":"ann","count":1,"at":0}') == row(_rescued={"user[earlier]": [5]})
    assert decoded(b'{"x":1,"user":"ann","count":1,"x":2,"at":0}') == row(_rescued={"x": 2, "x[earlier]": [1]})
    assert decoded(b'{"user":"ann","user":5,"count":1,"at":0}')[0] == "invalid_field"


def test_one_bad_record_says_nothing_about_its_neighbours():
    payloads = [sent(), b"{", sent(x=1), None, sent(count="1"), sent()]
    records = [Record("visits", 0, n, value=payload) for n, payload in enumerate(payloads)]
    result = CODEC.decode(records)
    assert [record.offset for record in result.records] == [0, 2, 5]
    assert [value._rescued for value in result.values] == [None, '{"x":1}', None]
    assert [(r.offset, poison.reason) for r, poison in result.poison] == [
        (1, "invalid_json"),
        (3, "tombstone"),
        (4, "invalid_field"),
    ]


def test_a_default_stands_in_for_what_is_absent_not_for_what_is_wrong():
    field = {"name": "origin", "type": ["string", "null"], "default": "web"}
    codec = JsonCodec(schema.parse(json.dumps({"type": "record", "name": "Visit", "fields": [field]})))
    assert decoded(b"{}", codec) == {"origin": "web", "_rescued": None}
    assert decoded(b'{"x":1}', codec) == {"origin": "web", "_rescued": {"x": 1}}
    assert decoded(b'{"origin":7}', codec) == {"origin": None, "_rescued": {"origin": 7}}
    assert decoded(b'{"origin":null}', codec) == {"origin": None, "_rescued": None}


class TestWithoutUnknownFields:
    """For an operator that needs a few fields, the others are skipped over."""

    codec = JsonCodec(VISIT.project(("user", "score")), keep_unknown=False)

    @pytest.mark.parametrize("path", ["fast", "lenient"])
    def test_unknown_fields_are_forgotten(self, path):
        fields = {"x": [1, {"y": 2}], "at": "whatever", "score": 0.5 if path == "fast" else "wrong"}
        found = decoded(sent(**fields), self.codec)
        rescued = None if path == "fast" else {"score": "wrong"}
        assert found == {"user": "ann", "score": 0.5 if path == "fast" else None, "_rescued": rescued}

    def test_a_field_of_its_own_is_still_checked(self):
        assert decoded(sent(user=1), self.codec)[0] == "invalid_field"
        assert decoded(b'{"x":"\xff","user":1}', self.codec)[0] == "not_utf8"

    def test_no_payload_sets_the_rescued_attribute(self):
        assert decoded(sent(_rescued="mine"), self.codec)["_rescued"] is None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TIMES = st.integers(-62_135_596_800_000, 253_402_300_799_999) | st.datetimes().map(lambda at: at.isoformat() + "Z")
FITTING: dict[str, st.SearchStrategy[Any]] = {
    "user": st.text(),
    "count": st.integers(-(2**31), 2**31 - 1),
    "at": TIMES,
    "score": st.floats(allow_nan=False, allow_infinity=False),
    "seen": TIMES,
    "flag": st.booleans(),
    "blob": st.binary().map(lambda data: base64.b64encode(data).decode()),
    "tags": st.lists(st.text()),
    "colour": st.sampled_from(["red", "green"]),
    "small": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "kind": st.text(),
}
NOT_REQUIRED = [name for name in FITTING if name not in REQUIRED]
OBJECTS = st.builds(
    lambda fields, unknown: unknown | fields,
    st.fixed_dictionaries(
        {name: FITTING[name] | ANYTHING for name in REQUIRED},
        optional={name: FITTING[name] | ANYTHING for name in NOT_REQUIRED},
    ),
    st.dictionaries(st.text(), ANYTHING, max_size=3),
)


@settings(deadline=None)
@given(fields=OBJECTS)
def test_every_field_that_was_sent_is_in_the_row_or_rescued_or_the_record_is_poison(fields):
    found = decoded(json.dumps(fields).encode())
    if isinstance(found, tuple):
        assert found[0] in {"invalid_field", "missing_field"}
        return
    rescued = found.pop("_rescued") or {}
    paths = {child("", name): value for name, value in fields.items()}
    for name, value in paths.items():
        assert name in rescued or found[name] is not None or value is None, name
    for name, value in rescued.items():
        assert value == paths[name]
        assert name not in found or found[name] is None
    assert {*rescued} - found.keys() == paths.keys() - found.keys()


@settings(deadline=None)
@given(
    fields=st.fixed_dictionaries(
        {name: FITTING[name] for name in REQUIRED}, optional={name: FITTING[name] for name in NOT_REQUIRED}
    )
)
def test_what_fits_loses_nothing(fields):
    found = decoded(json.dumps(fields).encode())
    assert found["_rescued"] is None
    for name in fields.keys() - {"at", "seen"}:
        expected = base64.b64decode(fields[name]) if name == "blob" else fields[name]
        assert found[name] == expected
    for name in {"at", "seen"} & fields.keys():
        assert found[name] == fields[name] or isinstance(fields[name], str)


@settings(deadline=None)
@given(fields=OBJECTS)
def test_the_fast_and_the_lenient_path_agree_on_what_both_accept(fields):
    """An unknown field sends the record the lenient way; the rest of the row must not change by it."""
    fast = decoded(json.dumps(fields).encode())
    lenient = decoded(json.dumps(fields | {"unknown to all": 1}).encode())
    if isinstance(fast, dict) and isinstance(lenient, dict):
        rescued = fast.pop("_rescued") or {}
        assert lenient.pop("_rescued") == rescued | {"unknown to all": 1}
    assert fast == lenient


@settings(deadline=None)
@given(payload=st.none() | st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_whatever_bytes_come_nothing_is_raised(payload):
    found = decoded(payload)
    assert isinstance(found, tuple | dict)


class TestRaw:
    """Bytes as they are."""

    def test_every_record_is_a_row_tombstones_too(self):
        records = [Record("t", 0, n, value=value) for n, value in enumerate([b"\xff\x00", None, b""])]
        result = RawCodec().decode(records)
        assert result.records == records
        assert [value.value for value in result.values] == [b"\xff\x00", None, b""]
        assert result.poison == []
        assert [field.name for field in RawCodec.schema.fields] == ["value"]


class TestLog:
    """Lines of `headrace.logs`, which has tests of its own; here: what the record adds."""

    codec = LogCodec(schema.load(SCHEMAS / "log_event.avsc"))

    def service(self, payload, key):
        ((value,), poison) = self._decode(payload, key)
        assert poison == []
        return value.service

    def _decode(self, payload, key=None):
        result = self.codec.decode([Record("app.logs", 0, 0, key=key, value=payload)])
        assert len(result.records) == len(result.values)
        return result.values, [poison.reason for _, poison in result.poison]

    @pytest.mark.parametrize(
        ("line", "key", "service"),
        [
            (b'{"service":"cart","message":"x"}', b"host-1", "cart"),
            (b'{"service":"","message":"x"}', b"host-1", "host-1"),
            (b'{"message":"x"}', b"host-1", "host-1"),
            (b'{"message":"x"}', "größe".encode(), "größe"),
            (b'{"message":"x"}', None, "app.logs"),
            (b'{"message":"x"}', b"", "app.logs"),
            (b'{"message":"x"}', b"\xff\xfe", "app.logs"),
            (b'10.0.0.1 - - [13/Mar/2024:12:00:00 +0000] "GET / HTTP/1.1" 200 5', b"web-1", "web-1"),
        ],
    )
    def test_the_service_is_the_lines_own_else_the_key_else_the_topic(self, line, key, service):
        assert self.service(line, key) == service

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [(None, "tombstone"), (b"", "empty"), (b" \n", "empty"), (b"caf\xe9", "not_utf8"), (b"x" * 2**21, "too_long")],
    )
    def test_what_is_no_text_is_poison(self, payload, reason):
        assert self._decode(payload) == ([], [reason])

    def test_text_that_is_no_line_of_any_format_is_an_event_with_a_service(self):
        ((value,), poison) = self._decode(b"hello", b"host-1")
        assert (value.is_unparsed, value.message, value.service, poison) == (1, "hello", "host-1", [])

    @pytest.mark.parametrize(("patterns", "pattern"), [(True, "order <*> was lost"), (False, None)])
    def test_a_pattern_is_filled_if_asked_for(self, patterns, pattern):
        codec = LogCodec(self.codec.schema, patterns=patterns)
        lines = [b'{"msg":"order 17 was lost"}', b"{}"]
        values = codec.decode([Record("web", 0, n, value=line) for n, line in enumerate(lines)]).values
        assert [value.pattern for value in values] == [pattern, None]

    def test_a_line_that_continues_another_is_no_event(self):
        records = [
            Record("app.logs", 0, n, value=line) for n, line in enumerate([b"{}", b"\tat a.B.c(B.java:1)", b"{}"])
        ]
        decoded = self.codec.decode(records)
        assert decoded.records == [records[0], records[2]]
        assert decoded.continuations == [(records[1], "\tat a.B.c(B.java:1)")]
        assert decoded.poison == decoded.silent == []

    def test_the_format_of_a_topic_may_be_declared(self):
        codec = LogCodec(self.codec.schema, "access:%h %s")
        (value,) = codec.decode([Record("web", 0, 0, value=b"1.2.3.4 503")]).values
        assert (value.host, value.status, value.is_error) == ("1.2.3.4", 503, 1)

    @settings(deadline=None)
    @given(payload=st.none() | st.binary(max_size=60) | st.text(max_size=60).map(str.encode), key=st.binary(max_size=4))
    def test_whatever_bytes_come_nothing_is_raised(self, payload, key):
        decoded = self.codec.decode([Record("app.logs", 0, 0, key=key, value=payload)])
        assert len(decoded.records) == len(decoded.values)
        found = [*decoded.values, *decoded.poison, *decoded.continuations, *decoded.silent]
        assert len(found) == 1

    def test_a_schema_of_other_fields_is_refused(self):
        with pytest.raises(SchemaError, match=r"fields of Visit are not those of headrace\.log_event\.LogEvent"):
            LogCodec(VISIT)


def test_only_the_json_codec_rescues():
    assert [codec.rescues for codec in (CODEC, RawCodec(), TestLog.codec)] == [True, False, False]


@pytest.mark.parametrize("payload", [sent(), sent(x=1)], ids=["fast", "lenient"])
def test_both_paths_make_values_of_one_kind(payload):
    """Operators read attributes; both kinds have to have all of them, `_rescued` too."""
    (value,) = CODEC.decode([Record("visits", 0, 0, value=payload)]).values
    assert isinstance(value, msgspec.Struct)
    assert [hasattr(value, field.name) for field in VISIT.fields] == [True] * len(VISIT.fields)
    assert value._rescued == (None if payload == sent() else '{"x":1}')


@pytest.mark.parametrize(
    "codec",
    [
        LogCodec(schema.load(SCHEMAS / "log_event.avsc")),
        JsonCodec(schema.load(SCHEMAS / "clicks.avsc")),
        AvroCodec(schema.load(SCHEMAS / "clicks.avsc"), schema.load(SCHEMAS / "clicks.avsc")),
    ],
    ids=["log", "json", "avro"],
)
def test_a_batch_is_free_as_soon_as_nobody_needs_it(codec):
    """Whatever was wrong in it: memory must not wait for a full collection, which Lambda makes rare."""
    values = [b"words", b"\xff", b"", None, b'{"timestamp":true}', b'{"cut', b"[1]", b"192.0.2.1 - - [x] 7", b"{}"]
    records = [Record("topic", 0, offset, 0, value=value) for offset, value in enumerate(values)]
    codec.decode(records)
    gc.collect()
    gc.disable()
    try:
        codec.decode(records)
        assert gc.collect() == 0
    finally:
        gc.enable()
