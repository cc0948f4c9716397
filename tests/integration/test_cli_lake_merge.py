"""`headrace lake merge` on what the clickstream function itself wrote, against plain counts of its raw events."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import duckdb
import pytest
from samples import NOON_MS, lambda_event, record

from headrace_cli.main import run
from kafka_esm import Function, InProcessInvoker

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
PARTITIONS = 4
MINUTE_MS = 60_000
EVENTS = 600


@pytest.fixture(scope="module")
def clicks():
    """Three hours of clicks by partition, in order of time; users are spread over the partitions, pages are not."""
    random = Random(5)
    found = {partition: [] for partition in range(PARTITIONS)}
    for time_ms in sorted(NOON_MS + random.randrange(180 * MINUTE_MS) for _ in range(EVENTS)):
        user = random.randrange(20)
        click = {"user_id": f"user-{user}", "page": f"/{random.randrange(3)}", "timestamp": time_ms}
        kind = {"event_type": random.choice(["view", "buy"]), "value": random.choice([None, 2.5, 7.0])}
        found[user % PARTITIONS].append(click | kind)
    return found


@pytest.fixture(scope="module")
def lake(clicks, tmp_path_factory):
    """The function's lake: each partition's last click, a day later, closes all windows but its own."""
    folder = tmp_path_factory.mktemp("lake")
    (folder / "checkpoints").mkdir()
    environment = {
        "HEADRACE_CHECKPOINTS": f"file:{folder / 'checkpoints'}",
        "HEADRACE_LAKE": f"file:{folder}",
        "POWERTOOLS_SERVICE_NAME": "lake-merge",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    closing = {"user_id": "nobody", "page": "/", "event_type": "view", "timestamp": NOON_MS + 24 * 60 * MINUTE_MS}
    records = [
        record(offset, json.dumps(click).encode(), topic="clicks", partition=partition, timestamp_ms=click["timestamp"])
        for partition, of_partition in clicks.items()
        for offset, click in enumerate([*of_partition, closing])
    ]
    function = Function("clickstream", "clickstream.app.lambda_handler", FUNCTIONS, (), environment, 60)
    InProcessInvoker(function).invoke(json.dumps(lambda_event(records)).encode())
    return folder


@pytest.fixture(scope="module")
def expected(clicks):
    """Events and value per minute, page and type, counted from the raw events."""
    found = defaultdict(lambda: [0, None])
    for click in (click for of_partition in clicks.values() for click in of_partition):
        place = (click["timestamp"] // MINUTE_MS * MINUTE_MS, click["page"], click["event_type"])
        found[place][0] += 1
        if click["value"] is not None:
            found[place][1] = (found[place][1] or 0) + click["value"]
    return {place: tuple(totals) for place, totals in found.items()}


def test_merged_page_minutes_are_the_counts_of_the_raw_events(lake, expected, capsys):
    assert run(["lake", "merge", str(lake), "page_minutes", "--json", "--limit", "10000"]) == 0
    merged = {}
    for row in map(json.loads, capsys.readouterr().out.splitlines()):
        start_ms = int(datetime.fromisoformat(row["window_start"]).timestamp()) * 1000
        merged[start_ms, row["page"], row["event_type"]] = (row["events"], row["value_sum"])
    assert merged == expected
    assert run(["lake", "show", str(lake), "page_minutes", "--json", "--limit", "10000"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > len(expected)  # there was something to merge


def test_the_printed_query_has_the_same_rows(lake, expected, capsys):
    assert run(["lake", "merge", str(lake), "page_minutes", "--sql"]) == 0
    merged = {
        (int(start.astimezone(UTC).timestamp()) * 1000, page, kind): (events, value_sum)
        for start, _, page, kind, events, value_sum in duckdb.sql(capsys.readouterr().out).fetchall()
    }
    assert merged == expected


def test_sessions_are_complete_rows(lake, clicks, capsys):
    assert run(["lake", "merge", str(lake), "sessions", "--json", "--limit", "10000"]) == 0
    printed = capsys.readouterr()
    assert "clickstream/sessions: rows are complete already" in printed.err
    assert sum(json.loads(line)["events"] for line in printed.out.splitlines()) == sum(map(len, clicks.values()))
