"""What a log line becomes, and what is refused."""

import json
from pathlib import Path

import fastavro
import msgspec
import pytest

from headrace.errors import PoisonError
from headrace.logs import LogEvent, parse

AVSC = Path(__file__).parents[3] / "functions" / "schemas" / "log_event.avsc"
REASONS = {"empty", "too_long", "not_utf8", "invalid_json", "not_an_object", "unknown_format"} | {
    "invalid_time",
    "invalid_field",
}
NOON_MS = 1_431_857_103_000
"""2015-05-17T10:05:03Z"""


def told(event: LogEvent) -> dict:
    """The event's fields that say something, attributes decoded."""
    fields = {name: value for name, value in msgspec.structs.asdict(event).items() if value is not None}
    if "attributes" in fields:
        fields["attributes"] = json.loads(fields["attributes"])
    return fields


# --- the schema


def test_the_avro_record_and_the_struct_have_the_same_fields():
    record = json.loads(AVSC.read_text())
    avro_types = {"string": str, "int": int, "long": int, "double": float}

    def python_type(avro):
        if isinstance(avro, list):
            assert avro[0] == "null"
            return python_type(avro[1]) | None
        return avro_types[avro["type"] if isinstance(avro, dict) else avro]

    assert (record["namespace"], record["name"]) == ("headrace", "LogEvent")
    declared = [(f["name"], python_type(f["type"]), f.get("default", "none")) for f in record["fields"]]
    assert declared == [
        (f.name, f.type, "none" if f.default is msgspec.NODEFAULT else f.default)
        for f in msgspec.structs.fields(LogEvent)
    ]


def test_events_are_valid_records_of_the_schema():
    schema = fastavro.parse_schema(json.loads(AVSC.read_text()))
    for line in (b"{}", b'{"time":1431857103,"level":"info","status":200,"latency_ms":3,"x":1}'):
        assert fastavro.validate(msgspec.structs.asdict(parse(line)), schema, strict=True)


# --- JSON lines

JSON_LINES = {
    "the usual names": (
        (
            '{"timestamp":"2015-05-17T10:05:03Z","level":"error","service":"pay","message":"no","status":502,'
            '"latency_ms":7,"host":"::1","method":"GET","path":"/a","protocol":"HTTP/2","bytes":12,"user":"ann",'
            '"referrer":"r","user_agent":"curl"}'
        ),
        {"timestamp": NOON_MS, "level": "ERROR", "severity": "ERROR", "is_error": 1, "service": "pay"}
        | {"message": "no", "status": 502, "latency_ms": 7.0, "host": "::1", "method": "GET", "path": "/a"}
        | {"protocol": "HTTP/2", "bytes": 12, "user": "ann", "referrer": "r", "user_agent": "curl"},
    ),
    "pino": (
        '{"level":30,"time":1431857103123,"pid":7,"hostname":"box","msg":"hello"}',
        {"timestamp": NOON_MS + 123, "level": "INFO", "severity": "INFO", "is_error": 0, "message": "hello"}
        | {"attributes": {"pid": 7, "hostname": "box"}},
    ),
    "Elastic Common Schema, nested": (
        '{"@timestamp":"2015-05-17T10:05:03Z","log":{"level":"WARN","logger":"x"},"service":{"name":"pay"}}',
        {"timestamp": NOON_MS, "level": "WARN", "severity": "WARN", "is_error": 0, "service": "pay"}
        | {"attributes": {"log": {"logger": "x"}}},
    ),
    "Elastic Common Schema, dotted": (
        '{"ts":1431857103.5,"log.level":"debug","service.name":"pay","http.status":"404"}',
        {"timestamp": NOON_MS + 500, "level": "DEBUG", "severity": "DEBUG", "is_error": 0}
        | {"service": "pay", "status": 404},
    ),
    "nginx, escape=json": (
        (
            '{"time_iso8601":"2015-05-17T10:05:03+00:00","remote_addr":"::1","request_method":"GET","status":"200",'
            '"request_uri":"/","server_protocol":"HTTP/1.1","body_bytes_sent":"5","http_user_agent":"c"}'
        ),
        {"timestamp": NOON_MS, "host": "::1", "method": "GET", "path": "/", "protocol": "HTTP/1.1"}
        | {"status": 200, "bytes": 5, "user_agent": "c", "severity": "2xx", "is_error": 0},
    ),
    "no time, no anything": ("{}", {"severity": "unknown", "is_error": 0}),
    "null is absent": ('{"timestamp":null,"level":null,"msg":null}', {"severity": "unknown", "is_error": 0}),
    "two names of one field: the better one wins, the other is kept": (
        '{"logger":"root","service":"pay","msg":"b","message":"a"}',
        {"service": "pay", "message": "a", "severity": "unknown", "is_error": 0}
        | {"attributes": {"logger": "root", "msg": "b"}},
    ),
    "a better name that says nothing usable does not win": (
        '{"level":"audit","severity":"ERROR","service":{"id":3},"app":"pay"}',
        {"level": "ERROR", "severity": "ERROR", "is_error": 1, "service": "pay"}
        | {"attributes": {"level": "audit", "service": {"id": 3}}},
    ),
    "unknown levels and texts that are none are kept": (
        '{"level":"audit","user":{"id":3},"message":["a"],"host":true}',
        {"severity": "unknown", "is_error": 0}
        | {"attributes": {"level": "audit", "user": {"id": 3}, "message": ["a"], "host": True}},
    ),
    "fields of ours that lines do not set": (
        '{"is_error":1,"format":"x","attributes":{"a":1}}',
        {"severity": "unknown", "is_error": 0, "attributes": {"is_error": 1, "format": "x"} | {"attributes": {"a": 1}}},
    ),
    "the dotted and the nested form: the dotted one wins": (
        '{"log":{"level":"info"},"log.level":"error"}',
        {"level": "ERROR", "severity": "ERROR", "is_error": 1, "attributes": {"log": {"level": "info"}}},
    ),
    "of a repeated name the last value counts": (
        '{"status":"x","status":200}',
        {"status": 200, "severity": "2xx", "is_error": 0},
    ),
    "white space around": (' \t{ "msg" : "a" }\r\n', {"message": "a", "severity": "unknown", "is_error": 0}),
}


@pytest.mark.parametrize(("line", "expected"), JSON_LINES.values(), ids=JSON_LINES)
def test_json_lines(line, expected):
    assert told(parse(line.encode())) == {"format": "json"} | expected


# --- access logs

PREFIX = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5'
PREFIX_TOLD = {"timestamp": NOON_MS, "host": "1.2.3.4", "message": "GET / HTTP/1.1", "method": "GET", "path": "/"} | {
    "protocol": "HTTP/1.1",
    "status": 200,
    "bytes": 5,
    "severity": "2xx",
    "is_error": 0,
}
ACCESS_LINES = {
    "common": (PREFIX, {"format": "common"}),
    "combined": (PREFIX + ' "r" "ua"', {"format": "combined", "referrer": "r", "user_agent": "ua"}),
    "combined, absent": (PREFIX + ' "-" ""', {"format": "combined"}),
    "line end": (PREFIX + "\r\n", {"format": "common"}),
    "escaped quotes stay in their field": (
        PREFIX + r' "a \"b\" \\" "\x22 \\\""',
        {"format": "combined", "referrer": r"a \"b\" \\", "user_agent": r"\x22 \\\""},
    ),
    "text after combined": (
        PREFIX + ' "r" "ua" "2.75" 0.003',
        {"format": "combined", "referrer": "r", "user_agent": "ua", "attributes": {"trailing": '"2.75" 0.003'}},
    ),
    "text after common": (PREFIX + " 0.003", {"format": "common", "attributes": {"trailing": "0.003"}}),
    "a quote that never ends": (PREFIX + ' "r" "u', {"format": "common", "attributes": {"trailing": '"r" "u'}}),
    "identity and user": (
        PREFIX.replace("- -", "bob ann"),
        {"format": "common", "user": "ann", "attributes": {"identity": "bob"}},
    ),
    "IPv6 and an offset": (
        PREFIX.replace("1.2.3.4", "2001:db8::1").replace("10:05:03 +0000", "03:05:03 -0700"),
        {"format": "common", "host": "2001:db8::1"},
    ),
    "bytes and status absent": (
        PREFIX.replace("200 5", "- -"),
        {"format": "common", "status": None, "bytes": None, "severity": "unknown"},
    ),
    "an error": (PREFIX.replace("200", "503"), {"format": "common", "status": 503, "severity": "5xx", "is_error": 1}),
    "ISO time": (PREFIX.replace("17/May/2015:10:05:03 +0000", "2015-05-17T10:05:03Z"), {"format": "common"}),
}
NO_PARTS = (None, None, None)
REQUESTS = [
    ("GET /a?b=c HTTP/1.1", ("GET", "/a?b=c", "HTTP/1.1")),
    ("CONNECT a:443 HTTP/1.1", ("CONNECT", "a:443", "HTTP/1.1")),
    ("OPTIONS * HTTP/2.0", ("OPTIONS", "*", "HTTP/2.0")),
    ("GET /a b HTTP/1.1", ("GET", "/a b", "HTTP/1.1")),
    ("GET /old", ("GET", "/old", None)),
    (r"\x16\x03\x01\x00", NO_PARTS),
    ("GET", NO_PARTS),
    ("POST /old", NO_PARTS),
    ("quit HTTP/1.1", NO_PARTS),
    ("a b c", NO_PARTS),
]


@pytest.mark.parametrize(("line", "expected"), ACCESS_LINES.values(), ids=ACCESS_LINES)
def test_access_lines(line, expected):
    wanted = {name: value for name, value in (PREFIX_TOLD | expected).items() if value is not None}
    assert told(parse(line.encode())) == wanted


@pytest.mark.parametrize(("request_line", "parts"), REQUESTS)
def test_a_request_line_is_kept_whole_and_taken_apart_only_if_it_is_http(request_line, parts):
    event = parse(PREFIX.replace("GET / HTTP/1.1", request_line).encode())
    assert event.message == request_line
    assert (event.method, event.path, event.protocol) == parts


@pytest.mark.parametrize("request_line", ["", "-"])
def test_an_absent_request_line_is_no_message(request_line):
    event = parse(PREFIX.replace("GET / HTTP/1.1", request_line).encode())
    assert (event.message, event.method) == (None, None)


# --- what is refused

REFUSED = [
    (b"", "empty"),
    (b" \t\r\n", "empty"),
    (b'{"message":"' + b"x" * (1 << 20) + b'"}', "too_long"),
    (b'{"message":"\xff"}', "not_utf8"),
    (b'{"\xff":1}', "not_utf8"),
    (PREFIX.encode() + b' "\xe4" "-"', "not_utf8"),
    (b"\xff\xfe", "not_utf8"),
    (b'{"message":', "invalid_json"),
    (b'{"a":1}{"a":2}', "invalid_json"),
    (b'{"a":1}\n{"a":2}', "invalid_json"),
    (b'{"a":NaN}', "invalid_json"),
    (b'{"a":1e400}', "invalid_json"),
    (b'{"a":"\\ud800"}', "invalid_json"),
    (b'{"a":' + b"9" * 5000 + b"}", "invalid_json"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "invalid_json"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "invalid_json"),
    (b'[{"a":1}]', "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"null", "not_an_object"),
    (b"[" * 100_000, "unknown_format"),
    (b"hello world", "unknown_format"),
    (b"time=1 level=info msg=logfmt", "unknown_format"),
    (PREFIX.encode() + b"\n" + PREFIX.encode(), "unknown_format"),
    (PREFIX.encode() + b' "r" "u\na"', "unknown_format"),
    (PREFIX.encode() + b"x", "unknown_format"),
    (b"www.example.org:80 " + PREFIX.encode(), "unknown_format"),
    (PREFIX.replace("- -", "- ann lee").encode(), "unknown_format"),
    (PREFIX.replace("200", "20").encode(), "unknown_format"),
    (PREFIX.replace("17/May", "30/Feb").encode(), "invalid_time"),
    (PREFIX.replace("17/May/2015:10:05:03 +0000", "-").encode(), "invalid_time"),
    (b'{"time":"yesterday"}', "invalid_time"),
    (b'{"timestamp":true}', "invalid_time"),
    (b'{"status":"OK"}', "invalid_field"),
    (b'{"status":1000}', "invalid_field"),
    (b'{"bytes":-1}', "invalid_field"),
    (b'{"latency_ms":"12ms"}', "invalid_field"),
    (PREFIX.replace("200 5", "200 " + "9" * 19).encode(), "invalid_field"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=[f"{r}-{v[:20]!a}" for v, r in REFUSED])
def test_a_line_that_cannot_be_read_is_poison_with_a_stable_reason(value, reason):
    with pytest.raises(PoisonError) as caught:
        parse(value)
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 160
    assert "\n" not in caught.value.detail


def test_every_reason_has_an_example():
    assert {reason for _, reason in REFUSED} == REASONS


def test_limits_are_inclusive():
    padding = (1 << 20) - len(b'{"message":""}')
    assert parse(b'{"message":"' + b"x" * padding + b'"}').message == "x" * padding
    assert parse(b'{"a":' * 64 + b"1" + b"}" * 64).attributes is not None
