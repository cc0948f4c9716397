"""Lines that a Kubernetes container runtime has put its prefix to."""

import json

import pytest

from headrace.log_event import LogEvent
from headrace.logs import Continuation, Lines


def read(line):
    return Lines().read(line.encode(), 0)


CRI = "2026-11-27T10:00:00.250123456+01:00 stdout F "
CRI_MS = 1_795_770_000_250


def test_what_a_container_wrote_is_a_line_of_any_format():
    plain, own, text, cut = (
        read(line)
        for line in (
            f'{CRI}{{"level":"info","msg":"sold","cri":1}}',
            f"{CRI}2026-11-27 10:00:00,000 [main] ERROR com.shop.Cart - no card",
            f"{CRI}hello",
            CRI.replace("stdout F", "stderr P") + "level=warn msg=long",
        )
    )
    assert (plain.format, plain.severity, plain.message, plain.timestamp) == ("json", "INFO", "sold", CRI_MS)
    assert json.loads(plain.attributes) == {"cri": {"stream": "stdout"}, "line": {"cri": 1}}
    assert (own.format, own.severity, own.timestamp) == ("java_text", "ERROR", 1_795_773_600_000)
    assert (text.is_unparsed, text.message, text.timestamp) == (1, "hello", CRI_MS)
    assert (cut.severity, json.loads(cut.attributes)) == ("WARN", {"cri": {"stream": "stderr", "partial": True}})


def test_a_stack_traces_line_in_a_containers_log_continues_another():
    assert read(f"{CRI}\tat a.B.c(B.java:1)") == Continuation("\tat a.B.c(B.java:1)")


@pytest.mark.parametrize(
    "line", [CRI, CRI + "  ", CRI + CRI * 20_000 + "x", CRI.replace("-27T", "-32T") + "x", CRI.replace("F", "Q")]
)
def test_what_is_no_containers_line_is_text_like_any_other(line):
    assert isinstance(read(line), LogEvent)
