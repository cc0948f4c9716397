"""The audit works alerts out as the library finds them: two programs, one list of rows."""

import json

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from samples import record
from watched_lines import MINUTE_MS, Run

from headrace.logs import AUTO
from headrace.settings import Settings
from headrace_cli.audit.expectation import Rules
from headrace_cli.audit.log_expectation import expect_logs
from headrace_cli.audit.records import Produced
from logs.topology import topology

NOON = 1_700_000_040_000
KINDS = {".": (30, 0), "#": (30, 20), "s": (15, 15), "!": (160, 0), " ": (0, 0)}
"""A minute's lines, and the errors among them."""


def lines_of(lanes):
    lines = []
    for service, minutes in lanes.items():
        for minute, kind in enumerate(minutes):
            lines += [
                (NOON + minute * MINUTE_MS + n, "ERROR" if n < KINDS[kind][1] else "INFO", service)
                for n in range(KINDS[kind][0])
            ]
    return [
        json.dumps({"timestamp": at_ms, "level": level, "service": service, "message": f"{service} {at_ms}"}).encode()
        for at_ms, level, service in sorted(lines)
    ]


@hypothesis_settings(deadline=None, max_examples=25)
@given(
    st.dictionaries(
        st.sampled_from(["a", "caf\u00e9"]), st.lists(st.sampled_from(".#s! "), max_size=25).map("".join), min_size=1
    )
)
def test_the_audit_finds_the_same_alerts(lanes):
    lines = lines_of(lanes)
    # Patterns are landing's to tell: alerts about new ones are compared in the demo only.
    run = Run(topology(Settings(max_skew_ms=10**12, log_tables="minutes,alerts"), AUTO))
    run.apply([record(n, line, topic="lines", timestamp_ms=NOON) for n, line in enumerate(lines)])
    run.tick(final=True)
    produced = [Produced("lines", 3, n, NOON, b"k", line) for n, line in enumerate(lines)]
    expected = expect_logs(produced, "lines", Rules(max_skew_ms=10**12)).tables["logs/alerts"]
    expected = [row for row in expected if row["rule"] != "new-error"]
    assert sorted(map(comparable, run.tables["alerts"]), key=repr) == sorted(
        ({**row, "_partition": 3} | {"samples": list(row["samples"])} for row in expected), key=repr
    )


def comparable(row):
    bounds = {name: round(row[name].timestamp() * 1000) for name in ("window_start", "window_end")}
    return {name: value for name, value in row.items() if name != "summary"} | bounds
