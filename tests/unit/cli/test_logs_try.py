"""`headrace logs try`: what it prints, how it ends, and that it takes no more memory for a larger file."""

import gzip
import io
import json
import os
import re
import sys
from collections import Counter

import pytest

from headrace_cli.main import run
from headrace_cli.trial.tally import MINUTES_KEPT, PATTERNS_COUNTED, REASONS_KEPT, Example, Largest, Reasons, Tally
from headrace_cli.trial.trial import Trial, trial_settings

MINUTE_MS = 60_000
KAFKA_MS = 1_795_773_600_000  # 2026-11-27T10:00:00Z
LINES = [
    b'{"timestamp":"2026-11-27T09:00:00Z","level":"INFO","service":"cart","message":"served","latency_ms":2.5}',
    b'192.0.2.1 - - [27/Nov/2026:09:00:01 +0000] "GET /a HTTP/1.1" 503 5',
    b"\x1b[31mwhat is this\x07?\x1b[0m",
    b'{"timestamp":"2026-11-27T09:01:00Z","level":"ERROR","service":"cart","message":"no \\u001b[2Jcard"}',
    b"java.lang.IllegalStateException: no card",
    b"\tat com.shop.Cart.pay(Cart.java:7)",
    b"",
    b"\xff\xfe",
    b'{"timestamp":"2026-11-27T09:02:00Z","level":"INFO","service":"cart","message":"served"}',
]
UNREAD = 2  # of 8: the blank line is none


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"\n".join(LINES) + b"\n")
    os.utime(path, ns=(KAFKA_MS * 1_000_000, KAFKA_MS * 1_000_000))
    return path


def try_(*arguments):
    return run(["logs", "try", *map(str, arguments)])


def objects(capsys):
    *events, counts = map(json.loads, capsys.readouterr().out.splitlines())
    return events, counts


def test_for_a_program_every_event_has_its_line_and_the_last_object_counts(log, capsys):
    assert try_(log, "--json") == 0
    events, counts = objects(capsys)
    assert {event["line"]: event.get("format", event.get("dead_letter")) for event in events} == {
        1: "json",
        2: "common",
        3: "unparsed",
        4: "json",
        8: "not_utf8",
        9: "json",
    }
    by_line = {event["line"]: event for event in events}
    assert by_line[1]["timestamp"] == "2026-11-27T09:00:00.000Z"
    assert by_line[1]["latency_ms"] == 2.5
    assert "status" not in by_line[1], "what has no value is left out"
    assert by_line[4]["stack_trace"].splitlines() == [line.decode() for line in LINES[4:6]]
    assert by_line[3]["unparsed"].startswith("unknown_format: ")
    assert counts["lines"] == 8
    assert counts["formats"] == {"json": 3, "common": 1, "unparsed": 1}
    assert (counts["continuations"], counts["late"]) == (2, 0)
    assert (sum(counts["unparsed"].values()), counts["dead_letters"]) == (1, {"not_utf8": 1})
    assert (counts["first_time"], counts["last_time"]) == ("2026-11-27T09:00:00.000Z", "2026-11-27T09:02:00.000Z")
    assert sum(row["events"] for row in counts["minutes"]) == 5
    assert min(counts["lines_per_cpu_second"].values()) > 0


def test_for_a_person_there_is_everything_and_nothing_moves_the_cursor(log, capsys):
    assert try_(log, "--rows", "2", "--key", "shop") == 0
    said = capsys.readouterr().out
    assert "8 lines, 5 events, 2026-11-27T09:00:00.000 to 2026-11-27T09:02:00.000 UTC" in said
    assert "3 json, 2 continuation, 1 common, 1 unparsed, 1 dead letter" in said
    rows = said.split("First rows")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in rows[2:]] == ["1", "2"]
    assert "GET /a HTTP/1.1" in rows[3]
    assert "shop" in rows[3]
    assert "line 3: " in said.split("Unparsed: 1")[1]
    assert "line 8: " in said.split("Dead letters: 1")[1]
    assert "2026-11-27T09:00" in said.split("Busiest minutes")[1]
    assert "CPU" not in said, "eight lines tell nothing"
    assert {char for char in said if not char.isprintable()} <= {"\n"}


def test_only_what_cannot_be_read_on_demand(log, capsys):
    assert try_(log, "--unparsed") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("3: unknown_format: ")
    assert "what is this" in first
    assert second.startswith("8: not_utf8: ")
    assert second.endswith("0xfffe")
    assert try_(log, "--unparsed", "--json") == 0
    events, counts = objects(capsys)
    assert [event["line"] for event in events] == [3, 8]
    assert counts["lines"] == 8


@pytest.mark.parametrize(("most", "status"), [("25", 0), ("24.9", 1), ("0", 1), ("100", 0)])
def test_the_exit_status_says_if_too_much_cannot_be_read(most, status, log, capsys):
    assert 100 * UNREAD / 8 == 25
    assert try_(log, "--max-unparsed", most) == status
    assert capsys.readouterr().err == ""


def test_a_line_without_a_time_comes_when_the_line_before_it_came(log, capsys):
    """Were it at the file's time, an hour later, everything after it would be late."""
    assert try_(log, "--json") == 0
    _, counts = objects(capsys)
    minutes = {(row["service"], row["window_start"]): row["events"] for row in counts["minutes"]}
    assert minutes[("logs", "2026-11-27T09:00:00.000Z")] == 2
    assert counts["tables"].get("late", 0) == 0


def test_kafkas_time_decides_what_is_from_the_future(log, capsys):
    assert try_(log, "--json", "--kafka-time", "2026-11-27T08:56:30Z") == 0
    events, counts = objects(capsys)
    assert counts["dead_letters"] == {"not_utf8": 1, "from_the_future": 1}
    (letter,) = [event for event in events if event.get("dead_letter") == "from_the_future"]
    assert letter["line"] == 9


def test_gzip_and_standard_input_are_read_as_well(tmp_path, monkeypatch, capsys):
    content = gzip.compress(b"\n".join(LINES))
    path = tmp_path / "app.log.gz"
    path.write_bytes(content)
    assert try_(path, "--json", "--kafka-time", "2026-11-27T10:00:00Z") == 0
    of_file = objects(capsys)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    assert try_("-", "--json", "--kafka-time", "2026-11-27T10:00:00Z") == 0
    of_pipe = objects(capsys)
    assert of_pipe[0] == of_file[0]
    assert of_pipe[1]["formats"] == {"json": 3, "common": 1, "unparsed": 1}


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere.log"], 1, "nowhere.log: No such file or directory"),
        ([], 2, "Missing argument 'FILE'"),
        (["LOG", "--kafka-time", "yesterday"], 2, "--kafka-time: 'yesterday' is not a time"),
        (["LOG", "--max-unparsed", "101"], 2, "--max-unparsed"),
        (["LOG", "--rows", "-1"], 2, "--rows"),
        (["LOG", "--format", "cobol"], 2, "cobol"),
        (["LOG", "--format", "vpc_flow:start start"], 2, "start start"),
    ],
)
def test_wrong_usage_is_one_line(arguments, status, message, log, capsys, monkeypatch):
    monkeypatch.chdir(log.parent)
    assert try_(*[str(log) if argument == "LOG" else argument for argument in arguments]) == status
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert message in line


def test_a_declared_format_reads_nothing_else(log, capsys):
    assert try_(log, "--format", "json", "--json") == 0
    _, counts = objects(capsys)
    assert counts["formats"] == {"json": 3, "unparsed": 2}
    assert try_(log, "--json", "--format", 'access:%h %l %u %t "%r" %>s %b') == 0
    _, counts = objects(capsys)
    assert counts["formats"] == {"access": 1, "unparsed": 4}


def test_the_first_line_of_a_flow_log_may_name_its_fields(tmp_path, capsys):
    path = tmp_path / "flows.log"
    path.write_text("version srcaddr dstaddr bytes start end\n5 192.0.2.7 10.0.0.2 17 1795773600 1795773660\n5 words\n")
    assert try_(path, "--json") == 0
    events, counts = objects(capsys)
    assert [(event["line"], event["format"], event.get("bytes")) for event in events] == [
        (2, "vpc_flow", 17),
        (3, "unparsed", None),
    ]
    assert counts["lines"] == 2
    assert try_(path) == 0
    assert "as the first line says: vpc_flow:version srcaddr dstaddr bytes start end" in capsys.readouterr().out


def test_an_empty_file_has_nothing(tmp_path, capsys):
    path = tmp_path / "empty.log"
    path.touch()
    assert try_(path, "--max-unparsed", "0") == 0
    assert "0 lines, 0 events, none with a time" in capsys.readouterr().out


def test_the_minutes_and_statuses_of_a_public_log_are_those_of_an_independent_count(shared_data, capsys):
    path = shared_data / "logs" / "apache_access_2000.log"
    lines = path.read_text().splitlines()
    assert try_(path, "--json") == 0
    events, counts = objects(capsys)
    assert counts["lines"] == counts["events"] == len(events) == len(lines)
    assert Counter(event["status"] for event in events) == Counter(
        int(line.split('" ')[1].split()[0]) for line in lines
    )
    minutes = Counter(line.split("[")[1][:17] for line in lines)  # 17/May/2015:10:05
    assert counts["tables"]["service_minutes"] == len(minutes)
    assert [row["events"] for row in counts["minutes"]] == [count for _, count in minutes.most_common(10)]
    assert try_(path) == 0
    said = capsys.readouterr().out
    assert "lines/s parsed" in said
    assert "lines/s through to aggregates" in said


@pytest.mark.parametrize(
    ("name", "formats"),
    [
        ("parse_common_log", {"common": 2}),
        ("parse_logfmt", {"logfmt": 3}),
        ("parse_nginx_log", {"combined": 3, "error_log": 1}),
        ("parse_syslog", {"syslog": 1}),
    ],
)
def test_documented_inputs_of_another_tool_are_read(name, formats, shared_data, tmp_path, capsys):
    examples = json.loads((shared_data / "logs" / "vrl" / f"{name}.json").read_text())["examples"]
    path = tmp_path / "examples.log"
    path.write_text("\n".join(documented(example["source"]) for example in examples))
    assert try_(path, "--kafka-time", "2026-11-27T10:00:00Z", "--json", "--max-unparsed", "0") == 0
    _, counts = objects(capsys)
    assert counts["formats"] == formats


def documented(source):
    r"""The first literal of an example's program: `s'raw'`, or `"with \\"escapes\\""`."""
    raw, escaped = re.search(r"s'([^']*)'|\"((?:[^\"\\]|\\.)*)\"", source).groups()
    return raw if escaped is None else escaped.replace('\\"', '"')


def test_what_is_kept_does_not_grow_with_the_file():
    reasons, largest, tally = Reasons(), Largest("events", MINUTES_KEPT), Tally()
    for number in range(1_000):
        reasons.add(f"reason_{number}", Example(number, "", ""))
    largest.add({"events": number % 977, "n": number} for number in range(10_000))
    assert len(reasons.counts) == len(reasons.examples) == REASONS_KEPT + 1
    assert reasons.counts.total() == 1_000
    assert [row["events"] for row in largest.rows()] == [976] * 10 + [975] * 10
    assert largest.rows()[0]["n"] == 976
    assert not tally.patterns_dropped


def test_patterns_that_are_too_many_to_count_leave_the_frequent_ones():
    trial = Trial(trial_settings("auto"), KAFKA_MS, key=None, events=0)
    rare = (b'{"timestamp":%d,"message":"%s"}' % (KAFKA_MS, word(number)) for number in range(PATTERNS_COUNTED + 100))
    often = (b'{"timestamp":%d,"message":"again"}' % KAFKA_MS for _ in range(50))
    for turn in trial.turns([*often, *rare]):
        assert turn.events == []
    assert trial.tally.patterns_dropped
    assert trial.tally.patterns.most_common(1) == [("again", 50)]
    assert len(trial.tally.patterns) <= PATTERNS_COUNTED


def word(number):
    """Letters only: digits would be masked."""
    return bytes(ord("a") + int(digit) for digit in str(number))
