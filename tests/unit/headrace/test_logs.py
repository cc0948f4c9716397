"""Which format a line is taken for, what becomes of the others, and what a line may say in JSON and access logs."""

import pytest
from log_events import told

from headrace.errors import ConfigurationError, PoisonError
from headrace.log_event import LogEvent
from headrace.log_formats.access import AccessLog
from headrace.log_formats.error_log import ErrorLog
from headrace.log_formats.format import Unparsable
from headrace.log_formats.logfmt import Logfmt
from headrace.logs import MAX_LINE_BYTES, Continuation, Lines, declared_format

NOON_MS = 1_431_857_103_000
"""2015-05-17T10:05:03Z"""
AUTO = Lines()


def read(line, lines=AUTO):
    return lines.read(line.encode(), NOON_MS)


# --- JSON lines

JSON_LINES = {
    "no time, no anything": ("{}", {}),
    "null is absent": ('{"timestamp":null,"level":null,"msg":null}', {}),
    "two names of one field: the better one wins, the other is kept": (
        '{"app":"root","service":"pay","msg":"b","message":"a"}',
        {"service": "pay", "message": "a", "attributes": {"app": "root", "msg": "b"}},
    ),
    "a better name that says nothing usable does not win": (
        '{"level":"audit","severity":"WARN","service":{"id":3},"app":"pay"}',
        {"severity_number": 13, "severity": "WARN", "service": "pay"}
        | {"attributes": {"level": "audit", "service": {"id": 3}}},
    ),
    "unknown levels and texts that are none are kept": (
        '{"level":"audit","user":{"id":3},"message":["a"],"hostname":true}',
        {"attributes": {"level": "audit", "user": {"id": 3}, "message": ["a"], "hostname": True}},
    ),
    "statuses, sizes and latencies that are none are kept": (
        '{"status":"OK","bytes":-1,"latency_ms":"12 apples","status_code":1000}',
        {"attributes": {"status": "OK", "bytes": -1, "latency_ms": "12 apples", "status_code": 1000}},
    ),
    "a size beyond 64 bits is kept": ('{"bytes":9223372036854775808}', {"attributes": {"bytes": 2**63}}),
    "fields of ours that lines do not set": (
        '{"is_error":1,"format":"x","attributes":{"a":1},"pattern":"p","unparsed":"u"}',
        {"attributes": {"is_error": 1, "format": "x", "attributes": {"a": 1}, "pattern": "p", "unparsed": "u"}},
    ),
    "the dotted and the nested form: the dotted one wins": (
        '{"log":{"level":"info"},"log.level":"warn"}',
        {"severity_number": 13, "severity": "WARN", "attributes": {"log": {"level": "info"}}},
    ),
    "three levels, of which the others stay": (
        '{"http":{"version":"2","response":{"status_code":404,"mime":"a/b"}}}',
        {"status": 404, "status_class": "4xx", "attributes": {"http": {"version": "2", "response": {"mime": "a/b"}}}},
    ),
    "of a repeated name the last value counts": ('{"status":"x","status":200}', {"status": 200, "status_class": "2xx"}),
    "white space around": (' \t{ "msg" : "a" }\r\n', {"message": "a"}),
    "OpenTelemetry's 0 is no time": (
        '{"timeUnixNano":"0","observedTimeUnixNano":"1431864000000000000"}',
        {"timestamp": 1_431_864_000_000, "attributes": {"timeUnixNano": "0"}},
    ),
    "no instant of log4j's": ('{"instant":{"epochSecond":"1"}}', {"attributes": {"instant": {"epochSecond": "1"}}}),
}


@pytest.mark.parametrize(("line", "expected"), JSON_LINES.values(), ids=JSON_LINES)
def test_json_lines(line, expected):
    assert told(read(line)) == {"format": "json"} | expected


# --- access logs

PREFIX = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5'
PREFIX_TOLD = {"timestamp": NOON_MS, "host": "1.2.3.4", "message": "GET / HTTP/1.1", "method": "GET", "path": "/"} | {
    "protocol": "HTTP/1.1",
    "status": 200,
    "status_class": "2xx",
    "bytes": 5,
}
ACCESS_LINES = {
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
    "IPv6 and an offset": (
        PREFIX.replace("1.2.3.4", "2001:db8::1").replace("10:05:03 +0000", "03:05:03 -0700"),
        {"format": "common", "host": "2001:db8::1"},
    ),
    "bytes and status absent": (
        PREFIX.replace("200 5", "- -"),
        {"format": "common", "status": None, "status_class": None, "bytes": None},
    ),
    "a status of no class": (
        PREFIX.replace("200", "999"),
        {"format": "common", "status": 999, "status_class": None} | {"is_error": 1},
    ),
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
    assert told(read(line)) == wanted


@pytest.mark.parametrize(("request_line", "parts"), REQUESTS)
def test_a_request_line_is_kept_whole_and_taken_apart_only_if_it_is_http(request_line, parts):
    event = read(PREFIX.replace("GET / HTTP/1.1", request_line))
    assert event.message == request_line
    assert (event.method, event.path, event.protocol) == parts


@pytest.mark.parametrize("request_line", ["", "-"])
def test_an_absent_request_line_is_no_message(request_line):
    event = read(PREFIX.replace("GET / HTTP/1.1", request_line))
    assert (event.message, event.method) == (None, None)


# --- text that no format reads

UNPARSED = [
    ('{"message":', "invalid_json"),
    ('{"a":1}{"a":2}', "invalid_json"),
    ('{"a":1}\n{"a":2}', "invalid_json"),
    ('{"a":NaN}', "invalid_json"),
    ('{"a":1e400}', "invalid_json"),
    (r'{"a":"\ud800"}', "invalid_json"),
    ('{"a":' + "9" * 5000 + "}", "invalid_json"),
    ('{"a":' * 65 + "1" + "}" * 65, "invalid_json"),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, "invalid_json"),
    ('[{"a":1}]', "unknown_format"),
    ('"text"', "unknown_format"),
    ("null", "unknown_format"),
    ("[" * 100_000, "unknown_format"),
    ("hello world", "unknown_format"),
    ("retrying in 5 seconds attempt=3", "unknown_format"),
    (PREFIX + "\n" + PREFIX, "unknown_format"),
    (PREFIX + ' "r" "u\na"', "unknown_format"),
    (PREFIX + "x", "unknown_format"),
    ("www.example.org:80 " + PREFIX, "unknown_format"),
    (PREFIX.replace("- -", "- ann lee"), "unknown_format"),
    (PREFIX.replace("200", "20"), "unknown_format"),
    (PREFIX.replace("200 5", "200 " + "9" * 19), "unknown_format"),
    (PREFIX.replace("200 5", "200 5k"), "unknown_format"),
    (PREFIX.replace("17/May", "30/Feb"), "invalid_time"),
    (PREFIX.replace("17/May/2015:10:05:03 +0000", "-"), "invalid_time"),
    ('{"time":"yesterday"}', "invalid_time"),
    ('{"timestamp":true}', "invalid_time"),
    ("level=info time=2015-02-30", "invalid_time"),
    ("2015/02/30 10:05:03 [error] 1#2: no", "invalid_time"),
    ("[Sun Feb 30 10:05:03 2015] [error] no", "invalid_time"),
]


@pytest.mark.parametrize(("line", "reason"), UNPARSED, ids=[f"{r}-{v[:20]!a}" for v, r in UNPARSED])
def test_text_that_no_format_reads_is_an_event_that_says_why(line, reason):
    event = read(line)
    assert told(event) == {"format": "unparsed", "is_unparsed": 1, "message": line, "unparsed": event.unparsed}
    assert event.unparsed.startswith(f"{reason}: ")
    assert len(event.unparsed) < 160
    assert "\n" not in event.unparsed


# --- what is no text

REFUSED = [
    (b"", "empty"),
    (b" \t\r\n", "empty"),
    (b"\x1b[0m", "empty"),
    (b'{"message":"' + b"x" * MAX_LINE_BYTES + b'"}', "too_long"),
    (b'{"message":"\xff"}', "not_utf8"),
    (b'{"\xff":1}', "not_utf8"),
    (PREFIX.encode() + b' "\xe4" "-"', "not_utf8"),
    (b"  at caf\xe9", "not_utf8"),
    (b"\xff\xfe", "not_utf8"),
    (b"\x00\x80", "not_utf8"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=[f"{r}-{v[:20]!a}" for v, r in REFUSED])
def test_what_is_no_text_of_at_most_a_mebibyte_is_poison(value, reason):
    with pytest.raises(PoisonError) as caught:
        AUTO.read(value, NOON_MS)
    assert caught.value.reason == reason
    assert len(caught.value.detail) < 160


def test_limits_are_inclusive():
    padding = MAX_LINE_BYTES - len(b'{"message":""}')
    assert read('{"message":"' + "x" * padding + '"}').message == "x" * padding
    assert read('{"a":' * 64 + "1" + "}" * 64).attributes is not None


# --- colours


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("\x1b[32mlevel=info\x1b[0m msg=\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[38;5;196mlevel=info msg=red\x1b[K\x1b[m", "red"),
        ("\x1b]0;title\x07level=info msg=red", "red"),
        ("\x1b]8;;http://a.example\x1b\\level=info msg=red", "red"),
        ('{"level":"info","msg":"\x1b[31mred\x1b[0m"}', "red"),
        (r'{"level":"info","msg":"\u001b[31mred"}', "\x1b[31mred"),
    ],
)
def test_control_sequences_of_terminals_are_taken_out(line, message):
    event = read(line)
    assert (event.severity, event.message) == ("INFO", message)


# --- lines that continue others

CONTINUATIONS = [
    "\tat com.shop.Cart.add(Cart.java:7)",
    "    at Object.<anonymous> (/srv/a.js:1:1)",
    "at com.shop.Cart.add(Cart.java:7)",
    "Caused by: java.io.IOException: gone",
    "Suppressed: java.io.IOException: gone",
    "at async Promise.all (index 0)",
    "at new Cart (/srv/a.js:1:1)",
    "at add (/srv/a.js:1:1)",
    "at file:///srv/a.mjs:1:1",
    "... 12 more",
    "... 3 common frames omitted",
    "java.lang.IllegalStateException: no card",
    "com.shop.Cart$Full_Error",
    "java.lang.Exception\n\tat a.B.c(B.java:1)",
    '  File "a.py", line 1, in b',
    " level=info",
]
BEGINNINGS = [
    "at first nothing was wrong",
    "at 10:00 we began",
    "at last: done",
    "java.lang.Exceptional: x",
    "IOException: x",
    "at",
    "...",
    "attack",
    "Caused by",
    "a.b.Error=1 c=2",
]


@pytest.mark.parametrize("line", CONTINUATIONS)
def test_a_line_that_begins_as_those_of_stack_traces_do_continues_another(line):
    assert read(line + "\n") == Continuation(line)


@pytest.mark.parametrize("line", BEGINNINGS)
def test_other_text_does_not(line):
    assert isinstance(read(line), LogEvent)


def test_in_a_declared_format_a_line_that_has_the_format_is_an_event_however_it_begins():
    logfmt = Lines("logfmt")
    assert read(" level=info", logfmt).severity == "INFO"
    assert read("\tat a.B.c(B.java:1)", logfmt) == Continuation("\tat a.B.c(B.java:1)")
    assert read("hello", logfmt).unparsed == "unknown_format: no logfmt: 'hello'"


# --- declared formats


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ("xml", "log format 'xml' is none of auto, json, logfmt, access, error_log, syslog, vpc_flow, java_text"),
        ("json:x", "log format 'json' has no parameters, so not 'x'"),
        ("access:hello", "access log format 'hello' has no directive (%h) or variable ($status)"),
        ("access:%h%u", "access log format '%h%u': nothing tells remote_host from user"),
        ("access:%h %h", "access log format '%h %h': remote_host comes twice"),
        ("access:%h %", "access log format '%h %': what is '%'?"),
        ("access:%h %y", "access log format: there is no directive %y"),
        ("access:%h %{x}y", "access log format: there is no directive %{x}y"),
        ("access:%h %{%H:%M}t", "access log format: times like '10:05' (of '%H:%M') cannot be read"),
        ("access:$status $", "access log format '$status $': what is '$'?"),
        ("vpc_flow:a!", "a flow log has no field 'a!'"),
    ],
)
def test_what_cannot_be_declared_is_told(declared, problem):
    with pytest.raises(ConfigurationError) as caught:
        Lines(declared)
    assert str(caught.value).startswith(problem)


def test_the_formats_without_parameters_are_declared_by_their_names():
    assert isinstance(declared_format("error_log"), ErrorLog)
    assert isinstance(Lines("json").read(b'{"a":1}', 0), LogEvent)
    assert read("level=info", Lines("json")).is_unparsed == 1


CUSTOM = {
    "Apache's combined with what is behind it": (
        r"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %D %{X-Request-Id}o",
        r'1.2.3.4 - ann [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "a \"b\"" 1500 7f',
        PREFIX_TOLD
        | {"user": "ann", "user_agent": r"a \"b\"", "latency_ms": 1.5, "attributes": {"X-Request-Id": "7f"}},
    ),
    "a virtual host first": (
        '%v:%p %h %l %u %t "%r" %>s %O %{ms}T',
        'a.example:443 1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 12',
        PREFIX_TOLD | {"latency_ms": 12.0, "attributes": {"server_name": "a.example", "port": 443}},
    ),
    "strftime": (
        "%{%Y-%m-%d %T}t %a %m %U%q %H %!200,304s %B 100%%",
        "2015-05-17 10:05:03 1.2.3.4 GET / HTTP/1.1 200 5 100%",
        PREFIX_TOLD,
    ),
    "an epoch of microseconds": (
        "%{usec}t %r",
        "1431857103000000 GET / HTTP/1.1",
        {name: PREFIX_TOLD[name] for name in ("timestamp", "message", "method", "path", "protocol")},
    ),
    "nginx's variables, numbers and lists of upstream servers": (
        (
            '$remote_addr - ${remote_user} [$time_local] "$request" $status $body_bytes_sent $request_time '
            "$upstream_addr $upstream_status $connection [$host] $request_id"
        ),
        (
            '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 0.015 '
            "10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80 502, 502 : 200 7 [a.example] 00e1"
        ),
        PREFIX_TOLD
        | {"latency_ms": 15.0}
        | {
            "attributes": {
                "upstream_addr": "10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80",
                "upstream_status": "502, 502 : 200",
            }
            | {"connection": 7, "host": "a.example", "request_id": "00e1"}
        },
    ),
    "what is not there": (
        "$remote_addr $status $body_bytes_sent $request_time [$time_iso8601] $upstream_response_time",
        "1.2.3.4 - - - [2015-05-17T10:05:03+00:00] -",
        {"timestamp": NOON_MS, "host": "1.2.3.4"},
    ),
    "the second of two values of one field is an attribute": (
        "$remote_addr $body_bytes_sent $bytes_sent",
        "1.2.3.4 5 230",
        {"host": "1.2.3.4", "bytes": 5, "attributes": {"bytes_sent": 230}},
    ),
}


@pytest.mark.parametrize(("format_string", "line", "expected"), CUSTOM.values(), ids=CUSTOM)
def test_a_format_string_reads_what_it_wrote(format_string, line, expected):
    assert told(read(line, Lines(f"access:{format_string}"))) == {"format": "access"} | expected


@pytest.mark.parametrize(
    "line",
    ["", "1.2.3.4 200", "1.2.3.4  200 5", "1.2.3.4 200 5 6", "1.2.3.4 OK 5", "1.2.3.4 200 5\n", "x\n1.2.3.4 200 5"],
)
def test_a_format_string_reads_nothing_else(line):
    with pytest.raises(Unparsable, match=r"^unknown_format: "):
        AccessLog("%h %s %b").parse(line.encode(), 0)


# --- logfmt


@pytest.mark.parametrize(
    "line", ["", "a", "a b=1 c", '"a', 'a="b', 'a="b"c', "=1", "a=1 =2", 'a=b"c"', "a==" + '"', "x y z w=1"]
)
def test_what_is_no_logfmt(line):
    with pytest.raises(Unparsable, match=r"^unknown_format: "):
        Logfmt().parse(line.encode(), 0)


def test_of_a_repeated_key_the_last_value_counts():
    assert told(Logfmt().parse(b"a=1 a=2\nb=3", 0)) == {"format": "logfmt", "attributes": {"a": "2", "b": "3"}}
