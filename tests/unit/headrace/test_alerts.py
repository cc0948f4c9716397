"""Alerts: one row when something begins to be wrong, whatever batches the lines came in.

Minutes are drawn: `.` ten lines, `#` ten lines with nine errors, `s` three errors, `!` a hundred lines, ` ` none.
"""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import NOON_MS
from watched_lines import (
    ERRORS,
    MINUTE_MS,
    MINUTES,
    QUIET,
    SILENCE,
    SLUMP,
    SURGE,
    WATCH,
    Alert,
    Line,
    Run,
    drawn,
    expected_of_panes,
    records,
    topology,
)

from headrace.aggregates import Count
from headrace.alert_rules import NewPattern, Ratio
from headrace.alerts import MAX_SUMMARY_CHARS, Alerts
from headrace.errors import ConfigurationError, SchemaError
from headrace.first_seen import FirstSeen
from headrace.state import OpenRows
from headrace.window_rows import Top
from headrace.windowed import Windowed
from headrace.windows import HoppingWindows, SlidingWindows, TumblingWindows

END = " " * 12 + "."
"""Another service speaks after twelve minutes, so that everything before is over."""


def minutes_of(alerts, rule):
    """The last minute of each of the rule's windows, from noon on."""
    return sorted((alert.end_ms - NOON_MS) // MINUTE_MS - 1 for alert in alerts.elements() if alert.rule == rule)


@pytest.mark.parametrize(
    ("minutes", "errors", "surges", "slumps"),
    [
        (".....", [], [], []),
        ("..#####...", [2], [], []),  # an outage of five minutes is one
        ("#", [0], [], []),  # also in the first minute ever
        ("..#.#.#...", [2], [], []),  # flapping is one …
        ("..##.##...", [2], [], []),
        ("..##..##..", [2, 6], [], []),  # … until all the rest of a window was in peace
        ("..##########....###", [2, 16], [], []),
        ("..s#s###...", [3], [], []),  # too few lines say nothing
        ("..s.", [], [], []),
        ("..# #...", [2], [], [3]),  # a minute without lines is no end
        ("..!!!.", [], [2], [5]),  # ten times as many, then a tenth
        ("!!!", [], [], []),  # who begins has no rate that changed
        (" !!", [], [], []),
        (". !.", [], [], [1, 3]),
        (".!.!.!...", [], [1, 3, 5], [2, 4, 6]),  # a change needs two minutes: windows of four would call it flapping
        ("..    ..", [], [], [2]),
    ],
)
def test_a_rule_is_broken_when_its_window_begins_to_break_it(minutes, errors, surges, slumps):
    run = Run(topology())
    run.apply(records(drawn({"shop": minutes, "end": " " * len(minutes) + END})))
    alerts = run.alerts()
    assert minutes_of(alerts, "errors") == errors
    assert minutes_of(alerts, "surge") == surges
    # That the drawing ends is a slump too.
    assert [minute for minute in minutes_of(alerts, "slump") if minute < len(minutes)] == slumps


def test_an_outage_is_one_row_that_says_what_happened():
    run = Run(topology(MINUTES, Alerts(WATCH, (ERRORS,))))
    run.apply(records(drawn({"shop": "..#####...", "end": " " * 10 + END})))
    (row,) = run.tables["alerts"]
    assert row["rule"] == "errors"
    assert json.loads(row["key"]) == {"service": "shop"}
    assert row["summary"] == "errors: shop: errors/events is 0.9 (9 of 10), above 0.25"
    assert (row["value"], row["threshold"]) == (0.9, 0.25)
    assert row["samples"] == ["shop 2:0", "shop 2:1", "shop 2:2"]
    assert row["window_end"].timestamp() * 1000 == NOON_MS + 3 * MINUTE_MS
    assert (row["_topic"], row["_partition"]) == ("lines", 3)


def test_windows_that_are_watched_are_no_table():
    run = Run(topology())
    run.apply(records(drawn({"shop": "..##", "end": " " * 4 + END})))
    assert set(run.tables) == {"minutes", "alerts"}


def test_silence_is_told_when_it_has_lasted():
    run = Run(topology(Alerts(QUIET, (SILENCE,))))
    run.apply(records(drawn({"shop": "....", "other": "." * 13})))
    assert run.alerts() == {}
    run.apply(records(drawn({"other": "." * 20}, NOON_MS + 13 * MINUTE_MS), 1000))
    assert run.alerts() == {Alert("silence", "shop", NOON_MS, NOON_MS + 13 * MINUTE_MS + 9): 1}


def test_who_was_hardly_there_is_not_missed():
    run = Run(topology(Alerts(QUIET, (SILENCE,))))
    run.apply(records([Line(NOON_MS, "typo", is_error=False), *drawn({"other": "." * 20})]))
    assert run.alerts() == {}


def test_a_tick_closes_tables_first_and_tells_silence_with_the_next():
    """Else the next lines would be late for minutes that nobody has seen yet."""
    run = Run(topology())
    run.apply(records(drawn({"shop": ".."})))
    assert run.tick()
    assert run.logic.watermark_ms == NOON_MS + 2 * MINUTE_MS
    assert run.alerts() == {}
    run.apply(records(drawn({"shop": "#"}, NOON_MS + 6 * MINUTE_MS), 1000))
    assert run.tables["late"] == []
    assert run.tick()
    assert run.tick()
    assert not run.tick()
    assert minutes_of(run.alerts(), "errors") == [6]
    assert [alert.end_ms for alert in run.alerts() if alert.rule == "silence"] == [NOON_MS + 16 * MINUTE_MS + 9]


def test_a_final_tick_closes_everything_and_takes_the_end_for_no_silence():
    """Nobody reads any more: that nothing comes is no news. What the last minutes had is."""
    run = Run(topology())
    run.apply(records(drawn({"shop": "....#", "cart": "....."})))
    assert run.tick(final=True)
    assert not run.tick(final=True)
    assert run.alerts() == {Alert("errors", "shop", NOON_MS + 2 * MINUTE_MS, NOON_MS + 5 * MINUTE_MS): 1}
    assert run.logic.open_rows == 0


def test_a_final_tick_takes_the_end_for_no_silence_even_if_a_tick_has_closed_the_tables_before():
    run = Run(topology())
    run.apply(records(drawn({"shop": "....#", "cart": "....."})))
    assert run.tick()
    told = run.alerts()
    assert minutes_of(told, "errors") == [4]
    assert run.tick(final=True)
    assert run.alerts() == told
    assert run.logic.open_rows == 0
    assert not run.tick(final=True)


def test_late_lines_are_reported_once_and_change_no_judgement():
    """They are late for the table of minutes, which says so; the outage of which they tell is over."""
    run = Run(topology())
    run.apply(records(drawn({"shop": "....", "other": "."})))
    run.apply(records(drawn({"shop": "#" * 3}), 1000))
    run.apply(records(drawn({"shop": "#", "end": END}, NOON_MS + 4 * MINUTE_MS), 2000))
    assert len(run.tables["late"]) == 30
    assert {row["operator"] for row in run.tables["late"]} == {"minutes"}
    assert minutes_of(run.alerts(), "errors") == [4]


def test_keys_are_judged_apart_and_no_key_is_one_for_all():
    run = Run(topology(Alerts(WATCH, (ERRORS,))))
    run.apply(records(drawn({"a": "..##", "b": "#...", "c": "....", "end": " " * 4 + END})))
    assert sorted((a.service, a.end_ms // MINUTE_MS - NOON_MS // MINUTE_MS) for a in run.alerts()) == [
        ("a", 3),
        ("b", 1),
    ]
    of_all = Windowed("all", WATCH.window, (), WATCH.aggregates)
    run = Run(topology(Alerts(of_all, (ERRORS,))))
    run.apply(records(drawn({"a": "..##", "b": "..", "end": " " * 4 + END})))
    (row,) = run.tables["alerts"]
    assert (row["key"], row["summary"].partition(" (")[0]) == ("{}", "errors: all: errors/events is 0.9")


def test_tumbling_windows_are_judged_one_by_one():
    of = Windowed("m", TumblingWindows(MINUTE_MS), ("service",), WATCH.aggregates)
    run = Run(topology(Alerts(of, (ERRORS,))))
    run.apply(records(drawn({"a": ".##.", "end": " " * 4 + END})))
    assert minutes_of(run.alerts(), "errors") == [1, 2]


def test_an_alerts_id_is_its_own_and_does_not_depend_on_how_it_was_found():
    lines = records(drawn({"a": "..##...#", "b": "..##", "end": " " * 8 + END}))
    whole, cut = Run(topology()), Run(topology())
    whole.apply(lines)
    for record in lines:
        cut.apply([record], reload=True)
    ids = [row["alert_id"] for row in whole.tables["alerts"]]
    assert len(set(ids)) == len(ids) > 3
    assert sorted(ids) == sorted(row["alert_id"] for row in cut.tables["alerts"])
    assert {len(found) for found in ids} == {32}


def test_a_key_as_long_as_a_line_leaves_the_summary_readable():
    run = Run(topology(Alerts(WATCH, (ERRORS,))))
    run.apply(records(drawn({"x" * 100_000: "#", "end": END})))
    (row,) = run.tables["alerts"]
    assert len(row["summary"]) == MAX_SUMMARY_CHARS
    assert row["summary"].endswith("x: errors/events is 0.9 (9 of 10), above 0.25")


SERVICES = st.sampled_from(["a", "b"])
MINUTE_KINDS = st.sampled_from(".#s! ")


@st.composite
def lines_out_of_order(draw):
    lanes = draw(st.dictionaries(SERVICES, st.lists(MINUTE_KINDS, min_size=1, max_size=12).map("".join), min_size=1))
    lines = drawn(lanes)
    jitters = draw(st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), min_size=1, max_size=7))
    shifted = [(line.at + jitters[n % len(jitters)] * MINUTE_MS, line) for n, line in enumerate(lines)]
    return [line for _, line in sorted(shifted, key=lambda pair: pair[0])]


@settings(deadline=None, max_examples=150)
@given(
    lines=lines_out_of_order(),
    disorder=st.sampled_from([0, 0, 1, 3]),
    lateness=st.sampled_from([0, 0, 1, 2]),
    cuts=st.sets(st.integers(1, 600), max_size=8),
    reload=st.booleans(),
)
def test_alerts_follow_from_the_list_of_lines_alone(lines, disorder, lateness, cuts, reload):
    """Wherever batches are cut, and whatever was stored and read back between them."""
    times = {"out_of_orderness_ms": disorder * MINUTE_MS, "lateness_ms": lateness * MINUTE_MS}
    of = topology(
        *(MINUTES, Alerts(WATCH, (ERRORS, SURGE, SLUMP))),
        out_of_orderness_ms=disorder * MINUTE_MS,
        allowed_lateness_ms=lateness * MINUTE_MS,
    )
    run, arrived = Run(of), records(lines)
    edges = sorted({0, len(arrived), *(min(cut, len(arrived)) for cut in cuts)})
    for start, end in pairwise(edges):
        run.apply(arrived[start:end], reload=reload)
    if lines:
        assert run.alerts() == expected_of_panes(lines, run.logic.watermark_ms, **times)
    while run.tick(reload=reload):
        pass
    assert run.alerts() == (expected_of_panes(lines, run.logic.watermark_ms, **times) if lines else {})
    assert run.logic.open_rows == 0


NEW = FirstSeen("new_messages", key=("service",), forget_after_ms=10 * MINUTE_MS, samples=("message", "is_error"))


def test_rows_of_another_operator_are_judged_one_by_one_and_stay_a_table():
    run = Run(topology(Alerts(NEW, (NewPattern("new-error", "is_error", (1,)),)), Alerts(WATCH, (ERRORS,))))
    lines = [Line(NOON_MS + n, f"s{n}", is_error=n == 1, message="x" * 1000) for n in range(3)]
    run.apply(records([*lines, *lines, *drawn({"end": END})]))
    assert len(run.tables["new_messages"]) == 4
    (row,) = run.tables["alerts"]
    assert row["summary"] == "new-error: s1: new, with is_error 1"
    assert row["samples"] == ["x" * 500]
    assert row["window_start"].timestamp() * 1000 == NOON_MS + 1


def test_a_silence_that_begins_where_another_did_is_an_alert_of_its_own():
    """A line comes again after its session was closed, and is reached by a new one."""
    run = Run(topology(Alerts(QUIET, (SILENCE,))))
    lines = [Line(at_ms, "shop", is_error=False) for at_ms in (NOON_MS, NOON_MS + 1, NOON_MS + 5 * MINUTE_MS, NOON_MS)]
    for first_offset in (0, 2):
        run.apply(records(lines[first_offset : first_offset + 2], first_offset))
        assert run.tick()
    assert [alert.start_ms for alert in run.alerts().elements()] == [NOON_MS] * 2
    assert len({row["alert_id"] for row in run.tables["alerts"]}) == 2


def test_a_key_that_is_new_once_more_with_an_event_of_the_same_time_is_an_alert_of_its_own():
    forgetful = FirstSeen("new_messages", key=("service",), forget_after_ms=1, samples=("is_error",), capacity=1)
    run = Run(topology(Alerts(forgetful, (NewPattern("new", "is_error", (1,)),))))
    run.apply(records([Line(NOON_MS, service, is_error=True) for service in ("a", "b", "a")]))
    assert len({row["alert_id"] for row in run.tables["alerts"]}) == 3


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: Alerts(WATCH, ()), "need rules with a name of its own each"),
        (lambda: Alerts(WATCH, (ERRORS, ERRORS)), "need rules with a name of its own each"),
        (
            lambda: Alerts(WATCH, (ERRORS,), table="a b"),
            "table 'a b' of the alerts about 'watch': its name may have letters",
        ),
        (
            lambda: Alerts(MINUTES, (Ratio("r", "errors", "lines", 0.1),)),
            "reads 'lines', which is none of events, errors",
        ),
        (lambda: Alerts(NEW, (NewPattern("n"),)), "reads 'severity', which is none of service, message, is_error"),
        (lambda: Alerts(_over(SlidingWindows(5)), (ERRORS,)), "cannot be watched"),
        (lambda: Alerts(_over(HoppingWindows(5, 2)), (ERRORS,)), "multiple of advance_ms"),
        (lambda: Alerts(_over(HoppingWindows(2, 5, leaves_gaps=True)), (ERRORS,)), "multiple of advance_ms"),
        (lambda: Alerts(_over(MINUTES.window, top=Top(1, "events")), (ERRORS,)), "cannot be watched"),
        (lambda: topology(Alerts(WATCH, (ERRORS,), table="minutes"), MINUTES), "'minutes' has another use"),
        (
            lambda: topology(
                Alerts(NEW, (NewPattern("n", "message"),)), Windowed(NEW.table, MINUTES.window, (), MINUTES.aggregates)
            ),
            "another use",
        ),
        (lambda: topology(Alerts(WATCH, (ERRORS,), table="late")), "'late' has another use"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(declare, says):
    with pytest.raises(ConfigurationError, match=says):
        declare()


def test_a_field_that_is_not_there_is_refused_when_the_topology_is_made():
    with pytest.raises(SchemaError):
        topology(Alerts(Windowed("w", MINUTES.window, ("nobody",), {"events": Count()}), (SILENCE,)))


def test_rules_can_change_without_a_new_generation_and_what_is_watched_cannot():
    def fingerprint(rules, of=WATCH, table="alerts"):
        return topology(MINUTES, Alerts(of, rules, table)).fingerprint()

    assert fingerprint((ERRORS,)) == fingerprint((SURGE, SLUMP)) == fingerprint((ERRORS,), table="others")
    assert fingerprint((ERRORS,)) != fingerprint((ERRORS,), Windowed("w", WATCH.window, (), WATCH.aggregates))


def test_what_is_stored_is_what_any_hopping_window_stores():
    """No state beside the panes': what is open is as many rows as keys and minutes."""
    run = Run(topology(Alerts(WATCH, (ERRORS, SURGE, SLUMP))))
    run.apply(records(drawn({"a": "#####", "b": "....."})))
    (state,) = run.logic._states()
    assert isinstance(state, OpenRows)
    assert run.logic.open_rows == 2 * 3


def _over(window, **more):
    return Windowed("w", window, ("service",), WATCH.aggregates, **more)
