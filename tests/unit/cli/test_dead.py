"""`headrace dead list` and `show` on a folder: what they print, and how they refuse."""

import base64
import json

import pytest
from letters import NOON_MS, dead, late, publish, record

from headrace.lake import HOUR_MS
from headrace.objects import open_lake
from headrace_cli.commands import dead_text
from headrace_cli.dead.letters import RecordId
from headrace_cli.dead.redrive import Refused, Report, Settled
from headrace_cli.dead.redrive_log import Destination, Outcome, RedriveLog, Sent
from headrace_cli.main import run

PIPELINES = ("clickstream", "landing")
AGAIN = [{"headrace-redrive": list(b"clicks-0@2/1")}] * 2


@pytest.fixture
def folder(tmp_path):
    """Three dead letters in two pipelines, one of which came back twice; a late record; one letter was redriven."""
    objects = open_lake(f"file:{tmp_path}")
    for pipeline in PIPELINES:
        publish(objects, dead([record(5), record(6, at_ms=NOON_MS + HOUR_MS, raw_headers=AGAIN)]), pipeline=pipeline)
        publish(objects, dead([record(7, value=b"\xff\0", key=None)], "not_utf8"), pipeline=pipeline, version=2)
    publish(objects, late([record(9)], ["pages", "sessions"]), version=3)
    log = RedriveLog(objects, clock_ms=lambda: NOON_MS)
    claim = log.claim(Destination("c1", "fixed"), {}, [identity(5), identity(7)], lambda _: True)
    log.record(Outcome(claim.id, NOON_MS, (Sent(identity(5), 3, 14),)))
    return tmp_path


def identity(offset):
    return str(RecordId("clicks", 0, offset, NOON_MS))


def printed(capsys, *arguments, status=0):
    assert run(["dead", *map(str, arguments)]) == status
    return capsys.readouterr().out.splitlines()


def test_list_counts_by_pipeline_topic_and_reason(folder, capsys):
    listed = [json.loads(line) for line in printed(capsys, "list", folder, "--json", "--late")]
    assert [(each["pipeline"], each["topic"], each["reason"], each["letters"], each["records"]) for each in listed] == [
        ("clickstream", "clicks", "invalid_json", 2, 2),
        ("clickstream", "clicks", "late", 2, 1),
        ("clickstream", "clicks", "not_utf8", 1, 1),
        ("landing", "clicks", "invalid_json", 2, 2),
        ("landing", "clicks", "not_utf8", 1, 1),
    ]
    assert (listed[0]["first"], listed[0]["last"]) == ("2024-03-13T12:00:00.000Z", "2024-03-13T13:00:00.000Z")
    counts = [(each["redriven"], each["unknown"], each["came_back"], each["most_times"]) for each in listed]
    assert counts == [(1, 0, 1, 2), (0, 0, 0, 0), (0, 1, 0, 0), (1, 0, 1, 2), (0, 1, 0, 0)]


def test_list_for_a_person_cuts_no_name_and_leaves_out_what_is_always_zero(folder, capsys):
    header, line, *_ = printed(capsys, "list", folder, "--reason", "invalid_json")
    assert header.split() == [
        "pipeline",
        "topic",
        "reason",
        "letters",
        "records",
        "first",
        "last",
        "redriven",
        "came",
        "back",
        "most",
        "times",
    ]
    assert line.split()[:3] == ["clickstream", "clicks", "invalid_json"]


def test_show_as_json_loses_nothing(folder, capsys):
    (line,) = printed(capsys, "show", folder, "--json", "--offset", "7", "--pipeline", "landing")
    shown = json.loads(line)
    assert base64.b64decode(shown.pop("value")) == b"\xff\0"
    (fate,) = shown.pop("redriven")
    assert (fate["cluster"], fate["topic"], fate["status"]) == ("c1", "fixed", "claimed")
    assert shown == {
        "position": "clicks-0@7",
        "pipeline": "landing",
        "generation": "1",
        "table": "dead_letters",
        "topic": "clicks",
        "partition": 0,
        "offset": 7,
        "timestamp_ms": NOON_MS,
        "reason": "not_utf8",
        "detail": "as 7 shows",
        "key": None,
        "headers": [],
        "times_redriven": 0,
    }


def test_show_for_a_person(folder, capsys):
    assert printed(capsys, "show", folder, "--position", "clicks-0@5", "--limit", "1") == [
        "clicks-0@5  2024-03-13T12:00:00.000Z  clickstream, generation 1",
        "  reason   invalid_json: as 5 shows",
        "  key      user",
        "  value    {",
        "  redrive  sent to fixed-3@14 at 2024-03-13T12:00:00.000Z (cluster c1)",
    ]
    assert "  back     after it had been redriven 2 times" in printed(capsys, "show", folder, "--offset", "6")
    seventh = printed(capsys, "show", folder, "--offset", "7", "--limit", "1")
    assert seventh[2:4] == ["  key      null", "  value    0xff00"]
    assert seventh[4].startswith("  redrive  may have been sent to fixed at")


def test_what_is_shown_cannot_move_the_cursor_and_is_bounded(tmp_path, capsys):
    objects = open_lake(f"file:{tmp_path}")
    headers = [{"\x1b[2J": list(b"\x1b[31m")}]
    publish(objects, dead([record(5, value=b"x" * 5_000, key=b"\x1b[2J", raw_headers=headers)], "bad\x1b[0m"))
    lines = printed(capsys, "show", tmp_path)
    assert all(line.isprintable() for line in lines)
    assert lines[-1] == f"  value    {'x' * 400}… (5,000 bytes)"
    assert all(line.isprintable() for line in printed(capsys, "list", tmp_path))


def test_the_limit_is_20_letters(tmp_path, capsys):
    publish(open_lake(f"file:{tmp_path}"), dead([record(offset) for offset in range(30)]))
    assert len(printed(capsys, "show", tmp_path, "--json")) == 20


@pytest.mark.parametrize("command", ["list", "show"])
def test_a_lake_without_letters_is_said_to_have_none(tmp_path, capsys, command):
    assert run(["dead", command, str(tmp_path)]) == 0
    assert "has no such letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "no-such-folder"], "no-such-folder: no such folder"),
        (["list", "{}", "--pipeline", "lnding"], "--pipeline lnding: it has no letters here; those that have: clickst"),
        (["show", "{}", "--offset", "x"], "'x' is no range of offsets"),
        (["show", "{}", "--since", "noon"], "'noon' is no time"),
        (["redrive", "{}"], "Missing option '--kafka'"),
        (["redrive", "{}", "--kafka", "localhost"], "'localhost' is not HOST:PORT"),
        (["redrive", "{}", "--kafka", "localhost:1", "--to", "a b"], "'a b' is no topic name"),
    ],
)
def test_a_wrong_usage_ends_with_2_in_one_line(folder, arguments, message, capsys):
    assert run(["dead", *(argument.format(folder) for argument in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_report_says_what_is_left_and_what_to_do():
    report = Report(letters=40, records=30, already_sent=1, under_way=2, unknown=3, stopped=True)
    report.sent["clicks"] = 1_000
    report.not_sent = [Refused(f"clicks-0@{n}/1", "too\nlarge") for n in range(22)]
    report.lost = [Refused("clicks-0@99/1", "timed out")]
    text = dead_text.report_text(report, send=True)
    for expected in (
        "40 letters of 30 records (several",
        "1,000 sent to clicks",
        "1 were sent before",
        "2 may still be on their way",
        "3 may have been sent: --settle",
        "not sent: clicks-0@19/1: too�large\nnot sent: 2 more",
        "may have been sent (see --settle): clicks-0@99/1: timed out",
        "stopped before all were tried",
    ):
        assert expected in text
    assert "dry run" not in text


@pytest.mark.parametrize(
    ("settled", "text"),
    [
        (Settled(0, 0, 0), "no letter's sending was cut short"),
        (Settled(1, 2, 0), "1 are in their topic, 2 are not"),
        (Settled(0, 0, 3), "3 were not found, but records are missing"),
    ],
)
def test_a_search_says_what_it_found(settled, text):
    assert text in dead_text.settled_text(settled)
