"""Logs that others wrote are read as they documented, or counted in another way."""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace.errors import PoisonError
from headrace.logs import parse


def examples(path: Path) -> dict[str, tuple[str, dict]]:
    """Title to (line, documented fields) of a file of documented examples."""
    return {
        example["title"]: (re.search(r"s'(.*)'", example["source"])[1], example["return"])
        for example in json.loads(path.read_text())["examples"]
    }


def quoted(text):
    """How a trailing quoted field is kept."""
    return f'"{text}"'


DOCUMENTED_NAMES = {
    **{name: name for name in ("host", "message", "method", "path", "protocol", "status", "user")},
    **dict.fromkeys(("size", "body_bytes_size"), "bytes"),
    **dict.fromkeys(("client", "remote_addr"), "host"),
    **dict.fromkeys(("referer", "http_referer"), "referrer"),
    **dict.fromkeys(("agent", "http_user_agent"), "user_agent"),
    "request": "message",
    "remote_user": "user",
}
DOCUMENTED_ATTRIBUTES = {
    "identity": ("identity", str),
    "compression": ("trailing", quoted),
    "http_x_forwarded_for": ("trailing", quoted),
}
UNSUPPORTED = {
    "Parse via Nginx log format (error)": "an error log, no access log: refused as unknown_format",
    "Parse via Nginx log format (ingress_upstreaminfo)": "read as combined; its own fields stay one trailing text",
}


@pytest.mark.parametrize(("name", "total"), [("parse_common_log", 2), ("parse_nginx_log", 4)])
def test_documented_examples_have_their_documented_values(shared_data, name, total):
    documented = examples(shared_data / "logs" / "vrl" / f"{name}.json")
    assert len(documented) == total
    for line, values in (documented[title] for title in documented.keys() - UNSUPPORTED.keys()):
        event = parse(line.encode())
        attributes = json.loads(event.attributes or "{}")
        wanted = datetime.fromisoformat(values.pop("timestamp"))
        assert datetime.fromtimestamp(event.timestamp / 1000, UTC) == wanted
        for key, value in values.items():
            if key in DOCUMENTED_ATTRIBUTES:
                attribute, kept = DOCUMENTED_ATTRIBUTES[key]
                assert attributes.pop(attribute) == kept(value)
            else:
                assert getattr(event, DOCUMENTED_NAMES[key]) == value
        assert attributes == {}


def test_the_unsupported_examples_are_what_the_table_says(shared_data):
    documented = examples(shared_data / "logs" / "vrl" / "parse_nginx_log.json")
    error, ingress = (documented[title][0].encode() for title in UNSUPPORTED)
    with pytest.raises(PoisonError, match=r"^unknown_format: "):
        parse(error)
    event = parse(ingress)
    assert (event.format, event.status, event.bytes, event.user) == ("combined", 200, 12312, "bob")
    assert json.loads(event.attributes)["trailing"].startswith("462 0.050 [some-upstream-service-9000] ")


def test_a_real_access_log_is_read_whole(shared_data):
    lines = (shared_data / "logs" / "apache_access_2000.log").read_text().splitlines()
    events = [parse(line.encode()) for line in lines]
    plain = [re.split(r'["\[\]]', line) for line in lines]  # client, time, request, status and size, …
    assert len(events) == 2000
    assert Counter(e.status for e in events) == Counter(int(p[4].split()[0]) for p in plain)
    assert Counter(e.host for e in events) == Counter(p[0].split()[0] for p in plain)
    assert sum(e.bytes or 0 for e in events) == sum(int(p[4].split()[1].replace("-", "0")) for p in plain)
    times = [datetime.strptime(p[1], "%d/%b/%Y:%H:%M:%S %z").timestamp() * 1000 for p in plain]
    assert [e.timestamp for e in events] == times
    assert {e.format for e in events} == {"combined"}
