"""Each file in events/ through its real handler, in a process of its own, as a dry run: no store, no AWS, no broker."""

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from sample_events import EVENTS, EXPECTED, sample

from alerts.announced import announced

ROOT = Path(__file__).resolve().parents[3]

INVOKE = """
import importlib, json, pathlib, sys, types
function, event = sys.argv[1:]
context = types.SimpleNamespace(
    function_name=function, memory_limit_in_mb=512, invoked_function_arn="arn:aws:lambda", aws_request_id="1"
)
handler = importlib.import_module(f"{function}.app").lambda_handler
print(json.dumps({"answer": handler(json.loads(pathlib.Path(event).read_text()), context)}))
"""
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT / "functions"),
    "POWERTOOLS_TRACE_DISABLED": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
    # As the template sets them.
    "HEADRACE_LANDING_CODECS": "clicks=json:clicks.avsc,logs=log",
    "HEADRACE_BOOTSTRAP_SERVERS": "localhost:9098",
}


@cache
def invoked(name):
    """The handler's answer and the rows that it printed, by table."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INVOKE, name.partition("/")[0], str(EVENTS / f"{name}.json")],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    tables = {}
    for line in lines:
        if "row" in line:
            tables.setdefault(line["table"], []).append(line["row"])
    return lines[-1]["answer"], tables


def test_every_file_is_in_the_table():
    found = {str(path.relative_to(EVENTS).with_suffix("")) for path in EVENTS.rglob("*.json")}
    assert found == {*EXPECTED, "sweeper/schedule", "catalog/schedule", "iceberg/schedule", "alerts/published"}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_dry_run_prints_the_rows_and_answers_the_counts(name):
    applied, dead, late, rows = EXPECTED[name]
    answer, tables = invoked(name)
    assert {table: len(found) for table, found in tables.items()} == rows
    assert {key: answer[key] for key in ("applied", "dead", "late", "rows")} == {
        "applied": applied,
        "dead": dead,
        "late": late,
        "rows": sum(rows.values()),
    }
    assert (answer["skipped"], answer["gaps"]) == (0, 0)
    assert applied + dead == sum(map(len, sample(name)["records"].values()))


def test_basic_shows_visits_that_turn_into_sales():
    _, tables = invoked("clickstream/basic")
    assert {
        "session_start": "2026-03-16T08:30:00Z",
        "session_end": "2026-03-16T09:02:06Z",
        "user_id": "ann",
        "events": 6,
        "first_page": "/",
        "last_page": "/checkout",
        "_topic": "clicks",
        "_partition": 0,
    } in tables["clickstream/sessions"]
    sold = [row["value_sum"] for row in tables["clickstream/page_minutes"] if row["event_type"] == "purchase"]
    assert sorted(sold) == [12.5, 79.9]


def test_out_of_order_shows_what_is_late_and_what_is_not():
    _, tables = invoked("clickstream/out_of_order")
    late = Counter((row["operator"], json.loads(row["value"])["page"]) for row in tables["clickstream/late"])
    assert late == {("page_minutes", "/help"): 3, ("sessions", "/help"): 1}
    assert {"/sale", "/sale/7", "/about"} <= {row["page"] for row in tables["clickstream/page_minutes"]}


def test_bad_records_are_bad_in_every_way():
    _, tables = invoked("clickstream/bad_records")
    assert Counter(row["reason"] for row in tables["clickstream/dead_letters"]) == {
        "invalid_json": 4,
        "empty": 2,
        "invalid_field": 4,
        "not_an_object": 2,
        "from_the_future": 1,
        "missing_field": 1,
        "not_utf8": 1,
        "tombstone": 1,
    }


def test_landing_rescues_what_the_schema_has_no_place_for():
    _, tables = invoked("landing/clicks")
    rescued = [json.loads(row["_rescued"]) for row in tables["landing/clicks"] if row["_rescued"]]
    assert rescued == [{"campaign": "spring", "ab": {"checkout": "B"}}, {"value": "12,50"}]


def test_log_lines_of_any_format_are_counted_together_and_what_nothing_reads_besides():
    _, tables = invoked("logs/formats")
    counted = {
        row["service"]: (row["events"], row["errors"], row["unparsed"]) for row in tables["logs/service_minutes"]
    }
    assert counted == {
        "cart": (5, 0, 3),
        "search": (2, 1, 0),
        "web-1": (3, 2, 0),
        "mail": (2, 1, 0),
        **dict.fromkeys(("sshd", "sudo", "flows"), (1, 0, 0)),
        "broker-1": (1, 1, 0),
    }
    assert {row["reason"] for row in tables["logs/dead_letters"]} == {"not_utf8", "too_large"}


def test_a_sweep_of_an_empty_store_visits_nothing():
    answer, tables = invoked("sweeper/schedule")
    assert tables == {}
    assert {"visited": 0, "failed": 0}.items() <= answer.items()


def test_a_dry_run_registers_nothing():
    answer, tables = invoked("catalog/schedule")
    assert tables == {}
    assert {"tables": 0, "failed": 0}.items() <= answer.items()


def test_a_dry_run_sends_nothing():
    assert invoked("alerts/published") == ({"sent": 0, "old": 0}, {})


def test_what_s3_announces_is_a_file_of_alerts():
    assert announced(sample("alerts/published"), "s3://lake", "logs/alerts").name.version == 7


@pytest.mark.parametrize("name", EXPECTED)
def test_the_files_have_the_shape_that_msk_sends(name):
    event = sample(name)
    assert list(event) == ["eventSource", "eventSourceArn", "bootstrapServers", "records"]
    assert event["eventSource"] == "aws:kafka"
    assert len(event["records"]) > 1
    assert sum(map(len, event["records"].values())) < 40
    for place, records in event["records"].items():
        assert {f"{record['topic']}-{record['partition']}" for record in records} == {place}
        assert all(one["offset"] + 1 == next_one["offset"] for one, next_one in pairwise(records))
        assert all(one["timestamp"] <= next_one["timestamp"] for one, next_one in pairwise(records))
        for record in records:
            check_shape(record)


def check_shape(record):
    always = {"topic": str, "partition": int, "offset": int, "timestamp": int, "timestampType": str, "headers": list}
    assert {key: type(record[key]) for key in always} == always
    assert record.keys() - always.keys() <= {"key", "value"}
    assert record["timestampType"] == "LOG_APPEND_TIME"
    for field in record.keys() & {"key", "value"}:
        base64.b64decode(record[field], validate=True)
    for header in record["headers"]:
        ((_, data),) = header.items()
        assert all(-128 <= byte <= 127 for byte in data)
