"""What a run shows of its tables."""

from rich.console import Console

from headrace_cli.local import report
from headrace_cli.local.report import Highlights

MINUTE = 60_000


def shown(*tables):
    """The highlights' text after these rows were seen."""
    highlights = Highlights(gap_ms=30 * MINUTE)
    for name, rows in tables:
        highlights.see(name, rows)
    console = Console(width=120)
    with console.capture() as capture:
        for table in highlights.tables():
            console.print(table)
    return capture.get()


def minute(start, page, events, partition=0):
    return {"window_start": start, "page": page, "events": events, "_partition": partition}


def service(start, name, events, errors):
    return {"window_start": start, "service": name, "events": events, "errors": errors}


def session(start, end, user):
    return {
        "session_start": start,
        "session_end": end,
        "user_id": user,
        "events": 2,
        "first_page": "/a",
        "last_page": "[b]",
    }


def lines(text, word):
    return [" ".join(line.replace("│", " ").split()) for line in text.splitlines() if word in line]


def test_partial_counts_of_partitions_are_added_up():
    rows = [minute(0, "/home", 3), minute(MINUTE, "/home", 5), minute(0, "/cart", 1)]
    text = shown(("clickstream/page_minutes", rows), ("clickstream/page_minutes", [minute(0, "/home", 4, 1)]))
    assert lines(text, "1970") == ["1970-01-01 00:00 8 /home 7, /cart 1", "1970-01-01 00:01 5 /home 5"]


def test_the_longest_session_lasts_from_its_first_to_its_last_event():
    rows = [session(0, 31 * MINUTE, "ann"), session(0, 45 * MINUTE, "bob")]
    text = shown(("clickstream/sessions", rows), ("clickstream/sessions", [session(0, 40 * MINUTE, "eve")]))
    assert lines(text, "bob") == ["bob 1970-01-01 00:00 0:15:00 2 /a … [b]"]
    assert "3 sessions" in text


def test_the_worst_minutes_come_first_and_rare_ones_do_not_count():
    rows = [service(0, "web", 10, 1), service(0, "pay", 4, 4), service(MINUTE, "pay", 8, 4)]
    text = shown(("logs/service_minutes", rows))
    assert lines(text, "%") == ["1970-01-01 00:01 pay 8 4 50.0%", "1970-01-01 00:00 web 10 1 10.0%"]


def alert(until, rule, *samples):
    numbers = {"value": 0.5, "threshold": 0.25}
    return {"window_end": until, "rule": rule, "key": '{"service":"[pay]"}', "samples": samples} | numbers


def test_alerts_show_their_lines_those_that_have_some_first():
    rows = [alert(0, "silence"), alert(2 * MINUTE, "error-ratio", "no card", "no answer"), alert(MINUTE, "surge", "a")]
    text = shown(("logs/alerts", rows))
    assert "Alerts: 3" in text
    assert lines(text, "[pay]") == [
        "1970-01-01 00:01 surge [pay] 0.5 a",
        "1970-01-01 00:02 error-ratio [pay] 0.5 no card",
        "1970-01-01 00:00 silence [pay] 0.5",
    ]
    assert lines(text, "no answer") == ["no answer"]


def test_a_lake_without_rows_has_no_highlights():
    assert "0 sessions" in shown(("clickstream/sessions", []))


def test_the_injected_faults_are_counted_by_kind():
    console = Console(width=120)
    with console.capture() as capture:
        console.print(report.chaos_table({"seed": 7, "timed_out": 1_250, "redelivered": 0}))
    assert "Chaos, seed 7" in capture.get()
    assert lines(capture.get(), "timed") == ["timed out 1,250"]
    assert lines(capture.get(), "redelivered") == ["redelivered 0"]
