"""Java's log text as it is found, beside the examples of the format."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_events import told

from headrace.log_formats import java_text
from headrace.log_formats.format import EXAMPLES_KAFKA_MS, Unparsable
from headrace.log_formats.java_text import JavaText

TIME = "2026-11-27 10:00:00,000"


def parse(line, kafka_ms=EXAMPLES_KAFKA_MS):
    return JavaText().parse(line.encode(), kafka_ms)


@pytest.mark.parametrize(
    ("line", "message", "attributes"),
    [
        (f"{TIME} INFO x", "x", None),
        (f"{TIME} INFO", None, None),
        (f"{TIME} INFO: x: y", "x: y", None),
        (f"{TIME} [INFO] root: x", "root: x", None),
        (f"{TIME} [info     ] x   key=value", "x   key=value", None),
        (f"[{TIME}][info][gc,start    ] GC(0) Pause", "GC(0) Pause", {"logger": "gc,start"}),
        (f"[{TIME}][INFO ][a.B] [node-1] x", "[node-1] x", {"logger": "a.B"}),
        (f"[{TIME}] INFO: x", "x", None),
        (f"{TIME} [a] [b] INFO com.Foo - x", "x", {"thread": "b", "logger": "com.Foo"}),
        (f"{TIME} INFO [a] Foo - x - y", "x - y", {"thread": "a", "logger": "Foo"}),
        (f"{TIME} INFO took: 5 ms", "took: 5 ms", None),
        (f"{TIME} INFO com.Foo: took: 5 ms", "took: 5 ms", {"logger": "com.Foo"}),
        (f"{TIME} INFO [a] not a logger - x", "not a logger - x", {"thread": "a"}),
        (f"[{TIME}] INFO Ready (x y)", "Ready (x y)", None),
        (f"[{TIME}] INFO Ready (a.B)\n\tat c.D(D.java)", "Ready", {"logger": "a.B"}),
        (
            f"{TIME} INFO 7 --- [main] o.a.C.[.[.[/].[a]    : x",
            "x",
            {"thread": "main", "pid": 7, "logger": "o.a.C.[.[.[/].[a]"},
        ),
        (f"{TIME} INFO 7 --- [main] c.Foo   : x", "x", {"thread": "main", "pid": 7, "logger": "c.Foo"}),
    ],
)
def test_thread_logger_and_message_are_told_apart(line, message, attributes):
    fields = told(parse(line))
    assert fields["timestamp"] == EXAMPLES_KAFKA_MS
    assert (fields.get("message"), fields.get("attributes")) == (message, attributes)


PIECES = [
    "[a] ",
    "[ ] ",
    "[a b]",
    "INFO ",
    "ERROR  ",
    "com.Foo ",
    "Foo ",
    "- ",
    " - ",
    ": ",
    "x.y",
    "\n",
    "1 --- ",
    "(",
]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.booleans())
def test_the_usual_line_means_the_same_to_the_pattern_of_all_lines(rest, whole):
    line = f"{TIME} {'[a] INFO com.Foo - ' if whole else ''}{rest}"
    usual, general = java_text._USUAL.match(line), java_text._PLAIN.match(line)
    if usual is not None and usual[3].strip():
        assert general is not None
        assert parse(line) == java_text._plain(general, EXAMPLES_KAFKA_MS)


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("TRACE", 1),
        ("FINEST", 1),
        ("DEBUG", 5),
        ("INFO", 9),
        ("WARN", 13),
        ("WARNING", 13),
        ("ERROR", 17),
        ("FATAL", 21),
    ],
)
def test_levels(word, number):
    assert parse(f"{TIME} {word} [main] com.Foo - x").severity_number == number


@pytest.mark.parametrize(
    ("clock", "after_ten_ms"),
    [
        ("09:59:59.999", -1),
        ("10:00:00.001", 1),
        ("21:59:59,000", 12 * 3_600_000 - 1000),
        ("22:00:01", 1000 - 12 * 3_600_000),
    ],
)
def test_a_time_of_day_is_of_the_day_that_brings_it_closest_to_kafkas(clock, after_ten_ms):
    assert parse(f"{clock} [main] INFO com.Foo - x").timestamp == EXAMPLES_KAFKA_MS + after_ten_ms


@pytest.mark.parametrize(
    ("written", "hour"), [("12:30:00 AM", 0), ("1:30:00 AM", 1), ("12:30:00 PM", 12), ("11:30:00 PM", 23)]
)
def test_java_util_logging_counts_twelve_hours(written, hour):
    midnight_ms = EXAMPLES_KAFKA_MS - 10 * 3_600_000
    event = parse(f"Nov 27, 2026 {written} com.Foo run\nWARNING: x")
    assert event.timestamp == midnight_ms + hour * 3_600_000 + 30 * 60_000
    assert (event.severity_number, event.message, event.stack_trace) == (13, "x", None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{TIME} GET /index.html", "unknown_level"),
        (f"{TIME} hello", "unknown_format"),
        (f"{TIME} [main] hello", "unknown_level"),
        ("2026-02-30 10:00:00 INFO x", "invalid_time"),
        ("2026-11-27 10:61:00 INFO x", "invalid_time"),
        ("[2026-11-27] INFO x", "unknown_format"),
        ("Foo 27, 2026 1:30:00 AM com.Foo run\nINFO: x", "unknown_format"),
        (f"{TIME} INFORMATIONAL x", "unknown_format"),
    ],
)
def test_what_cannot_be_read_says_why(line, reason):
    with pytest.raises(Unparsable) as caught:
        parse(line)
    assert caught.value.reason == reason
