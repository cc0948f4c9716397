"""No line, however made, raises anything but poison, loses a member, or takes more than linear time."""

import gc
import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import logs
from headrace.errors import PoisonError
from headrace.log_fields import NAMES
from headrace.logs import LogEvent, parse

REASONS = {"empty", "too_long", "not_utf8", "invalid_json", "not_an_object", "unknown_format"} | {
    "invalid_time",
    "invalid_field",
}
PREFIX = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5'


def outcome(value: bytes, read=parse):
    """The event, or why there is none."""
    try:
        return read(value)
    except PoisonError as poison:
        return poison.reason, poison.detail


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=5
)
LIKELY = st.sampled_from(["info", "ERROR", 30, 200, "404", 1_431_857_103, "2015-05-17T10:05:03.5Z", 1.5, 0])
USUAL_NAMES = list(logs._UsualLine.__struct_fields__)
NESTED = st.dictionaries(st.sampled_from(["level", "name", "status", "other"]), LIKELY | VALUES)
ANY_NAME = st.sampled_from([*NAMES, "log", "service", "http"]) | st.text()
OBJECTS = st.dictionaries(ANY_NAME, LIKELY | VALUES | NESTED)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(USUAL_NAMES), LIKELY | VALUES))
def test_the_fast_path_and_the_lenient_one_agree(members):
    line = msgspec.json.encode(members)
    assert outcome(line) == outcome(line, logs._any_json_event)


@settings(deadline=None, max_examples=300)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(set(USUAL_NAMES) - {"timestamp", "level", "status", "latency_ms", "bytes"}, st.text()),
            "timestamp": st.integers(-(10**20), 10**20) | st.floats(-1e20, 1e20) | st.sampled_from(["2015-05-17", "x"]),
            "level": st.sampled_from(["info", "WARNING", 10, 69]),
            "status": st.integers(-1, 1000),
            "latency_ms": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
            "bytes": st.integers(-1, 2**63),
        },
    )
)
def test_lines_that_take_the_fast_path_mean_the_same_on_the_lenient_one(members):
    line = msgspec.json.encode(members)
    logs._USUAL.decode(line)
    assert outcome(line) == outcome(line, logs._any_json_event)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.text().filter(lambda name: name not in {*NAMES, "log", "http"}), VALUES, min_size=1))
def test_unknown_members_are_all_kept(members):
    assert json.loads(parse(msgspec.json.encode(members)).attributes) == members


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(['" "', " ", "-", "a", '"', " 0.1"])).map("".join))
def test_a_line_without_a_backslash_is_read_as_one_with_a_backslash_is(rest):
    line = PREFIX + rest
    plain, escaped = logs._PLAIN_LINE.fullmatch(line), logs._ESCAPED_LINE.fullmatch(line)
    assert (plain and plain.groups()) == (escaped and escaped.groups())


FRAGMENTS = [
    *'{}[]":,\\ -',
    "\n",
    "\x00",
    "GET / HTTP/1.1",
    "17/May/2015:10:05:03 +0000",
    "1.2.3.4 - - [",
    '] "',
    '" 200 5',
]
LIKE_LINES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3)).map(lambda parts: "".join(parts).encode())


@settings(deadline=None, max_examples=500)
@given(st.binary() | LIKE_LINES | st.binary().map(lambda rest: b"{" + rest) | OBJECTS.map(msgspec.json.encode))
def test_nothing_but_poison_is_ever_raised(value):
    answer = outcome(value)
    assert isinstance(answer, LogEvent) or answer[0] in REASONS


HOSTILE = {
    "quotes": lambda n: PREFIX + ' "' * n,
    "an open quote": lambda n: PREFIX + ' "' + "a" * n,
    "backslashes": lambda n: PREFIX + ' "' + "\\" * n,
    "escaped quotes": lambda n: PREFIX + ' "' + '\\"' * n + '" "x',
    "an open request": lambda n: PREFIX.partition('"')[0] + '"' + "\\a" * n,
    "request words": lambda n: PREFIX.replace("GET /", "GET " + "/ " * n),
    "spaces": lambda n: "a" + " " * n + "a",
    "words": lambda n: "a " * n,
    "an open bracket": lambda n: "a - - [" + "1" * n,
    "brackets": lambda n: "a - - " + "[] " * n,
    "digits": lambda n: PREFIX + "5" * n,
    "a long time": lambda n: '{"time":"' + "1" * n + '"}',
    "a long fraction": lambda n: '{"time":"2015-05-17T10:05:03.' + "1" * n + '"}',
    "a long number": lambda n: '{"status":"' + "1" * n + '"}',
    "a long level": lambda n: '{"level":"' + " x" * n + '"}',
    "many members": lambda n: "{" + ",".join(f'"a{i}":{{}}' for i in range(n)) + "}",
    "many known members": lambda n: "{" + ",".join(['"log":{"level":"info"}'] * n) + "}",
    "open objects": lambda n: '{"a":' * n,
    "open lists": lambda n: "[" * n,
}


@pytest.fixture
def _without_garbage_collection():
    """The collector looks at everything that is alive: its time is not the parser's."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def cpu_seconds(line: bytes, calls: int = 10) -> float:
    start = time.process_time()
    for _ in range(calls):
        outcome(line)
    return time.process_time() - start


@pytest.mark.usefixtures("_without_garbage_collection")
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_four_times_the_line_takes_about_four_times_the_time_however_hostile(make):
    short_line, long_line = make(4_000).encode(), make(16_000).encode()
    # In turns, and the best of each: what the machine does besides can only add to a time.
    pairs = [(cpu_seconds(short_line), cpu_seconds(long_line)) for _ in range(7)]
    short, long = map(min, zip(*pairs, strict=True))
    # Linear is 4, quadratic 16, and 9 is three for each doubling; 1 ms is for what is too quick to measure.
    assert long < 9 * short + 0.001
