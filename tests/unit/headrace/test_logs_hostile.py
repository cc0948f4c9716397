"""No line, however made, raises anything but poison, loses a member, or takes more than linear time."""

import gc
import importlib
import json
import pkgutil
import re
import time
from re import _constants as opcodes  # the parser that the compiler has: it knows what a pattern means
from re import _parser

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import event_time, log_fields, log_formats, logs
from headrace.errors import PoisonError
from headrace.log_event import LogEvent
from headrace.log_fields import NAMES
from headrace.log_formats import access, error_log, java_text, json_lines, lambda_text, logfmt, syslog, vpc_flow
from headrace.log_formats.access_format import AccessFormat
from headrace.log_formats.format import EXAMPLES_KAFKA_MS, Unparsable
from headrace.logs import Continuation, Lines

REASONS = {"empty", "too_long", "not_utf8", "damaged_gzip", "too_large", "no_subscription"}
PREFIX = '1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5'
LINES = Lines()


def parse(value: bytes):
    return LINES.read(value, EXAMPLES_KAFKA_MS)


def outcome(value: bytes, read=parse):
    """The event, or why there is none."""
    try:
        return read(value)
    except (PoisonError, Unparsable) as error:
        return error.reason, error.detail


# --- the two ways through JSON

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=5
)
LIKELY = st.sampled_from(["info", "ERROR", 30, 200, "404", 1_431_857_103, "2015-05-17T10:05:03.5Z", 1.5, 0])
USUAL_NAMES = list(json_lines._UsualLine.__struct_fields__)
NESTED = st.dictionaries(st.sampled_from(["level", "name", "status", "other", "response", "request"]), LIKELY | VALUES)
ANY_NAME = st.sampled_from([*NAMES, "log", "service", "http", "url", "client"]) | st.text()
OBJECTS = st.dictionaries(ANY_NAME, LIKELY | VALUES | NESTED)


def usually(line: bytes):
    return json_lines.JsonLines().parse(line, 0)


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(USUAL_NAMES), LIKELY | VALUES))
def test_the_fast_path_and_the_lenient_one_agree(members):
    line = msgspec.json.encode(members)
    assert outcome(line, usually) == outcome(line, json_lines._any_event)


@settings(deadline=None, max_examples=300)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(set(USUAL_NAMES) - {"timestamp", "level", "status", "latency_ms", "bytes"}, st.text()),
            "timestamp": st.integers(-(10**20), 10**20) | st.floats(-1e20, 1e20) | st.sampled_from(["2015-05-17", "x"]),
            "level": st.sampled_from(["info", "WARNING", 10, 69, 3]),
            "status": st.integers(-1, 1000),
            "latency_ms": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
            "bytes": st.integers(-1, 2**63),
        },
    )
)
def test_lines_that_take_the_fast_path_mean_the_same_on_the_lenient_one(members):
    line = msgspec.json.encode(members)
    json_lines._USUAL.decode(line)
    assert outcome(line, usually) == outcome(line, json_lines._any_event)


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.text().filter(lambda name: name not in {*NAMES, *json_lines._NESTED, "messageType"}), VALUES, min_size=1
    )
)
def test_unknown_members_are_all_kept(members):
    assert json.loads(parse(msgspec.json.encode(members)).attributes) == members


@settings(deadline=None, max_examples=300)
@given(OBJECTS)
def test_no_member_of_a_line_is_lost(members):
    """Every leaf is in a field or in an attribute."""
    line = msgspec.json.encode(members)
    event = outcome(line, usually)
    if not isinstance(event, LogEvent):
        return
    fields = {name for name in LogEvent.__struct_fields__ if getattr(event, name) is not None}
    taken = fields - {"format", "severity_number", "severity", "status_class", "is_error", "is_unparsed", "attributes"}
    taken |= {"severity_number"} if event.severity_number else set()
    assert leaves(members) == leaves(json.loads(event.attributes or "{}")) + len(taken)


def leaves(value) -> int:
    """How many values are in it that are no boxes of others, the nulls of known names apart."""
    if isinstance(value, dict):
        return sum(leaves(item) for name, item in value.items() if item is not None or name not in NAMES)
    return 1


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(['" "', " ", "-", "a", '"', " 0.1"])).map("".join))
def test_a_line_without_a_backslash_is_read_as_one_with_a_backslash_is(rest):
    line = PREFIX + rest
    plain, escaped = access._PLAIN_LINE.fullmatch(line), access._ESCAPED_LINE.fullmatch(line)
    assert (plain and plain.groups()) == (escaped and escaped.groups())


# --- anything at all

FRAGMENTS = [
    *'{}[]":,\\ -<>=#\t',
    "\n",
    "\x00",
    "\x1b[31m",
    "\x1f\x8b",
    "GET / HTTP/1.1",
    "17/May/2015:10:05:03 +0000",
    "2015/05/17 10:05:03 [error] ",
    "[Sun May 17 10:05:03 2015] [",
    "2015-05-17 10:05:03,250 ",
    "<34>1 ",
    "INFO ",
    "level=",
    "1.2.3.4 - - [",
    '] "',
    '" 200 5',
]
LIKE_LINES = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3)).map(lambda parts: "".join(parts).encode())


@settings(deadline=None, max_examples=500)
@given(st.binary() | LIKE_LINES | st.binary().map(lambda rest: b"{" + rest) | OBJECTS.map(msgspec.json.encode))
def test_nothing_but_poison_is_ever_raised(value):
    answer = outcome(value)
    assert isinstance(answer, LogEvent | Continuation) or answer[0] in REASONS


@settings(deadline=None, max_examples=300)
@given(LIKE_LINES)
def test_text_is_never_poison(value):
    if value.startswith(b"\x1f\x8b") or not logs._ANSI.sub(b"", value).strip():
        return
    assert isinstance(parse(value), LogEvent | Continuation)


# --- linear time: what the patterns are made of

MODULES = [
    *(event_time, log_fields, logs),
    *(
        importlib.import_module(f"{log_formats.__name__}.{found.name}")
        for found in pkgutil.iter_modules(log_formats.__path__)
    ),
]
CUSTOM = '%h %l %u %{%F %T}t "%r" %>s %b "%{Referer}i" %D', '$remote_addr [$time_local] "$request" $upstream_addr $x'
PATTERNS = {
    **{
        f"{module.__name__}.{name}": pattern
        for module in MODULES
        for name, pattern in vars(module).items()
        if isinstance(pattern, re.Pattern)
    },
    **{format_string: AccessFormat(format_string)._pattern for format_string in CUSTOM},
}
FEW = 64
"""What a repeat that gives back may repeat at most: it costs a factor, whatever the line."""


def generous(tree) -> list:
    """Repeats without a small bound that give back what they took: only these can make a search try again for ever."""
    found = []
    for opcode, argument in tree:
        if opcode in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT) and argument[1] > FEW:
            found.append((opcode, argument[0], argument[1]))
        for part in argument if isinstance(argument, tuple | list) else (argument,):
            for branch in part if isinstance(part, list) else (part,):
                if isinstance(branch, _parser.SubPattern):
                    found += generous(branch)
    return found


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_no_part_of_a_pattern_gives_back_more_than_a_little(pattern):
    assert generous(_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)) == []


def test_the_check_of_patterns_sees_what_it_is_for():
    for bad in ("a*", "(a+)+", "x(?:a|b*)", "(?:a.*b)?", "(?=a*)", "(?>a*b)"):
        assert generous(_parser.parse(bad))
    for good in ("a*+", "a{1,9}", "(?:a++b)*+", "[^a]?"):
        assert not generous(_parser.parse(good))
    assert len(PATTERNS) > 25


# --- linear time: measured

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
    "a long duration": lambda n: '{"took":"' + "1h" * n + '!"}',
    "many members": lambda n: "{" + ",".join(f'"a{i}":{{}}' for i in range(n)) + "}",
    "many known members": lambda n: "{" + ",".join(['"log":{"level":"info"}'] * n) + "}",
    "open objects": lambda n: '{"a":' * n,
    "open lists": lambda n: "[" * n,
    "packages": lambda n: "a." * n + "Exceptional",
    "colours": lambda n: "level=info \x1b[" + "1;" * n,
    "titles": lambda n: "level=info " + "\x1b]" * n,
    "pairs": lambda n: "a=b " * n,
    "open pairs": lambda n: 'a="b ' * n,
    "nginx's context": lambda n: "2015/05/17 10:05:03 [error] 1#2: x, client: a" + ', host: "' * n,
}


@pytest.fixture
def _without_garbage_collection():
    """The collector looks at everything that is alive: its time is not the parser's."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def cpu_seconds(line: bytes, read=parse, calls: int = 10) -> float:
    start = time.process_time()
    for _ in range(calls):
        outcome(line, read)
    return time.process_time() - start


def is_about_linear(make, read=parse) -> bool:
    short_line, long_line = make(4_000).encode(), make(16_000).encode()
    # In turns, and the best of each: what the machine does besides can only add to a time.
    pairs = [(cpu_seconds(short_line, read), cpu_seconds(long_line, read)) for _ in range(7)]
    short, long = map(min, zip(*pairs, strict=True))
    # Linear is 4, quadratic 16, and 9 is three for each doubling; 1 ms is for what is too quick to measure.
    return long < 9 * short + 0.001


@pytest.mark.usefixtures("_without_garbage_collection")
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_four_times_the_line_takes_about_four_times_the_time_however_hostile(make):
    assert is_about_linear(make)


FORMATS = {
    "json": (json_lines.JsonLines(), json_lines.EXAMPLES),
    "logfmt": (logfmt.Logfmt(), logfmt.EXAMPLES),
    "access": (access.AccessLog(), access.EXAMPLES),
    "Apache's format string": (access.AccessLog(CUSTOM[0]), [('a - b 2015-05-17 10:05:03 "d" 200 5 "e" 1', {})]),
    "nginx's format string": (access.AccessLog(CUSTOM[1]), [('a [b c] "d" 10.0.0.1:80, 10.0.0.2:80 e', {})]),
    "error_log": (error_log.ErrorLog(), error_log.EXAMPLES),
    "syslog": (syslog.Syslog(), syslog.EXAMPLES),
    "vpc_flow": (vpc_flow.VpcFlow(), vpc_flow.EXAMPLES),
    "java_text": (java_text.JavaText(), java_text.EXAMPLES),
    "lambda_text": (lambda_text.LambdaText(), lambda_text.EXAMPLES),
}
REPEATED = ["a", "1", " ", '"', "\\", '\\"', "[", "[]", "(", "a.", "a=", ": ", ", ", " - ", "\n", "A "]
MOST_CUTS = 12
"""Places of an example at which it is cut and goes on with something repeated."""
SUSPICIOUS_S = 0.004
"""CPU time for a line of 16 KB that a pass or two do not need: then it is measured again, with care."""


@pytest.mark.usefixtures("_without_garbage_collection")
@pytest.mark.parametrize(("format_", "examples"), FORMATS.values(), ids=FORMATS)
def test_no_format_takes_more_than_linear_time_for_anything_that_begins_as_its_lines_do(format_, examples):
    def read(line):
        return format_.parse(line, EXAMPLES_KAFKA_MS)

    for line, _ in examples:
        cuts = [match.end() for match in re.finditer(r"\W+", line)]
        for cut in cuts[:: len(cuts) // MOST_CUTS + 1]:
            for repeated in REPEATED:

                def make(n, begin=line[:cut], repeated=repeated):
                    return begin + repeated * (n // len(repeated)) + "!"

                value = make(16_000).encode()
                assert cpu_seconds(value, read, calls=1) < SUSPICIOUS_S or is_about_linear(make, read), value[:120]
