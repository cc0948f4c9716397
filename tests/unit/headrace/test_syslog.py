"""Syslog as programs write it: both RFCs, their gaps, and times without a year."""

import json
import re
from datetime import UTC, datetime

import pytest
from log_events import told

from headrace.log_formats.format import EXAMPLES_KAFKA_MS, Unparsable
from headrace.log_formats.syslog import Syslog

NAMES = {"appname": "service", "hostname": "host", "message": "message"}
"""What the documentation calls an event's fields …"""
ATTRIBUTES = ("facility", "msgid", "procid", "version")
"""… and its attributes; everything else is an element of the structured data."""


def parse(line, kafka_ms=EXAMPLES_KAFKA_MS):
    return Syslog().parse(line.encode(), kafka_ms)


def test_the_documented_example_has_its_documented_values(shared_data):
    (example,) = json.loads((shared_data / "logs" / "vrl" / "parse_syslog.json").read_text())["examples"]
    event = parse(re.search(r"s'(.*)'", example["source"])[1])
    documented = example["return"]
    attributes = json.loads(event.attributes)
    assert datetime.fromtimestamp(event.timestamp / 1000, UTC) == datetime.fromisoformat(documented.pop("timestamp"))
    assert (documented.pop("severity"), event.severity_number) == ("notice", 10)
    for name, field in NAMES.items():
        assert getattr(event, field) == documented.pop(name)
    for name in ATTRIBUTES:
        assert attributes.pop(name) == documented.pop(name)
    assert attributes == {"structured_data": documented}


@pytest.mark.parametrize(
    ("priority", "facility", "number", "severity"),
    [
        (0, "kern", 21, "FATAL"),
        (9, "user", 19, "ERROR"),
        (34, "auth", 18, "ERROR"),
        (91, "ftp", 17, "ERROR"),
        (75, "cron", 17, "ERROR"),
        (84, "authpriv", 13, "WARN"),
        (133, "local0", 10, "INFO"),
        (190, "local7", 9, "INFO"),
        (191, "local7", 5, "DEBUG"),
    ],
)
def test_a_priority_is_a_facility_and_a_severity(priority, facility, number, severity):
    event = parse(f"<{priority}>1 - - - - - -")
    assert (json.loads(event.attributes)["facility"], event.severity_number) == (facility, number)
    assert (event.severity, event.is_error) == (severity, int(number >= 17))


@pytest.mark.parametrize(
    ("now", "line", "when"),
    [
        ("2026-01-01T00:10:00+00:00", "Dec 31 23:59:59", "2025-12-31T23:59:59+00:00"),
        ("2025-12-31T23:59:00+00:00", "Jan  1 00:00:01", "2026-01-01T00:00:01+00:00"),
        ("2024-03-05T00:00:00+00:00", "Feb 29 12:00:00", "2024-02-29T12:00:00+00:00"),
        ("2026-03-05T00:00:00+00:00", "Mar  4 12:00:00", "2026-03-04T12:00:00+00:00"),
        ("2026-03-05T00:00:00+00:00", "Mar 4 12:00:00.25", "2026-03-04T12:00:00.250000+00:00"),
        ("2026-03-05T00:00:00+00:00", "Mar 04 2019 12:00:00", "2019-03-04T12:00:00+00:00"),
        ("2026-03-05T00:00:00+00:00", "2019-03-04T12:00:00.123456+01:00", "2019-03-04T11:00:00.123000+00:00"),
    ],
)
def test_a_missing_year_is_the_one_that_brings_the_time_closest_to_kafkas(now, line, when):
    event = parse(f"<13>{line} web1 app: x", round(datetime.fromisoformat(now).timestamp() * 1000))
    assert datetime.fromtimestamp(event.timestamp / 1000, UTC) == datetime.fromisoformat(when)
    assert (event.host, event.service, event.message) == ("web1", "app", "x")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("web1 app[12]: a: b", {"host": "web1", "service": "app", "message": "a: b", "attributes": {"procid": 12}}),
        ("web1 app[main]: x", {"host": "web1", "service": "app", "message": "x", "attributes": {"procid": "main"}}),
        ("web1 app:", {"host": "web1", "service": "app"}),
        ("app: x", {"service": "app", "message": "x"}),
        ("fe80::1 app: x", {"host": "fe80::1", "service": "app", "message": "x"}),
        ("web1 something happened", {"host": "web1", "message": "something happened"}),
        ("web1 %ASA-3-106014: Deny", {"host": "web1", "service": "%ASA-3-106014", "message": "Deny"}),
        ("web1 app: one\n\ttwo", {"host": "web1", "service": "app", "message": "one", "stack_trace": "\ttwo"}),
    ],
)
def test_host_and_tag_are_told_apart(line, expected):
    fields = {"timestamp": EXAMPLES_KAFKA_MS, "format": "syslog"}
    assert told(parse(f"Nov 27 10:00:00 {line}")) == fields | expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Starting server on port 80", {"message": "Starting server on port 80"}),
        ("web1 sshd[7]: x", {"host": "web1", "service": "sshd", "message": "x", "attributes": {"procid": 7}}),
        ("sshd: x", {"service": "sshd", "message": "x"}),
        ("info: x", {"severity_number": 9, "severity": "INFO", "message": "x"}),
    ],
)
def test_of_a_line_without_a_priority_the_first_word_is_a_host_only_before_a_tag(line, expected):
    fields = {"timestamp": EXAMPLES_KAFKA_MS, "format": "syslog"}
    assert told(parse(f"2026-11-27T10:00:00Z {line}")) == fields | expected


@pytest.mark.parametrize(
    ("line", "host", "service"),
    [
        ("<189>123: *Nov 27 10:00:00.000: %SYS-5-CONFIG_I: x", None, "%SYS-5-CONFIG_I"),
        ("<189>123: sw1: .Nov 27 10:00:00 UTC: %SYS-5-CONFIG_I: x", "sw1", "%SYS-5-CONFIG_I"),
        ("<189>Nov 27 2026 10:00:00: %ASA-5-111008: x", None, "%ASA-5-111008"),
        ("<189>Nov 27 2026 10:00:00 fw1 : %ASA-5-111008: x", "fw1", None),
    ],
)
def test_what_devices_of_cisco_write(line, host, service):
    event = parse(line)
    assert (event.timestamp, event.severity_number) == (EXAMPLES_KAFKA_MS, 10)
    assert (event.host, event.service) == (host, service)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('[a x="1" x="2" x="3"]', {"a": {"x": ["1", "2", "3"]}}),
        ('[a x="1"][b x="2"]', {"a": {"x": "1"}, "b": {"x": "2"}}),
        (r'[a x="\\ \" \] \n"]', {"a": {"x": r"\ " + '" ] ' + r"\n"}}),
        ('[a x=""]', {"a": {"x": ""}}),
    ],
)
def test_structured_data(data, expected):
    attributes = json.loads(parse(f"<13>1 - - - - - {data} x").attributes)
    assert attributes["structured_data"] == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("<192>1 - - - - - -", "invalid_priority"),
        ("<13>1 2026-13-01T00:00:00Z - - - - -", "invalid_time"),
        ("<13>Feb 30 10:00:00 web1 app: x", "invalid_time"),
        ("<13>Foo 27 10:00:00 web1 app: x", "invalid_time"),
        ("<13>Nov 27 25:00:00 web1 app: x", "invalid_time"),
        ("<13>2 - - - - - -", "unknown_format"),
        ('<13>1 - - - - - [a x="1', "unknown_format"),
        ("<13>", "unknown_format"),
    ],
)
def test_what_cannot_be_read_says_why(line, reason):
    with pytest.raises(Unparsable) as caught:
        parse(line)
    assert caught.value.reason == reason
