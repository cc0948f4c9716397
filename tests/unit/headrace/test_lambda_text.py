"""Lambda's text as it is found, beside the examples of the format."""

import json

import pytest

from headrace.log_formats.format import Unparsable
from headrace.log_formats.lambda_text import LambdaText

REQUEST = "8f5a3c1e-0000-4000-8000-000000000000"


def parse(line):
    return LambdaText().parse(line.encode(), 0)


@pytest.mark.parametrize("status", ["timeout", "error", "failure"])
def test_a_report_of_a_failure_is_an_error(status):
    event = parse(f"REPORT RequestId: {REQUEST}\tDuration: 5.5 ms\tStatus: {status}\tError Type: Runtime.ExitError")
    assert (event.severity, event.is_error, event.latency_ms) == ("ERROR", 1, 5.5)
    assert json.loads(event.attributes)["error_type"] == "Runtime.ExitError"


@pytest.mark.parametrize(
    ("line", "attributes"),
    [
        ("EXTENSION\tName: agent\tState: Ready\tEvents: [INVOKE]", {"name": "agent", "state": "Ready"}),
        ("INIT_REPORT Init Duration: 99.5 ms\tPhase: init\tStatus: timeout", {"init_duration_ms": 99.5}),
        (f"START RequestId: {REQUEST} Version: 12", {"request_id": REQUEST, "version": "12"}),
        (f"REPORT RequestId: {REQUEST}\tMemory Size: much\tno colon", {"memory_size": "much"}),
    ],
)
def test_what_the_platform_says_is_kept_whole_and_taken_apart(line, attributes):
    event = parse(line)
    assert event.message == line
    assert attributes.items() <= json.loads(event.attributes).items()


def test_a_line_before_a_request_has_none():
    event = parse("[INFO]\t2026-11-27T10:00:00.000Z\t\tcold")
    assert (event.severity, event.message, event.attributes) == ("INFO", "cold", None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("START RequestId: 12", "unknown_format"),
        ("ENDED RequestId", "unknown_format"),
        ("[1, 2]", "unknown_format"),
        ("[NOTE] x", "unknown_level"),
        (f"2026-11-27T25:00:00.000Z\t{REQUEST}\tINFO\tx", "invalid_time"),
    ],
)
def test_what_cannot_be_read_says_why(line, reason):
    with pytest.raises(Unparsable) as caught:
        parse(line)
    assert caught.value.reason == reason
