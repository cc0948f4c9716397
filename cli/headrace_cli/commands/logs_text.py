"""What `headrace logs try` prints: for a person, and as JSON. Text of the file never reaches the terminal as it is."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from headrace_cli.commands.rendering import cell, columns_text, iso, json_line, plain
from headrace_cli.trial.tally import Reasons, Tally
from headrace_cli.trial.trial import Turn

TOP = 10
"""Minutes, patterns and alerts on the screen."""
LEAST_FOR_A_RATE = 1_000
"""Lines; the time of fewer is that of the first ones."""
MESSAGE_CHARACTERS = 80
EXAMPLE_CHARACTERS = 160
_MINUTE = len("2024-03-13T10:15")
_SECOND = len("2024-03-13T10:15:00.000")


def json_lines(turn: Turn) -> Iterator[str]:
    """The events and the dead letters of a turn, an object each, by line."""
    events = [_without_nulls(event) for event in turn.events]
    dead = [
        {"line": record.offset + 1, "dead_letter": poison.reason, "detail": poison.detail, "value": record.value}
        for record, poison in turn.dead
    ]
    return map(json_line, sorted([*events, *dead], key=lambda each: each["line"]))


def unread_lines(turn: Turn) -> Iterator[str]:
    """Events that no format could read and dead letters, a line each, by line."""
    lines = [(event["line"], event["unparsed"], event["message"]) for event in turn.events]
    lines += [(record.offset + 1, str(poison), record.value or b"") for record, poison in turn.dead]
    for number, why, text in sorted(lines, key=lambda line: line[0]):
        yield f"{number}: {plain(why)}: {_short(cell(text), EXAMPLE_CHARACTERS)}"


def counts_json(tally: Tally) -> str:
    """The last line of `--json`."""
    return json_line(
        {
            "lines": tally.lines,
            "events": tally.events,
            "formats": _by_count(tally.formats),
            "severities": _by_count(tally.severities),
            "continuations": tally.continuations,
            "silent": tally.silent,
            "unparsed": _by_count(tally.unparsed.counts),
            "dead_letters": _by_count(tally.dead.counts),
            "late": tally.late,
            "first_time": None if tally.first_ms is None else iso(tally.first_ms),
            "last_time": None if tally.last_ms is None else iso(tally.last_ms),
            "tables": _by_count(tally.tables),
            "minutes": tally.minutes.rows()[:TOP],
            "patterns": dict(tally.patterns.most_common(TOP)),
            "patterns_are_lower_bounds": tally.patterns_dropped,
            "alerts": tally.alerts,
            "lines_per_cpu_second": {name: round(rate) for name, rate in _rates(tally).items()},
        }
    )


def summary(name: str, tally: Tally, first: Sequence[Mapping[str, Any]], named: str | None) -> Iterator[str]:
    """Everything for a person.

    Args:
        name: of the file.
        tally: what was found.
        first: events.
        named: the format, if the first line has named it.
    """
    yield f"{plain(name)}: {tally.lines:,} lines, {tally.events:,} events{_between(tally)}"
    if named is not None:
        yield f"  as the first line says: {plain(named)}"
    yield f"  {_counted(tally.formats | _others(tally)) or 'nothing'}"
    yield from _section("First rows", [_row(event) for event in first])
    yield from _reasons("Unparsed", tally.unparsed)
    yield from _reasons("Dead letters", tally.dead)
    yield from _section("Busiest minutes (service_minutes)", _minute_rows(tally.minutes.rows()[:TOP]))
    bound = ", at least" if tally.patterns_dropped else ""
    patterns = [
        {"events": count, "pattern": _short(pattern, EXAMPLE_CHARACTERS)}
        for pattern, count in tally.patterns.most_common(TOP)
    ]
    yield from _section(f"Most frequent patterns{bound}", patterns)
    yield from _alerts(tally)
    yield ""
    yield f"Rows: {_counted(tally.tables) or 'none'}"
    if tally.lines >= LEAST_FOR_A_RATE:
        yield f"CPU: {', '.join(f'{rate:,.0f} lines/s {name}' for name, rate in _rates(tally).items())}"


def _between(tally: Tally) -> str:
    if tally.first_ms is None or tally.last_ms is None:
        return ", none with a time"
    return f", {iso(tally.first_ms)[:_SECOND]} to {iso(tally.last_ms)[:_SECOND]} UTC"


def _others(tally: Tally) -> Counter[str]:
    """What lines became that are no events of a format."""
    return +Counter(
        {"continuation": tally.continuations, "silent": tally.silent, "dead letter": tally.dead.counts.total()}
    )


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "line": str(event["line"]),
        "time": cell(event["timestamp"])[:_SECOND],
        "service": event["service"],
        "severity": None if event["severity"] == "UNSPECIFIED" else event["severity"],
        "status": event["status"],
        "latency_ms": event["latency_ms"],
        "message": _message(event),
    }


def _message(event: Mapping[str, Any]) -> str:
    lines = (event["stack_trace"] or "").count("\n") + 1 if event["stack_trace"] else 0
    more = f" (+ {lines} lines)" if lines else ""
    return _short(event["message"] or "", MESSAGE_CHARACTERS) + more


def _minute_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """With a column for each member of a struct, e.g. `latency_ms.p50`."""
    flat = [_flat({"minute": cell(row["window_start"])[:_MINUTE], **row}) for row in rows]
    columns = dict.fromkeys(name for row in flat for name in row if not name.startswith("window_"))
    return [{name: row.get(name) for name in columns} for row in flat]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        members = {f"{name}.{member}": each for member, each in value.items()} if isinstance(value, dict) else None
        # Fractions to four digits.
        flat |= {n: f"{v:.4g}" if isinstance(v, float) and v else v for n, v in (members or {name: value}).items()}
    return flat


def _alerts(tally: Tally) -> Iterator[str]:
    total = tally.tables["alerts"]
    if not total:
        return
    yield from _title(f"Alerts that would have been raised: {total:,}")
    for alert in tally.alerts[:TOP]:
        when = cell(alert["window_end"])[:_MINUTE]
        yield f"{when}  {plain(alert['rule'])}  {plain(alert['key'])}  {_short(alert['summary'], EXAMPLE_CHARACTERS)}"
        for sample in alert["samples"]:
            yield f"    {_short(sample, EXAMPLE_CHARACTERS)}"
    if total > TOP:
        yield f"… and {total - TOP:,} more"


def _reasons(title: str, reasons: Reasons) -> Iterator[str]:
    total = reasons.counts.total()
    if not total:
        return
    yield from _title(f"{title}: {total:,}")
    for reason, count in reasons.counts.most_common():
        yield f"{count:,}  {plain(reason)}"
        for line, detail, text in reasons.examples[reason]:
            yield f"    line {line}: {_short(detail, EXAMPLE_CHARACTERS)}"
            if text:
                yield f"        {_short(text, EXAMPLE_CHARACTERS)}"


def _section(title: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if rows:
        yield from _title(title)
        yield columns_text(rows)


def _title(text: str) -> Iterator[str]:
    yield ""
    yield click.style(text, bold=True)


def _rates(tally: Tally) -> dict[str, float]:
    """Lines per second of CPU time."""
    seconds = {"parsed": tally.parsing_s, "through to aggregates": tally.through_s}
    return {name: tally.lines / spent_s for name, spent_s in seconds.items() if spent_s > 0}


def _without_nulls(event: Mapping[str, Any]) -> dict[str, Any]:
    present = {name: value for name, value in event.items() if value is not None}
    if "attributes" in present:
        present["attributes"] = json.loads(present["attributes"])
    return present


def _by_count(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.most_common() if count}


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {plain(name)}" for name, count in counts.most_common() if count)


def _short(text: str, most: int) -> str:
    shown = plain(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[:most]}…"
