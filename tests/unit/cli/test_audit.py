"""The audit: what it expects of hand-made streams, and that it notices every way of being wrong."""

import ast
import json
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import schema
from headrace.codec import JsonCodec, LogCodec
from headrace.records import Record, TopicPartition
from headrace.settings import Settings
from headrace_cli.audit.audit import Books, Roles, audit
from headrace_cli.audit.clicks import read_click
from headrace_cli.audit.expectation import Rules, expect_clicks
from headrace_cli.audit.landed_logs import Read, landed
from headrace_cli.audit.log_expectation import expect_logs
from headrace_cli.audit.logs import read_log
from headrace_cli.audit.quantiles import exact, settled
from headrace_cli.audit.records import (
    CAUSE_OF_REASON,
    FROM_THE_FUTURE,
    NO_VALUE,
    NOT_AN_OBJECT,
    UNREADABLE,
    WRONG_FIELD,
    Dead,
    Produced,
)
from headrace_cli.audit.times import NotRead
from headrace_cli.generator.streams import SPAN_MS, service_logs
from landing.topology import topologies as landing_topologies

ROOT = Path(__file__).parents[3]
CLI = ROOT / "cli" / "headrace_cli"
SCHEMAS = ROOT / "functions" / "schemas"
MINUTE = 60_000
ROLES = Roles("clicks", "logs")
NOON = 1_700_000_040_000
"""The start of a minute, 2023-11-14T22:14:00Z."""


def click(offset, at_ms, user="ann", page="/home", kafka_ms=NOON + 3_600_000, **more):
    fields = {"user_id": user, "page": page, "event_type": "view", "timestamp": at_ms} | more
    return Produced("clicks", 0, offset, kafka_ms, user.encode(), json.dumps(fields).encode())


def raw(value, topic="clicks", offset=0):
    return Produced(topic, 0, offset, NOON + 3_600_000, b"ann", value)


def expected(records, **rules):
    return expect_clicks(records, "clicks", Rules(**rules)).tables


# --- Independence ---


def test_the_audit_imports_only_itself_and_the_standard_library():
    for path in CLI.glob("audit*.py"):
        imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)]
        froms = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = [alias.name for node in imports for alias in node.names] + [node.module for node in froms]
        foreign = [n for n in names if n.split(".")[0] not in sys.stdlib_module_names]
        assert all(name.startswith("headrace_cli.audit.audit") for name in foreign), (path.name, foreign)


def test_importing_the_audit_loads_nothing_of_the_library():
    program = (
        "import sys, headrace_cli.audit.audit; print([n for n in sys.modules if n.partition('.')[0] == 'headrace'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


# --- What it expects ---


def test_a_minute_counts_and_sums_in_offset_order():
    tables = expected([click(0, NOON, value=0.1), click(1, NOON + 5, value=0.2), click(2, NOON + 9, value=0.3)])
    (row,) = tables["clickstream/page_minutes"]
    assert row == {
        "window_start": NOON,
        "window_end": NOON + MINUTE,
        "page": "/home",
        "event_type": "view",
        "events": 3,
        "value_sum": 0.1 + 0.2 + 0.3,
        "_topic": "clicks",
        "_partition": 0,
    }


def test_a_minute_without_values_has_no_sum():
    (row,) = expected([click(0, NOON)])["clickstream/page_minutes"]
    assert row["value_sum"] is None


def test_a_time_before_1970_is_in_the_window_below_it():
    (row,) = expected([click(0, -1)])["clickstream/page_minutes"]
    assert (row["window_start"], row["window_end"]) == (-MINUTE, 0)


@pytest.mark.parametrize(
    ("ahead_ms", "late"),
    [
        (2 * MINUTE - 1, False),  # watermark one millisecond before the window's end
        (2 * MINUTE, True),  # watermark at the window's end
    ],
)
def test_a_record_is_late_when_the_watermark_before_it_has_reached_the_end(ahead_ms, late):
    """window [NOON, NOON+60s); out of order by 60 s: it closes at the first event time NOON+120s."""
    tables = expected([click(0, NOON + ahead_ms, user="bob"), click(1, NOON, user="ann")])
    rows = [row for row in tables["clickstream/late"] if row["operator"] == "page_minutes"]
    assert len(rows) == late
    if late:
        assert rows[0]["watermark"] == NOON + MINUTE
        assert (rows[0]["window_start"], rows[0]["window_end"], rows[0]["_offset"]) == (NOON, NOON + MINUTE, 1)


def test_allowed_lateness_keeps_a_window_open():
    records = [click(0, NOON + 2 * MINUTE, user="bob"), click(1, NOON)]
    assert expected(records, allowed_lateness_ms=1)["clickstream/late"] == []


def test_a_dead_letter_moves_no_watermark():
    future = click(0, NOON + 7_200_000, user="bob")
    tables = expected([future, click(1, NOON)])
    assert tables["clickstream/late"] == []
    assert [row["cause"] for row in tables["clickstream/dead_letters"]] == [FROM_THE_FUTURE]


def sessions(records, gap_ms=10, **rules):
    rows = expected(records, session_gap_ms=gap_ms, **rules)["clickstream/sessions"]
    return sorted((row["session_start"] - NOON, row["session_end"] - NOON, row["events"]) for row in rows)


def test_an_event_exactly_one_gap_later_merges():
    assert sessions([click(0, NOON), click(1, NOON + 10)]) == [(0, 20, 2)]
    assert sessions([click(0, NOON), click(1, NOON + 11)]) == [(0, 10, 1), (11, 21, 1)]


def test_an_event_between_two_sessions_joins_them():
    """0 … 10) and 20 … 30) are two, until 10 comes: within a gap of both."""
    records = [click(0, NOON, page="/a"), click(1, NOON + 20, page="/b"), click(2, NOON + 10, page="/c")]
    assert sessions(records) == [(0, 30, 3)]
    (row,) = expected(records, session_gap_ms=10)["clickstream/sessions"]
    assert (row["first_page"], row["last_page"]) == ("/a", "/b")


def test_at_one_time_the_first_page_is_of_the_lowest_offset_and_the_last_of_the_highest():
    records = [click(0, NOON, page="/a"), click(1, NOON, page="/b"), click(2, NOON, page="/c")]
    (row,) = expected(records)["clickstream/sessions"]
    assert (row["first_page"], row["last_page"]) == ("/a", "/c")


def test_an_event_that_comes_after_its_session_closed_starts_another_or_is_late():
    """gap 10, in order: bob's 21 moves the watermark to 21 and ends ann's [0, 10)."""
    closed = [click(0, NOON), click(1, NOON + 21, user="bob")]
    assert sessions([*closed, click(2, NOON + 12)], out_of_orderness_ms=0) == [(0, 10, 1), (12, 22, 1), (21, 31, 1)]
    tables = expected([*closed, click(2, NOON + 11)], session_gap_ms=10, out_of_orderness_ms=0)
    (late,) = [row for row in tables["clickstream/late"] if row["operator"] == "sessions"]
    assert (late["window_start"], late["window_end"], late["watermark"]) == (NOON + 11, NOON + 21, NOON + 21)


def test_an_event_whose_own_session_would_be_closed_still_joins_an_open_one():
    """gap 10: at watermark 21 ann's [15, 25) is open; her 8 alone would have ended at 18, but it is within a gap."""
    records = [click(0, NOON + 15), click(1, NOON + 21, user="bob"), click(2, NOON + 8)]
    assert sessions(records, out_of_orderness_ms=0) == [(8, 25, 2), (21, 31, 1)]


def test_log_minutes_tell_sizes_latencies_and_lines_that_nothing_reads():
    lines = [b'{"service":"web","bytes":%d,"latency_ms":%d}' % (n, n) for n in range(1, 101)]
    records = [raw(line, "logs", n) for n, line in enumerate([*lines, b'{"service":"web"}', b"{"])]
    web, ann = expect_logs(records, "logs", Rules()).tables["logs/service_minutes"]
    assert (web["events"], web["unparsed"], web["bytes"]) == (101, 0, 5050)
    assert web["latency_ms"] == (("p50", 50.0), ("p95", 95.0), ("p99", 99.0))
    assert (ann["events"], ann["unparsed"], ann["bytes"], ann["latency_ms"]) == (1, 1, None, None)


def test_log_minutes_count_errors():
    lines = [b'{"timestamp":%d,"level":"%s","service":"web"}' % (NOON, level) for level in (b"INFO", b"ERROR", b"warn")]
    tables = expect_logs([raw(line, "logs", n) for n, line in enumerate(lines)], "logs", Rules()).tables
    (service,) = tables["logs/service_minutes"]
    assert (service["events"], service["errors"], service["error_ratio"]) == (3, 1, 1 / 3)
    assert {row["severity"]: row["events"] for row in tables["logs/severity_minutes"]} == {
        "INFO": 1,
        "ERROR": 1,
        "WARN": 1,
    }


def test_a_log_line_without_a_time_happened_when_kafka_got_it():
    tables = expect_logs([raw(b'{"message":"hello"}', "logs")], "logs", Rules()).tables
    (row,) = tables["logs/service_minutes"]
    assert row["window_start"] == NOON + 3_600_000
    assert row["service"] == "ann"


# --- What a payload says ---

GOOD = '{"user_id":"ann","page":"/home","event_type":"view","timestamp":1700000040000'
DEAD_CLICKS = {
    "tombstone": (None, NO_VALUE),
    "empty": (b" \n", NO_VALUE),
    "cut short": (GOOD.encode(), UNREADABLE),
    "not UTF-8": (b'{"user_id":"\xe9"}', UNREADABLE),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD.encode() + b"}", UNREADABLE),
    "control character": ((GOOD + ',"x":"\x01"}').encode(), UNREADABLE),
    "NaN": ((GOOD + ',"value":NaN}').encode(), UNREADABLE),
    "half a surrogate pair": ((GOOD + ',"referrer":"\\ud800"}').encode(), UNREADABLE),
    "deeply nested": ((GOOD + ',"x":' + "[" * 65 + "]" * 65 + "}").encode(), UNREADABLE),
    "array": (b"[1]", NOT_AN_OBJECT),
    "number": (b"17", NOT_AN_OBJECT),
    "missing": (GOOD.replace('"page":"/home",', "").encode() + b"}", WRONG_FIELD),
    "null": (GOOD.replace('"/home"', "null").encode() + b"}", WRONG_FIELD),
    "wrong type": (GOOD.replace('"ann"', "17").encode() + b"}", WRONG_FIELD),
    "time as double": (GOOD.encode() + b".0}", WRONG_FIELD),
    "time as boolean": (GOOD.replace("1700000040000", "true").encode() + b"}", WRONG_FIELD),
    "no time": (GOOD.replace("1700000040000", '"soon"').encode() + b"}", WRONG_FIELD),
    "year 10000": (GOOD.replace("1700000040000", "253402300800000").encode() + b"}", WRONG_FIELD),
    "no such day": (GOOD.replace("1700000040000", '"2023-02-30T00:00:00Z"').encode() + b"}", WRONG_FIELD),
}
LIVE_CLICKS = {
    "plain": GOOD + "}",
    "1970": GOOD.replace("1700000040000", "0") + "}",
    "value": GOOD + ',"value":1.5}',
    "number out of range": GOOD + ',"value":1e400}',
    "whole value": GOOD + ',"value":12}',
    "boolean value": GOOD + ',"value":true}',
    "text value": GOOD + ',"value":"1.5"}',
    "null value": GOOD + ',"value":null}',
    "wrong platform": GOOD + ',"platform":["a"]}',
    "unknown": GOOD + ',"a":{"b":[1,2.5,null,true]},"z":"é"}',
    "escapes": GOOD + ',"referrer":"\\ud83d\\ude00\\u0000"}',
    "twice": '{"user_id":17,' + GOOD[1:] + "}",
    "thrice, and once null": '{"user_id":17,"user_id":null,"user_id":{"a":1},' + GOOD[1:] + "}",
    "twice within": GOOD + ',"a":{"b":1,"b":[{"c":1,"c":2}]},"x.y":0,"x.y":1}',
    "twice in what came too early": '{"page":{"b":1,"b":2},' + GOOD[1:] + "}",
    "RFC 3339": GOOD.replace("1700000040000", '"2023-11-14T22:14:00.1239Z"') + "}",
    "offset": GOOD.replace("1700000040000", '"2023-11-14 23:14:00+01:00"') + "}",
    "offset without colon": GOOD.replace("1700000040000", '"2023-11-14t23:14:00-0130"') + "}",
    "no zone": GOOD.replace("1700000040000", '"2023-11-14T22:14:00"') + "}",
    "rounded microsecond": GOOD.replace("1700000040000", '"2023-11-14T22:14:00.1239996Z"') + "}",
}


@pytest.mark.parametrize("case", DEAD_CLICKS)
def test_clicks_that_must_become_dead_letters(case):
    value, cause = DEAD_CLICKS[case]
    with pytest.raises(Dead) as verdict:
        read_click(raw(value))
    assert verdict.value.cause == cause


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2023-11-14T22:14:00.1239Z", NOON + 123),
        ("2023-11-14 23:14:00+01:00", NOON),
        ("2023-11-14T22:14:00.0005Z", NOON),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_as_text(text, time_ms):
    assert read_click(raw(GOOD.replace("1700000040000", f'"{text}"').encode() + b"}"))["timestamp"] == time_ms


def test_what_has_no_column_is_rescued():
    row = read_click(raw((GOOD + ',"value":"12 EUR","colour":"red","platform":null}').encode()))
    assert (row["value"], row["platform"]) == (None, None)
    assert json.loads(row["_rescued"]) == {"value": "12 EUR", "colour": "red"}


CLICKS_CODEC = JsonCodec(schema.load(SCHEMAS / "clicks.avsc"))
LOG_CODEC = LogCodec(schema.load(SCHEMAS / "log_event.avsc"))


def comparable(row):
    """The columns as text, so that 1, 1.0 and True differ; JSON columns whatever the order of their members."""
    texts = {name: repr(value) for name, value in row.items() if name != "pattern"}
    for name in ("_rescued", "attributes"):
        if row.get(name) is not None:
            texts[name] = json.dumps(json.loads(row[name]), sort_keys=True)
    return texts


def of_library(codec, record):
    """What the library makes of a payload: the columns, or the cause of death."""
    decoded = codec.decode([Record(record.topic, 0, 0, record.timestamp_ms, key=record.key, value=record.value)])
    if decoded.poison:
        return CAUSE_OF_REASON[decoded.poison[0][1].reason]
    if decoded.continuations:
        return decoded.continuations[0][1]
    names = [field.name for field in codec.schema.fields] + (["_rescued"] if codec.rescues else [])
    row = {name: getattr(decoded.values[0], name) for name in names}
    if row.get("unparsed"):
        row["unparsed"] = CAUSE_OF_REASON[row["unparsed"].partition(":")[0]]
    return comparable(row)


def of_audit(read, record):
    try:
        found = read(record)
    except Dead as verdict:
        return verdict.cause
    return found if isinstance(found, str) else comparable(found)


@pytest.mark.parametrize("value", [v for v, _ in DEAD_CLICKS.values()] + [v.encode() for v in LIVE_CLICKS.values()])
def test_the_audit_and_the_library_read_clicks_alike(value):
    assert of_audit(read_click, raw(value)) == of_library(CLICKS_CODEC, raw(value))


ACCESS = '192.0.2.1 - - [14/Nov/2023:22:14:00 +0000] "GET /a?b=c HTTP/1.1" 200 17'
LOGS = [
    "",
    "Traceback (most recent call last):",
    '"text"',
    "{",
    '{"timestamp":1700000040000,"level":"INFO","service":"web","message":"hello"}',
    '{"ts":1700000040,"severity":"warning","logger":"a.b","msg":"m","extra":{"b":1,"a":[true,null]}}',
    '{"@timestamp":"2023-11-14T22:14:00.5+01:00","log":{"level":"err","line":3},"http":{"status":"503"}}',
    '{"level":30,"time":1700000040000123}',
    '{"level":"loud","severity":"ERROR"}',
    '{"level":true,"service":{"name":"x","version":2}}',
    '{"level":null,"message":null,"status":204.0}',
    '{"status":1000}',
    '{"status":true}',
    '{"status":"two hundred"}',
    '{"bytes":9223372036854775808}',
    '{"latency_ms":"1.25"}',
    '{"latency_ms":"fast"}',
    '{"duration_ms":3}',
    '{"timestamp":"2023-13-01"}',
    '{"timestamp":"2023-11-14"}',
    '{"timestamp":"2023-11-14T22:14"}',
    '{"timestamp":"2023-11-14T22:14:00,123456 +01"}',
    '{"timestamp":"1700000040.25"}',
    '{"timestamp":1700000040.25}',
    '{"timestamp":1700000040000000000}',
    '{"timestamp":-1}',
    '{"timestamp":0.29}',
    '{"timestamp":true}',
    '{"timestamp":99999999999999999999999}',
    '{"user":17,"host":1.5,"path":["x"]}',
    '{"x":' + "[" * 64 + "]" * 64 + "}",
    '{"http":{"version":"2","response":{"status_code":503,"bytes":7}},"event":{"duration":1500000}}',
    '{"http":{"response":{"status_code":503}},"http.response.status_code":200}',
    '{"instant":{"epochSecond":1700000040,"nanoOfSecond":7999999},"thrown":{"extendedStackTrace":"t"}}',
    '{"instant":{"epochSecond":"soon"}}',
    '{"instant":{"epochSecond":1,"more":2}}',
    '{"level":3,"short_message":"m","name":"shop","hostname":"box","pid":1}',
    '{"severityNumber":10,"severityText":"Information","body":{"stringValue":"b"},"traceId":"t","spanId":"s"}',
    '{"severityNumber":0,"levelno":40}',
    '{"took":"1h2m3.5s","request_time":"0.29","responseTime":12}',
    '{"event":"m","exception":"e","xray_trace_id":"x","latency":"300µs"}',
    '{"@t":"2023-11-14T22:14:00.1234567Z","@l":"Fatal","log":"x","duration":12}',
    '{"level":"crit","loggerName":"a.b"}',
    ACCESS,
    ACCESS + ' "https://shop.example/" "Mozilla/5.0 (X11; \\"Linux\\")"',
    ACCESS + ' "-" "-" "1.23"',
    ACCESS + " trailing words",
    ACCESS.replace("200", "-").replace("17", "-", 1),
    ACCESS.replace("- -", "ident frank"),
    ACCESS.replace("14/Nov", "31/Nov"),
    ACCESS.replace("GET /a?b=c HTTP/1.1", "GET /"),
    ACCESS.replace("GET /a?b=c HTTP/1.1", "\\x16\\x03"),
    ACCESS.replace("GET /a?b=c HTTP/1.1", "GET /with space HTTP/1.1"),
    ACCESS.replace("GET /a?b=c HTTP/1.1", "-"),
    ACCESS.replace("17", "9" * 19, 1),
    ACCESS.replace("17", "9" * 30, 1),
    ACCESS.replace("192.0.2.1", "a\tb"),
    ACCESS.replace("200", "599"),
    ACCESS.replace("200", "600"),
    'ts=2023-11-14T22:14:00.25Z level=warn service=search msg="slow upstream" latency_ms=1.25 hits=7 took=3ms',
    "level=loud status=503 a=b",
    '<131>1 2023-11-14T22:14:00.25+01:00 depot-1 shipping 812 ID7 [parcel@32473 id="17" to=""] sent',
    "<8>1 - - - - - - -",
    "2023-11-14 22:14:00,250 [worker-1] ERROR com.shop.Cart - no card",
    "java.lang.IllegalStateException: no card",
    "\tat com.shop.Cart.pay(Cart.java:7)  ",
    "Caused by: x",
    "... 3 more",
    "at last the card was accepted",
    "Exception in thread",
    "Traceback (most recent call last):",
    "\x1b[31mred\x1b[0m words",
    "\x1b[31m\x1b[0m",
]
NOT_READ = [
    ACCESS + "\n" + ACCESS,
    "[1]",
    '{"timestamp":"Tue Nov 14 22:14:00 2023"}',
    "a=1",
    'a="\\"" b=c',
    "<13>Nov 14 22:14:00 web1 sshd[7]: failed",
    "<192>1 - - - - - - x",
    '<13>1 - - - - - [a b="1" b="2"] x',
    "[2023-11-14 22:14:00,250] INFO words (kafka.Log)",
    "2023-11-14 22:14:00,250 [main] LOUD com.shop.Cart - x",
    "2 123456789010 eni-1 192.0.2.7 10.0.0.2 1 2 6 20 4249 1700000040 1700000100 REJECT OK",
    '{"messageType":"CONTROL_MESSAGE"}',
]


@pytest.mark.parametrize("line", LOGS)
def test_the_audit_and_the_library_read_log_lines_alike(line):
    record = raw(line.encode(), "logs")
    assert of_audit(read_log, record) == of_library(LOG_CODEC, record)


@pytest.mark.parametrize("line", NOT_READ)
def test_lines_that_may_have_another_reading_are_left_to_the_landed_rows(line):
    with pytest.raises(NotRead):
        read_log(raw(line.encode(), "logs"))


@pytest.mark.parametrize("seed", range(3))
def test_the_audit_and_the_library_read_the_demos_lines_alike(seed):
    for record in service_logs(2_000, seed, NOON - SPAN_MS):
        produced = Produced("logs", 0, 0, record.sent_ms, record.key, record.value)
        assert of_audit(read_log, produced) == of_library(LOG_CODEC, produced)


TRACES = st.lists(
    st.tuples(
        st.sampled_from([b"a", b"b", None]),
        st.one_of(
            st.sampled_from(["\tat a.b.C", "Caused by: x"]), st.integers(-90_000, 200_000), st.just(40_000), st.none()
        ),
    ),
    max_size=40,
)


@given(TRACES, st.integers(1, 40))
def test_the_audit_and_landing_put_stack_traces_together_alike(steps, cut):
    """Keys and what came: a line that continues, or an event so many milliseconds after noon (None: without a time)."""
    records = [
        Produced("logs", 0, offset, NOON + 150_000, key, _line(offset, step))
        for offset, (key, step) in enumerate(steps)
    ]
    logic = LANDING("logs").build(TopicPartition("logs", 0), None)
    of_kafka = [Record("logs", 0, r.offset, r.timestamp_ms, key=r.key, value=r.value) for r in records]
    for start in range(0, len(records), cut):
        logic.apply(of_kafka[start : start + cut])
    logic.tick()
    names = ("_offset", "message", "stack_trace", "format")
    library = Counter(row for rows in logic.rows if rows.table.name == "logs" for row in columns(rows, names))
    expected = expect_logs(records, "logs", Rules()).tables["landing/logs"]
    assert Counter(tuple(row[name] for name in names) for row in expected) == library


LANDING = landing_topologies(Settings(landing_codecs={"logs": "log"}))


def _line(offset, step):
    if isinstance(step, str):
        return step.encode()
    time = "" if step is None else f',"timestamp":{NOON + step}'
    return f'{{"message":"event {offset}"{time}}}'.encode()


def columns(rows, names):
    places = [[field.name for field in rows.table.fields].index(name) for name in names]
    return zip(*(rows.columns[place].to_pylist() for place in places), strict=True)


@pytest.mark.parametrize("lines", [["\tat x"] * 600, ["\t" + "x" * 400_000] * 3], ids=["lines", "characters"])
def test_a_stack_trace_without_an_end_is_cut_as_landing_cuts_it(lines):
    records = [Produced("logs", 0, n, NOON, b"a", line.encode()) for n, line in enumerate(["begin", *lines])]
    logic = LANDING("logs").build(TopicPartition("logs", 0), None)
    logic.apply([Record("logs", 0, r.offset, r.timestamp_ms, key=r.key, value=r.value) for r in records])
    logic.tick()
    names = ("_offset", "stack_trace", "message")
    library = Counter(row for rows in logic.rows if rows.table.name == "logs" for row in columns(rows, names))
    expected = expect_logs(records, "logs", Rules()).tables["landing/logs"]
    assert Counter(tuple(row[name] for name in names) for row in expected) == library


def test_sixty_five_streams_are_one_too_many():
    reads = [read_of(n, bytes([n])) for n in range(65)] + [read_of(65, bytes([0]), "\tat x")]
    rows = landed(reads)
    assert [line["format"] for _, line in rows[:2]] == ["unparsed", "continuation"]
    assert not any(line["stack_trace"] for _, line in rows)


def read_of(offset, key, text=None):
    record = Produced("logs", 0, offset, NOON, key, b"words")
    return Read(record, read_log(record) if text is None else text, NOON)


def test_of_a_minute_the_fifty_most_frequent_patterns_are_kept():
    lines = [b'{"timestamp":%d,"message":"m%02d"}' % (NOON, n) for n in range(60)] * 2 + [b'{"timestamp":%d}' % NOON]
    records = [Produced("logs", 0, n, NOON, b"a", line) for n, line in enumerate(lines)]
    patterns = [f"m{n:02}" for n in range(60)]
    rows = [{"_offset": n, "pattern": pattern} for n, pattern in enumerate(patterns * 2)]
    tables = expect_logs(records, "logs", Rules(), {"landing/logs": rows}).tables
    assert [row["pattern"] for row in tables["logs/pattern_minutes"]] == patterns[:50]
    assert {row["events"] for row in tables["logs/pattern_minutes"]} == {2}
    assert (tables["logs/new_patterns"][7]["message"], tables["logs/new_patterns"][7]["_offset"]) == ("m07", 7)
    assert [row["pattern"] for row in tables["logs/new_patterns"]] == [*patterns, None]


def test_a_pattern_is_new_once_and_again_after_a_week():
    week_ms = 7 * 86_400_000
    times = [NOON, NOON + week_ms - 1, NOON + 2 * week_ms - 1, NOON]
    records = [
        Produced("logs", 0, n, NOON + 3 * week_ms, b"a", b'{"timestamp":%d,"message":"x"}' % time_ms)
        for n, time_ms in enumerate(times)
    ]
    rows = expect_logs(records, "logs", Rules()).tables["logs/new_patterns"]
    assert [(row["_offset"], row["first_seen"]) for row in rows] == [(0, NOON), (2, NOON + 2 * week_ms - 1)]


def test_quantiles_are_the_values_that_so_many_do_not_exceed():
    assert exact([None]) is None
    assert exact([3, None, 1, 2]) == (("p50", 2), ("p95", 3), ("p99", 3))
    assert exact(range(1, 201)) == (("p50", 100), ("p95", 190), ("p99", 198))


@pytest.mark.parametrize(("found", "near"), [(128, True), (129, True), (127, True), (129.1, False), (126.9, False)])
def test_quantiles_within_one_part_in_128_are_taken_for_exact(found, near):
    wanted = [{"service": "a", "q": (("p50", 128),)}]
    (row,) = settled(wanted, [{"service": "a", "q": (("p50", found),)}], "q", ("service",))
    assert (row["q"] == (("p50", 128),)) == near


def test_bytes_that_are_no_text_make_no_log_line():
    for value in (b'{"message":"\xe9"}', b"\xff" + ACCESS.encode(), None):
        assert of_audit(read_log, raw(value, "logs")) == of_library(LOG_CODEC, raw(value, "logs"))


# --- What it notices ---


class Lake:
    """A lake in memory, made of expected rows as the functions would have published them."""

    def __init__(self, tables):
        self.tables = tables

    def places(self):
        return [place for place, rows in self.tables.items() if rows]

    def rows(self, table, topic, partition):
        return self.tables.get((table, topic, partition), [])


def correct():
    """A stream with everything in it, its correct tables and its correct books."""
    clicks = [
        click(0, NOON, value=2.5, colour="red"),
        click(1, NOON + 30_000, page="/cart"),
        raw(b"{", offset=2),
        click(3, NOON + 10 * MINUTE, user="bob"),
        click(4, NOON + 1_000, page="/late"),
        click(5, NOON + 60 * MINUTE, user="bob"),
    ]
    lines = [
        b'{"timestamp":%d,"level":"ERROR","service":"web","n":1,"latency_ms":100}' % NOON,
        b"neither\xff",
        b"2023-11-14 22:14:00,250 [worker-1] ERROR com.shop.Cart - no card",
        b"java.lang.IllegalStateException: no card",
        b"\tat com.shop.Cart.pay(Cart.java:7)",
        b"not a format",
        *[b'{"timestamp":%d,"level":"ERROR","service":"pay","message":"out"}' % (NOON + 1)] * 20,
    ]
    logs = [Produced("logs", 1, n, NOON, None, line) for n, line in enumerate(lines)]
    produced = {("clicks", 0): clicks, ("logs", 1): logs}
    tables, books = {}, []
    for (topic, number), expect in ((("clicks", 0), expect_clicks), (("logs", 1), expect_logs)):
        records = produced[topic, number]
        wanted = expect(records, topic, Rules())
        for table, rows in wanted.tables.items():
            tables[table, topic, number] = [published(row) for row in rows]
        for pipeline in ("landing", wanted.windowing):
            late = wanted.late if pipeline != "landing" else 0
            facts = (0, len(records), wanted.applied, wanted.dead, late, 0, False, False)
            books.append(Books(pipeline, topic, number, *facts))
    return produced, tables, books


def published(row):
    row = dict(row)
    if "_headers" in row:
        row["_headers"] = [{"key": name, "value": data} for name, data in row["_headers"]]
    if "cause" in row:
        cause = row.pop("cause")
        row |= {"reason": next(r for r, c in CAUSE_OF_REASON.items() if c == cause), "detail": "…"}
    return row


def verdict_of(produced, tables, books):
    return audit(produced, Lake(tables), books, ROLES, Rules())


def test_a_correct_output_is_exact():
    verdict = verdict_of(*correct())
    assert verdict.differences == []
    assert verdict.exact
    assert verdict.topics["clicks"]._asdict() == {"produced": 6, "landed": 5, "joined": 0, "dead": 1, "late": 1}
    assert verdict.topics["logs"]._asdict() == {"produced": 26, "landed": 23, "joined": 2, "dead": 1, "late": 0}
    assert verdict.as_landed == 0
    assert verdict.tables["clickstream/sessions"] == 3
    assert verdict.tables["landing/dead_letters"] == 2


def test_nothing_produced_is_not_exact():
    assert not verdict_of({}, {}, []).exact


def rows(tables, table):
    return next(found for (name, _, _), found in tables.items() if name == table)


def lose(table):
    return lambda tables: rows(tables, table).pop()


def duplicate(table):
    return lambda tables: rows(tables, table).append(rows(tables, table)[0])


def change(table, column, value, index=0):
    def corrupt(tables):
        rows(tables, table)[index] = rows(tables, table)[index] | {column: value}

    return corrupt


def move(tables):
    """A dead letter that should have been a row, and the other way round."""
    rows(tables, "landing/dead_letters")[0] = rows(tables, "landing/dead_letters")[0] | {"_offset": 0}


CORRUPTIONS = {
    "a landed row is missing": lose("landing/clicks"),
    "a landed row is there twice": duplicate("landing/clicks"),
    "a landed value is another": change("landing/clicks", "value", 2.25),
    "an unknown field was not kept": change("landing/clicks", "_rescued", None),
    "an unknown field has another type": change("landing/clicks", "_rescued", '{"colour":true}'),
    "a key was lost": change("landing/clicks", "_key", None),
    "a Kafka timestamp is another": change("landing/clicks", "_timestamp_ms", 1),
    "a log line is missing": lose("landing/logs"),
    "an attribute of a log line was lost": change("landing/logs", "attributes", None),
    "a count is wrong": change("clickstream/page_minutes", "events", 2),
    "a sum is wrong by the last digit": change("clickstream/page_minutes", "value_sum", 2.5000000000000004),
    "a minute is missing": lose("clickstream/page_minutes"),
    "a minute was given out twice": duplicate("clickstream/page_minutes"),
    "a window starts elsewhere": change("clickstream/page_minutes", "window_start", NOON - MINUTE),
    "a row has another partition": change("clickstream/page_minutes", "_partition", 3),
    "a session is missing": lose("clickstream/sessions"),
    "a session ends too early": change("clickstream/sessions", "session_end", NOON + 1),
    "a session has another last page": change("clickstream/sessions", "last_page", "/home"),
    "an error was not counted": change("logs/service_minutes", "errors", 0),
    "a ratio is wrong": change("logs/service_minutes", "error_ratio", 0.5),
    "a size is wrong": change("logs/service_minutes", "bytes", 1),
    "an unparsed line was not counted": change("logs/service_minutes", "unparsed", 7),
    "a quantile is too far off": change("logs/service_minutes", "latency_ms", {"p50": 100, "p95": 101, "p99": 100}),
    "a status class is wrong": change("logs/severity_minutes", "status_class", "2xx"),
    "a stack trace was lost": change("landing/logs", "stack_trace", None, index=1),
    "a line of a stack trace is a row, too": duplicate("landing/logs"),
    "a line has another reason to be unparsed": change("landing/logs", "unparsed", "invalid_time: x", index=2),
    "a pattern was counted twice": duplicate("logs/pattern_minutes"),
    "a pattern is not another's": change("logs/pattern_minutes", "pattern", "another"),
    "a pattern was new twice": duplicate("logs/new_patterns"),
    "a new pattern is another record's": change("logs/new_patterns", "_offset", 3),
    "an alert is missing": lose("logs/alerts"),
    "an alert was raised twice": duplicate("logs/alerts"),
    "an alert has another sample": change("logs/alerts", "samples", ["a", "b", "c"]),
    "an alert has another value": change("logs/alerts", "value", 0.5),
    "a severity is wrong": change("logs/severity_minutes", "severity", "WARN"),
    "a late row is missing": lose("clickstream/late"),
    "a late row has another watermark": change("clickstream/late", "watermark", NOON),
    "a dead letter is missing": lose("landing/dead_letters"),
    "a dead letter is there twice": duplicate("clickstream/dead_letters"),
    "a dead letter is another record's": move,
    "a dead letter has another reason": change("landing/dead_letters", "reason", "from_the_future"),
    "a dead letter lost its bytes": change("landing/dead_letters", "value", b""),
    "a header came from nowhere": change("landing/dead_letters", "_headers", [{"key": "a", "value": b"1"}]),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_it_notices_that(corruption):
    produced, tables, books = correct()
    tables = deepcopy(tables)
    CORRUPTIONS[corruption](tables)
    verdict = verdict_of(produced, tables, books)
    assert not verdict.exact
    assert verdict.differences


def test_it_says_where_and_what():
    produced, tables, books = correct()
    rows(tables, "landing/clicks").pop()
    verdict = verdict_of(produced, tables, books)
    assert verdict.difference_count == 2
    assert verdict.differences[0].startswith("clicks-0 landing/clicks: missing: _headers=(), _key=b'bob', _offset=5")
    assert verdict.differences[1] == "clicks-0: offset 5 landed 0 times, as row or dead letter"


@pytest.mark.parametrize(
    "facts",
    [
        {"next_offset": 5},
        {"base_offset": 1},
        {"applied": 4},
        {"dead": 0},
        {"late": 1},
        {"gaps": 1},
        {"unpublished": True},
        {"open_windows": True},
    ],
)
def test_it_notices_wrong_books(facts):
    produced, tables, books = correct()
    books[0] = books[0]._replace(**facts)
    verdict = verdict_of(produced, tables, books)
    assert not verdict.exact
    assert all(text.startswith("clicks-0 checkpoint of landing: ") for text in verdict.differences)


def test_it_notices_a_missing_and_a_foreign_checkpoint():
    produced, tables, books = correct()
    books[0] = books[0]._replace(partition=7)
    assert verdict_of(produced, tables, books).differences == [
        "clicks-0 checkpoint of landing: there is none",
        "clicks-7: got no record, but has a checkpoint of landing",
    ]


def test_it_notices_files_of_a_partition_that_got_nothing_and_of_an_unknown_table():
    produced, tables, books = correct()
    tables["landing/clicks", "clicks", 3] = [{"_offset": 0}]
    tables["clickstream/hours", "clicks", 0] = [{"events": 1}]
    assert sorted(verdict_of(produced, tables, books).differences) == [
        "clicks-0 clickstream/hours: not expected: events=1",
        "clicks-3: got no record, but has rows in landing/clicks",
    ]


def test_it_notices_offsets_that_the_broker_left_out():
    produced, tables, books = correct()
    produced["clicks", 0] = [r._replace(offset=r.offset + (r.offset > 1)) for r in produced["clicks", 0]]
    differences = Counter(text.partition(":")[2] for text in verdict_of(produced, tables, books).differences)
    assert differences[" the broker acknowledged offsets that do not follow one another"] == 1


def test_it_keeps_the_first_differences_and_counts_all():
    produced, tables, books = correct()
    tables["clickstream/hours", "clicks", 0] = [{"hour": hour} for hour in range(1_000)]
    verdict = verdict_of(produced, tables, books)
    assert (len(verdict.differences), verdict.difference_count) == (100, 1_000)
