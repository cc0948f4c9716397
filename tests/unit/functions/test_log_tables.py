"""What `LogTables` leaves out is not computed, and what is left is the same."""

import pytest
from samples import NOON_MS, record
from watched_lines import Run

from headrace.settings import Settings
from logs.topology import topology

LINES = [
    b'{"timestamp":%d,"level":"ERROR","service":"pay","message":"no card %d"}' % (NOON_MS + n * 1000, n)
    for n in range(30)
]
MINUTES = {"severity_minutes", "service_minutes"}
PATTERNS = {"pattern_minutes", "new_patterns"}


def tables(log_tables):
    run = Run(topology(Settings(log_tables=log_tables), "auto"))
    run.apply([record(n, line) for n, line in enumerate(LINES)])
    run.tick(final=True)
    return {name: rows for name, rows in run.tables.items() if rows}


@pytest.mark.parametrize(
    ("log_tables", "expected", "rules"),
    [
        ("minutes", MINUTES, set()),
        ("minutes,patterns", MINUTES | PATTERNS, set()),
        ("minutes,alerts", MINUTES | {"alerts"}, {"error-ratio"}),
        ("minutes,patterns,alerts", MINUTES | PATTERNS | {"alerts"}, {"error-ratio", "new-error"}),
    ],
)
def test_only_what_is_wanted_is_computed(log_tables, expected, rules):
    found = tables(log_tables)
    assert found.keys() == expected
    assert {row["rule"] for row in found.get("alerts", [])} == rules
    assert {name: found[name] for name in MINUTES} == {name: tables("minutes")[name] for name in MINUTES}
