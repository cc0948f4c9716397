"""The oracle itself: plain cases worked out by hand, and that it knows nothing of what it judges."""

import ast
import json
import sys
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from chaos.oracle import partition
from chaos.oracle.partition import Tick, expected
from chaos.oracle.rules import (
    Calendar,
    Change,
    Column,
    Declared,
    FirstTimes,
    Hopping,
    Lines,
    Logged,
    News,
    Rules,
    Sessions,
    Share,
    Silence,
    Sliding,
    Top,
    Tumbling,
)

NOON_MS = 1_710_331_200_000
EVENTS = Column("events", "count")
PER_PAGE = Declared("pages", Tumbling(10), ("page",), (EVENTS,))
PER_USER = Declared("sessions", Sessions(10), ("user",), (EVENTS,))
BOTH = Rules((PER_PAGE, PER_USER), out_of_orderness_ms=0, max_skew_ms=1000)
MODULES = sorted(Path(partition.__file__).parent.glob("*.py"))


def logged(offset, at, user="ann", page="/", **more):
    fields = {"user": user, "page": page, "at": at, "value": 1.0, **more}
    return Logged("hits", 0, offset, NOON_MS + offset, b"k", json.dumps(fields).encode())


def log(*times):
    """A record at each time; a pair is a time and a page."""
    pairs = [at if isinstance(at, tuple) else (at, "/") for at in times]
    return [logged(offset, at, page=page) for offset, (at, page) in enumerate(pairs)]


def only(declared, *, out_of_orderness_ms=0):
    return Rules((declared,), out_of_orderness_ms, max_skew_ms=1000)


def bounds(rows):
    return sorted(row[:2] for row in rows.elements())


def counts(rows):
    """Start, end and number of events, of rows with one key field and `EVENTS` as their first column."""
    return sorted((row[0], row[1], row[3]) for row in rows.elements())


def early(found, table="sessions"):
    """Start, end, number of events, revision and whether it is retracted, in order of their revisions."""
    rows = found.tables[f"{table}_early"].elements()
    return sorted(((row[0], row[1], row[3], row[4], row[5]) for row in rows), key=lambda row: (row[0], row[3]))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_it_imports_the_standard_library_and_itself_and_nothing_else(path):
    source = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    others = {name for name in names if not name.startswith("chaos.oracle.")}
    assert {name.partition(".")[0] for name in others} <= sys.stdlib_module_names


def test_a_tick_closes_what_is_open_where_it_was_committed():
    """Events      1    2 | tick |  3          25
    windows    [0 ------ 10)        late       [20 -- 30)
    sessions   [1 ------ 12)        [3 -- 13)  [25 -- 35)
    """
    with_tick = expected(log(1, 2, 3, 25), [2, 4], BOTH)
    assert bounds(with_tick.tables["pages"]) == [(0, 10), (20, 30)]
    assert bounds(with_tick.tables["sessions"]) == [(1, 12), (3, 13), (25, 35)]
    assert [(row[0], row[1]) for row in with_tick.tables["late"]] == [("pages", 3)]
    assert with_tick.ticks == [Tick(2, 12), Tick(4, 35)]


def test_without_a_tick_open_windows_are_not_given_out():
    assert not expected(log(1), [], BOTH).tables["pages"]


def test_a_tick_waits_for_the_operator_that_is_open_longest():
    """One window [0, 10) closes 7 after its end, the session [1, 11) at its end."""
    patient = BOTH._replace(operators=(PER_PAGE._replace(lateness_ms=7), PER_USER))
    assert expected(log(1), [1], patient).ticks == [Tick(1, 17)]


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
    found = expected([Logged("hits", 0, 0, NOON_MS, None, value)], [], BOTH).tables
    assert [row[0] for row in found["dead_letters"]] == [reason]
    assert not found["hits"]


def test_an_event_that_reaches_two_sessions_makes_them_one():
    """Events      1                19      10
    sessions   [1 ----- 11)    [19 -- 29)      one: [1 -- 29)
    """
    found = expected(log(1, 19, 10), [3], BOTH._replace(out_of_orderness_ms=50))
    assert bounds(found.tables["sessions"]) == [(1, 29)]


def test_windows_start_at_their_offset_before_the_epoch_too():
    found = expected(log(-8, 2, 3), [3], only(PER_PAGE._replace(window=Tumbling(10, offset_ms=3))))
    assert counts(found.tables["pages"]) == [(-17, -7, 1), (-7, 3, 1), (3, 13, 1)]


def test_an_event_is_in_every_hopping_window_that_has_its_time():
    """Events              7   12
    windows     [-5 .. 5)[0 .. 10)[5 .. 15)[10 .. 20)
    """
    found = expected(log(7, 12), [2], only(PER_PAGE._replace(window=Hopping(10, 5))))
    assert counts(found.tables["pages"]) == [(0, 10, 1), (5, 15, 2), (10, 20, 1)]


def test_an_event_between_two_windows_is_in_none_and_not_late():
    """Windows of 5 every 10: [0, 5), [10, 15); the event at 7 is between them."""
    found = expected(log(1, 7, 30, 7), [4], only(PER_PAGE._replace(window=Hopping(5, 10))))
    assert bounds(found.tables["pages"]) == [(0, 5), (30, 35)]
    assert not found.tables["late"]


def test_an_event_that_missed_some_of_its_windows_counts_in_the_others_and_is_late_once():
    """Windows of 20 every 5; the watermark is 12 when the event at 4 comes:

    [-15, 5), [-10, 10) are missed; [-5, 15), [0, 20) are open
    """
    found = expected(log(12, 4), [2], only(PER_PAGE._replace(window=Hopping(20, 5))))
    ((_, at_ms, start_ms, end_ms, windows, watermark_ms, late_by_ms, *_),) = found.tables["late"]
    assert (at_ms, start_ms, end_ms, windows, late_by_ms, watermark_ms) == (4, -15, 10, 2, 2, 12)
    assert counts(found.tables["pages"]) == [(-5, 15, 2), (0, 20, 2), (5, 25, 1), (10, 30, 1)]


def test_a_day_is_as_long_as_its_zone_makes_it():
    """Berlin, 2024-03-31: clocks go forward, and the day has 23 hours."""
    noon = datetime(2024, 3, 31, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    at_ms = round(noon.timestamp() * 1000)
    rules = Rules((PER_PAGE._replace(window=Calendar("Europe/Berlin")),), 0, max_skew_ms=10**12)
    ((start_ms, end_ms),) = bounds(expected(log(at_ms), [1], rules).tables["pages"])
    assert (end_ms - start_ms) / 3_600_000 == 23
    assert datetime.fromtimestamp(start_ms / 1000, ZoneInfo("Europe/Berlin")).isoformat() == "2024-03-31T00:00:00+01:00"


def test_every_event_time_of_a_key_has_a_sliding_window_that_reaches_back():
    """Events     10   14  14   20             size 6: [4 10], [8 14], [14 20]"""
    sliding = PER_PAGE._replace(window=Sliding(6))
    found = expected(log(10, 14, 14, 20), [4], only(sliding))
    assert counts(found.tables["pages"]) == [(4, 11, 1), (8, 15, 3), (14, 21, 3)]


def test_an_event_that_is_late_for_its_own_sliding_window_counts_in_later_ones_that_are_open():
    """The watermark is 12: the window of 10 closed at 11; those of 12 and, later, of 15 reach back to it."""
    found = expected(log(12, 10, 15), [3], only(PER_PAGE._replace(window=Sliding(6))))
    assert counts(found.tables["pages"]) == [(6, 13, 2), (9, 16, 3)]
    ((_, at_ms, start_ms, end_ms, windows, _, late_by_ms, *_),) = found.tables["late"]
    assert (at_ms, start_ms, end_ms, windows, late_by_ms) == (10, 4, 11, 1, 1)


def test_only_the_best_keys_of_a_window_are_given_out_and_ties_go_to_the_smaller_key():
    best = PER_PAGE._replace(top=Top(2, "events"))
    found = expected(log((1, "/c"), (2, "/c"), (3, "/b"), (4, "/a")), [4], only(best))
    assert sorted(row[2:4] for row in found.tables["pages"]) == [("/a", 1), ("/c", 2)]


@pytest.mark.parametrize(
    ("what", "field", "result"),
    [
        *(("count", None, 4), ("sum", "value", 5.5), ("min", "value", 0.5), ("max", "value", 4.0)),
        *(("mean", "value", 5.5 / 3), ("first", "page", "/2"), ("last", "page", "/4"), ("first", "value", None)),
        ("values", "value", "[[1, 0.5], [3, 1.0], [3, 4.0]]"),
    ],
)
def test_an_aggregate_is_that_of_the_events_in_order_of_time_then_offset(what, field, result):
    """Offset    1   2   3   4
    time      3   1   1   3
    """
    drawn = [(3, "/1", 4.0), (1, "/2", None), (1, "/3", 0.5), (3, "/4", 1.0)]
    records = [logged(n, at, page=page, value=value) for n, (at, page, value) in enumerate(drawn)]
    declared = PER_PAGE._replace(key=("user",), columns=(Column("it", what, field),))
    assert [row[3] for row in expected(records, [4], only(declared, out_of_orderness_ms=9)).tables["pages"]] == [result]


def test_without_a_value_there_is_no_sum_mean_or_extreme():
    columns = tuple(Column(what, what, "value") for what in ("sum", "mean", "min", "max"))
    found = expected([logged(0, 1, value=None)], [1], only(PER_PAGE._replace(columns=columns, complete=True)))
    assert [row[3:7] for row in found.tables["pages"]] == [(None,) * 4]


EARLY_PAGES = PER_PAGE._replace(lateness_ms=10, early=True)
EARLY_SESSIONS = PER_USER._replace(lateness_ms=20, early=True)


def test_a_window_that_is_over_is_given_out_and_again_with_every_record_that_it_takes():
    """Events     1   12      3          30
    [0, 10)        over    revision 1  closed
    """
    found = expected(log(1, 12, 3, 30), [], only(EARLY_PAGES))
    assert early(found, "pages") == [(0, 10, 1, 0, False), (0, 10, 2, 1, False)]
    assert counts(found.tables["pages"]) == [(0, 10, 2), (10, 20, 1)]


def test_a_window_that_is_over_and_closes_at_once_has_no_early_row():
    assert early(expected(log(1, 20), [], only(EARLY_PAGES)), "pages") == []
    assert early(expected(log(1), [1], only(EARLY_PAGES)), "pages") == [], "nor one that a tick closes"


def test_a_key_that_comes_when_the_window_is_over_begins_with_revision_0():
    found = expected(log((1, "/"), (12, "/"), (3, "/b")), [], only(EARLY_PAGES))
    assert sorted(row[2:5] for row in found.tables["pages_early"]) == [("/", 1, 0), ("/b", 1, 0)]


def test_a_session_that_grows_beyond_the_watermark_is_given_out_again_when_it_is_over():
    """Events     0            12 (of bob)      9                  20 (of bob)
    ann        [0 .. 10)    over, rev. 0     [0 .. 19), open    over, rev. 1
    """
    records = [logged(0, 0), logged(1, 12, "bob"), logged(2, 9), logged(3, 20, "bob")]
    assert early(expected(records, [], only(EARLY_SESSIONS))) == [(0, 10, 1, 0, False), (0, 19, 2, 1, False)]


def test_a_session_whose_start_moves_is_taken_back_and_begins_anew():
    """Events     5          16 (of bob)     1
    ann        [5 .. 15)  over, rev. 0    [1 .. 15): 5 is taken back, 1 has revision 0
    """
    records = [logged(0, 5), logged(1, 16, "bob"), logged(2, 1)]
    found = expected(records, [], only(EARLY_SESSIONS))
    assert early(found) == [(1, 15, 2, 0, False), (5, 15, 1, 0, False), (5, 15, 1, 1, True)]


def test_a_session_that_is_merged_into_an_earlier_one_is_taken_back_and_the_earlier_one_goes_on():
    """Events     0       15     27 (of bob)               8
    ann        [0..10) [15..25)  both over, revision 0  [0 .. 25), revision 1; 15 is taken back
    """
    records = [logged(0, 0), logged(1, 15), logged(2, 27, "bob"), logged(3, 8)]
    found = expected(records, [], only(EARLY_SESSIONS))
    assert early(found) == [(0, 10, 1, 0, False), (0, 25, 3, 1, False), (15, 25, 1, 0, False), (15, 25, 1, 1, True)]


def test_a_session_that_begins_where_a_closed_one_did_has_revisions_of_its_own():
    """Events     1   | tick: 31 |  2                     | tick: 32 |  5                2 (reaches 5)
    ann        [1..11) closed    [2..12) over: 2 has 0    closed      5 has 0      [2..15) 5 is taken back, 2 has 0
    """
    found = expected(log(1, 2, 5, 2), [1, 2], only(EARLY_SESSIONS))
    assert early(found) == [(2, 12, 1, 0, False), (2, 15, 2, 0, False), (5, 15, 1, 0, False), (5, 15, 1, 1, True)]


def test_a_session_that_was_never_given_out_is_not_taken_back():
    found = expected(log(5, 1), [2], only(EARLY_SESSIONS))
    assert early(found) == []
    assert bounds(found.tables["sessions"]) == [(1, 15)]


def test_lines_are_landed_with_what_continues_them():
    """Records    line  goes on  nothing  two lines  goes on  line          goes on
    key k      at 1                    at 2              40 after the hold
    """
    values = (1.0, None, 0, 3.5, None, 1.0, None)
    times = (1, 5, 6, 2, 7, 40, 8)
    log = [logged(offset, at, value=value) for offset, (at, value) in enumerate(zip(times, values, strict=True))]
    rules = BOTH._replace(lines=Lines(hold_ms=20, streams=2, lines=5, characters=100))
    found = expected(log, [7], rules)
    rows = {(row[8], row[4], row[5]) for row in found.tables["hits"].elements()}
    assert rows == {(0, "/", "/ 5"), (3, "/", None), (3, "/", "/ 7"), (5, "/", "/ 8")}
    assert (found.applied, found.ticks) == (7, [Tick(7, 60)])


def test_a_line_that_continues_nothing_is_a_row_of_its_own():
    rules = BOTH._replace(lines=Lines(hold_ms=20, streams=2, lines=5, characters=100))
    (row,) = expected([logged(0, 5, value=None)], [], rules).tables["hits"]
    assert row[:6] == (None, "continuation", "k", None, "/ 5", None)


WATCHED = PER_PAGE._replace(window=Hopping(15, 5), alerts=(Change("surge", "events", 2, at_least=2),))
QUIET = PER_USER._replace(alerts=(Silence("silence", at_least=2),))


def alerts(found):
    """Rule, start, end, value and samples."""
    return sorted((row[1], row[4], row[5], row[6], row[8]) for row in found.tables["alerts"].elements())


def test_a_window_is_an_alert_if_its_last_step_is_the_first_to_break_the_rule():
    """Steps      0 ..  5 ..  10 ..  15 ..  20 ..  25 ..
    events     1     2      4       8      0       4         surges: at 5; those at 10 and 15 are known by then
    windows    |-- surge --|                                 [-5, 10)
    """
    times = [n for n, events in zip((0, 5, 10, 15, 25), (1, 2, 4, 8, 4), strict=True) for _ in range(events)]
    found = expected(log(*times), [19], only(WATCHED))
    assert alerts(found) == [("surge", -5, 10, 2, ())]
    assert set(found.tables) == {"hits", "late", "dead_letters", "alerts"}, "what is watched is no table"


def test_an_alert_says_what_is_wrong_and_shows_samples_of_its_last_step():
    columns = (EVENTS, Column("total", "sum", "value"), Column("samples", "samples", "user"))
    declared = WATCHED._replace(columns=columns, alerts=(Share("share", "total", "events", 0.5, at_least=3),))
    records = [logged(0, 1, "ann"), *(logged(n, 7, user) for n, user in enumerate(("bob", "eve", "joe"), 1))]
    ((_, *row),) = expected(records, [4], only(declared)).tables["alerts"]
    summary = "share: /: total/events is 1 (3 of 3), above 0.5"
    assert row == ["share", '{"page":"/"}', summary, -5, 10, 1, 0.5, ("bob", "eve"), "hits", 0]


def test_an_event_whose_step_was_judged_counts_in_no_alert_and_is_not_late():
    """The watermark is 10 when the second event of [5, 10) comes: without it there is no surge."""
    found = expected(log(0, 5, 10, 6), [4], only(WATCHED))
    assert alerts(found) == []
    assert not found.tables["late"]
    assert alerts(expected(log(0, 5, 6, 10), [4], only(WATCHED))) == [("surge", -5, 10, 2, ())]


@pytest.mark.parametrize(
    ("final", "ticks", "silent"),
    [
        ((), [Tick(2, 10), Tick(2, 12), Tick(2, 12)], [("silence", 1, 12, 2, ())]),
        ((1,), [Tick(2, 10), Tick(2, 12), Tick(2, 12)], []),
        ((0,), [Tick(2, 12), Tick(2, 12), Tick(2, 12)], []),
    ],
)
def test_a_tick_closes_tables_first_and_a_final_one_tells_no_silence(final, ticks, silent):
    """The window [0, 10) is a table; the session [1, 12) is watched."""
    found = expected(log(1, 2), [2, 2, 2], BOTH._replace(operators=(PER_PAGE, QUIET)), final)
    assert found.ticks == ticks
    assert alerts(found) == silent
    assert bounds(found.tables["pages"]) == [(0, 10)]


def test_a_key_that_is_new_again_at_the_same_time_is_another_alert():
    """Only the last user is known: ann is new twice."""
    declared = Declared("new", FirstTimes(10, 1), ("user",), (), alerts=(News("news", "page", ("/",)),))
    records = [logged(n, 1, user) for n, user in enumerate(("ann", "bob", "ann"))]
    found = expected(records, [], only(declared)).tables
    assert (found["new"].total(), len({row[0] for row in found["alerts"]})) == (3, 3)
