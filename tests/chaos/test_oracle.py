"""The oracle itself: plain cases worked out by hand, and that it knows nothing of what it judges."""

import ast
import json
import sys
from pathlib import Path

import pytest
from chaos import oracle
from chaos.oracle import Logged, Rules, Tick, expected

NOON_MS = 1_710_331_200_000
RULES = Rules(window_ms=10, gap_ms=10, out_of_orderness_ms=0, lateness_ms=0, max_skew_ms=1000)
SOURCE = ast.parse(Path(oracle.__file__).read_text())


def logged(offset, at, user="ann", page="/", **more):
    fields = {"user": user, "page": page, "at": at, "value": 1.0, **more}
    return Logged("hits", 0, offset, NOON_MS + offset, b"k", json.dumps(fields).encode())


def bounds(rows):
    return sorted(row[:2] for row in rows.elements())


def test_it_imports_the_standard_library_and_nothing_else():
    names = {alias.name for node in ast.walk(SOURCE) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(SOURCE) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_tick_closes_what_is_open_where_it_was_committed():
    """Events      1    2 | tick |  3          25
    windows    [0 ------ 10)        late       [20 -- 30)
    sessions   [1 ------ 12)        [3 -- 13)  [25 -- 35)
    """
    records = [logged(0, 1), logged(1, 2), logged(2, 3), logged(3, 25)]
    with_tick = expected(records, [2, 4], RULES)
    assert bounds(with_tick.tables["pages"]) == [(0, 10), (20, 30)]
    assert bounds(with_tick.tables["sessions"]) == [(1, 12), (3, 13), (25, 35)]
    assert [(row[0], row[1]) for row in with_tick.tables["late"]] == [("pages", 3)]
    assert with_tick.ticks == [Tick(2, 12), Tick(4, 35)]


def test_without_a_tick_open_windows_are_not_given_out():
    assert not expected([logged(0, 1)], [], RULES).tables["pages"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "tombstone"),
        (b'{"user": "', "invalid_json"),
        (b'{"page": "/", "at": 1}', "missing_field"),
        (json.dumps({"user": "ann", "page": "/", "at": NOON_MS + 1001}).encode(), "from_the_future"),
    ],
)
def test_a_record_that_cannot_be_an_event_is_a_dead_letter(value, reason):
    found = expected([Logged("hits", 0, 0, NOON_MS, None, value)], [], RULES).tables
    assert [row[0] for row in found["dead_letters"]] == [reason]
    assert not found["hits"]


def test_an_event_that_reaches_two_sessions_makes_them_one():
    """Events      1                19      10
    sessions   [1 ----- 11)    [19 -- 29)      one: [1 -- 29)
    """
    rules = RULES._replace(out_of_orderness_ms=50)
    found = expected([logged(0, 1), logged(1, 19), logged(2, 10)], [3], rules)
    assert bounds(found.tables["sessions"]) == [(1, 29)]
