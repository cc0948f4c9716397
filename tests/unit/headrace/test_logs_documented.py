"""Logs that others wrote are read as they documented, or counted in another way."""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace.logs import Lines


def examples(path: Path) -> dict[str, tuple[str, dict]]:
    """Title to (line, documented fields) of a file of documented examples."""
    return {
        example["title"]: (line_of(example["source"]), example["return"])
        for example in json.loads(path.read_text())["examples"]
    }


def line_of(source: str) -> str:
    """The line in a call: a raw string (`s'…'`) or one with escapes."""
    raw = re.search(r"s'(.*)'", source)
    return raw[1] if raw else json.loads(re.search(r'\(\s*("(?:[^"\\]|\\.)*")', source)[1])


def quoted(text):
    """How a trailing quoted field is kept."""
    return f'"{text}"'


NAMES = {
    **{name: name for name in ("host", "message", "method", "path", "protocol", "status", "user")},
    **dict.fromkeys(("size", "body_bytes_size"), "bytes"),
    **dict.fromkeys(("client", "remote_addr"), "host"),
    **dict.fromkeys(("referer", "http_referer"), "referrer"),
    **dict.fromkeys(("agent", "http_user_agent"), "user_agent"),
    "request": "message",
    "remote_user": "user",
}
"""The documented names of access logs, and ours."""
ATTRIBUTES = {
    "identity": ("identity", str),
    "compression": ("trailing", quoted),
    "http_x_forwarded_for": ("trailing", quoted),
}
"""Of those that are attributes: what they are called, and how they are kept."""
COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
INGRESS = (
    f"{COMBINED} $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] "
    "$upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id"
)
"""Of Kubernetes' ingress controller."""
ERROR_LOG, INGRESS_LOG = (f"Parse via Nginx log format ({name})" for name in ("error", "ingress_upstreaminfo"))


def differences(event, documented, names, attributes):
    """The documented fields that the event does not have, and the attributes that it has besides."""
    found = json.loads(event.attributes or "{}")
    wrong = {}
    for name, value in documented.items():
        if name == "timestamp":
            told = datetime.fromtimestamp(event.timestamp / 1000, UTC)
            value = datetime.fromisoformat(value)  # noqa: PLW2901 - the same one, read
        elif name in names:
            told = getattr(event, names[name])
        else:
            attribute, kept = attributes.get(name, (name, lambda value: value))
            told, value = found.pop(attribute, None), kept(value)  # noqa: PLW2901 - the same one, as it is kept
        if told != value:
            wrong[name] = (told, value)
    return wrong, found


@pytest.mark.parametrize(("name", "total"), [("parse_common_log", 2), ("parse_nginx_log", 4)])
def test_documented_access_logs_have_their_documented_values(shared_data, name, total):
    documented = examples(shared_data / "logs" / "vrl" / f"{name}.json")
    assert len(documented) == total
    for title in documented.keys() - {ERROR_LOG, INGRESS_LOG}:
        line, values = documented[title]
        event = Lines().read(line.encode(), 0)
        assert event.format in {"common", "combined"}
        assert differences(event, values, NAMES, ATTRIBUTES) == ({}, {})


def test_the_documented_line_of_an_ingress_controller_is_read_by_its_format_string(shared_data):
    line, values = examples(shared_data / "logs" / "vrl" / "parse_nginx_log.json")[INGRESS_LOG]
    event = Lines(f"access:{INGRESS}").read(line.encode(), 0)
    assert event.latency_ms == 1000 * values.pop("request_time")
    assert differences(event, values, NAMES, {}) == ({}, {})
    undeclared = Lines().read(line.encode(), 0)
    assert (undeclared.format, undeclared.status, undeclared.bytes, undeclared.user) == ("combined", 200, 12312, "bob")
    assert json.loads(undeclared.attributes)["trailing"].startswith("462 0.050 [some-upstream-service-9000] ")


def test_the_documented_error_log_has_its_documented_values(shared_data):
    line, values = examples(shared_data / "logs" / "vrl" / "parse_nginx_log.json")[ERROR_LOG]
    event = Lines().read(line.encode(), 0)
    assert (event.format, event.severity) == ("error_log", values.pop("severity").upper())
    assert f"{event.method} {event.path} {event.protocol}" == values.pop("request")
    names = {"client": "host", "message": "message"}
    assert differences(event, values, names, {"cid": ("connection", int)}) == ({}, {})


def test_documented_logfmt_has_its_documented_values(shared_data):
    documented = examples(shared_data / "logs" / "vrl" / "parse_logfmt.json")
    assert len(documented) == 3
    for line, values in documented.values():
        event = Lines().read(line.encode(), 0)
        assert event.format == "logfmt"
        if "level" in values:
            assert values.pop("@timestamp") == "Sun Jan 10 16:47:39 EST 2021"
            assert datetime.fromtimestamp(event.timestamp / 1000, UTC) == datetime(2021, 1, 10, 21, 47, 39, tzinfo=UTC)
            assert event.severity == values.pop("level").upper()
        assert differences(event, values, {"msg": "message"}, {}) == ({}, {})


def test_a_real_access_log_is_read_whole(shared_data):
    lines = (shared_data / "logs" / "apache_access_2000.log").read_text().splitlines()
    events = [Lines().read(line.encode(), 0) for line in lines]
    plain = [re.split(r'["\[\]]', line) for line in lines]  # client, time, request, status and size, …
    assert len(events) == 2000
    assert Counter(e.status for e in events) == Counter(int(p[4].split()[0]) for p in plain)
    assert Counter(e.host for e in events) == Counter(p[0].split()[0] for p in plain)
    assert sum(e.bytes or 0 for e in events) == sum(int(p[4].split()[1].replace("-", "0")) for p in plain)
    times = [datetime.strptime(p[1], "%d/%b/%Y:%H:%M:%S %z").timestamp() * 1000 for p in plain]
    assert [e.timestamp for e in events] == times
    assert {e.format for e in events} == {"combined"}
