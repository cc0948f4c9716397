"""Alerts as messages: bounded, printable, and the same for the same row; and which announcements are believed."""

import json
from datetime import UTC, datetime

import pytest

from alerts.announced import File, announced
from alerts.letter import letter
from headrace import lake
from headrace.errors import EventError, ForeignObject
from headrace.sns import MAX_BATCH_BYTES

KEY = "lake/logs/alerts/date=2024-03-13/hour=12/1-logs-0-7-0.parquet"
ROW = {
    "alert_id": "0f" * 16,
    "rule": "error-ratio",
    "key": '{"service":"shop"}',
    "summary": "error-ratio: shop: errors/events is 0.9 (9 of 10), above 0.25",
    "window_start": datetime(2024, 3, 13, 12, 0, tzinfo=UTC),
    "window_end": datetime(2024, 3, 13, 12, 5, tzinfo=UTC),
    "value": 0.9,
    "threshold": 0.25,
    "samples": ["boom", "bang"],
    "_topic": "logs",
    "_partition": 0,
}


def letter_of(**changes):
    return letter(ROW | changes, File(KEY, lake.read_final_key(KEY)), "s3://lake/")


def test_a_letter_has_a_subject_for_people_and_a_body_for_programs():
    found = letter_of()
    assert found.subject == ROW["summary"]
    assert (found.alert_id, found.group) == (ROW["alert_id"], "error-ratio")
    assert json.loads(found.body) == {
        "alert_id": "0f" * 16,
        "summary": ROW["summary"],
        "rule": "error-ratio",
        "key": {"service": "shop"},
        "window_start": "2024-03-13T12:00:00.000Z",
        "window_end": "2024-03-13T12:05:00.000Z",
        "value": 0.9,
        "threshold": 0.25,
        "samples": ["boom", "bang"],
        "pipeline": "logs",
        "generation": "1",
        "topic": "logs",
        "partition": 0,
        "file": f"s3://lake/{KEY}",
    }
    assert found == letter_of()


@pytest.mark.parametrize(
    ("summary", "subject"),
    [
        ("x" * 99, "x" * 99),
        ("x" * 100, "x" * 96 + "..."),
        ("caf\u00e9\n\u2028ends", "caf?ends"),
    ],
)
def test_a_subject_is_what_sns_and_mail_take(summary, subject):
    assert letter_of(summary=summary).subject == subject


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\u20ac" * 400_000, "\x00" * 300_000])
def test_a_letter_is_never_too_large(text):
    """Whatever is in it takes up to six bytes a character in JSON."""
    key = json.dumps({"service": text, "severity": text, "number": 3})
    found = letter_of(key=key, samples=[text] * 3, summary=text[:300])
    assert found.size <= MAX_BATCH_BYTES
    assert json.loads(found.body)["key"]["number"] == 3
    assert json.loads(found.body)["samples"] == []
    assert letter_of(key=key).size < 20_000


def event(key=KEY, bucket="lake", size=1000, **changes):
    detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": size, "etag": "e"}}
    return {"version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": detail} | changes


def test_a_published_file_is_announced():
    assert announced(event(), "s3://lake", "logs/alerts") == File(KEY, lake.read_final_key(KEY))
    assert announced(event(f"some/prefix/{KEY}"), "s3://lake/some/prefix", "logs/alerts").key == KEY


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"Records": []},
        event(source="aws.ec2"),
        event(**{"detail-type": "Object Deleted"}),
        event(detail={"bucket": {}, "object": {"key": KEY}}),
        event(detail={"bucket": {"name": "lake"}, "object": {"key": 7}}),
    ],
)
def test_what_is_no_announcement_is_an_error_of_that_name(wrong):
    with pytest.raises(EventError) as raised:
        announced(wrong, "s3://lake", "logs/alerts")
    assert not isinstance(raised.value, ForeignObject)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (event(bucket="other"), "is not in the lake, s3://lake"),
        (event("lake/logs/alerts/readme.txt"), "no name that a pipeline publishes"),
        (event(KEY.replace("-7-", "-07-")), "no name that a pipeline publishes"),
        (event(f"staging/{KEY}"), "no name that a pipeline publishes"),
        (event(KEY.replace("alerts", "service_minutes")), "a file of logs/service_minutes, not of logs/alerts"),
        (event(KEY.replace("logs/", "clickstream/")), "a file of clickstream/alerts, not of logs/alerts"),
        (event(size=2**40), "no commit makes such files"),
    ],
)
def test_an_object_that_is_no_file_of_alerts_is_foreign(wrong, says):
    with pytest.raises(ForeignObject, match=says):
        announced(wrong, "s3://lake", "logs/alerts")
    with pytest.raises(ForeignObject, match="is not in the lake"):
        announced(event(), "s3://lake/some/prefix", "logs/alerts")
