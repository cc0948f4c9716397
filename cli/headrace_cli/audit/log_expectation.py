"""What the tables of log lines must hold of one partition.

Two things are taken from the landed rows instead of worked out: patterns, and the columns of lines that the audit has
no reading of its own of (see `logs`). Everything that is grouped, counted and joined by them is worked out again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from headrace_cli.audit.alerts import expect_alerts, new_errors
from headrace_cli.audit.expectation import (
    MINUTE_MS,
    NOTHING,
    Expectation,
    Row,
    Rules,
    Tables,
    dead_letter,
    landings,
    late_rows,
    origin,
    partition_of,
)
from headrace_cli.audit.landed_logs import AS_LANDED, Read, landed
from headrace_cli.audit.logs import Line, read_log
from headrace_cli.audit.quantiles import exact
from headrace_cli.audit.records import FROM_THE_FUTURE, Dead, Produced, is_from_the_future
from headrace_cli.audit.times import NotRead
from headrace_cli.audit.windows import Event, Window, added_up, in_time, tumbling

PATTERN_KEY = ("service", "severity", "pattern")
PATTERNS_A_MINUTE = 50
"""The most frequent ones of a minute; of equally frequent ones the first by key."""
FORGET_MS = 7 * 86_400_000
"""A pattern that was silent for so long is a new one again."""


class _SortedOut(NamedTuple):
    reads: list[Read]
    dead: list[Row]
    unexplained: list[int]
    """Offsets of records that are nowhere, and that the audit cannot read."""
    as_landed: list[int]
    """Offsets of lines that the landed rows had to be asked about."""


def expect_logs(records: Sequence[Produced], topic: str, rules: Rules, published: Tables = NOTHING) -> Expectation:
    """Landed lines with their stack traces, counts per minute, patterns and alerts."""
    sorted_out = _sorted_out(records, published, topic, rules)
    events = in_time(_events(sorted_out.reads), rules.out_of_orderness_ms)
    windows, late = _windows(events, rules)
    tables = {
        f"landing/{topic}": [{**line, **origin(record)} for record, line in landed(sorted_out.reads)],
        "landing/dead_letters": sorted_out.dead,
        "logs/dead_letters": sorted_out.dead,
        **{f"logs/{name}": rows for name, rows in windows.items()},
        "logs/late": late,
    }
    rows = landings(tables, topic)
    return Expectation(
        "logs",
        tables,
        applied=len(records) - len(sorted_out.dead),
        dead=len(sorted_out.dead),
        late=len(late),
        landings=rows,
        joined=len(records) - len(rows) - len(sorted_out.unexplained),
        as_landed=len(sorted_out.as_landed),
        unexplained=sorted_out.unexplained,
    )


def _windows(events: list[Event], rules: Rules) -> tuple[dict[str, list[Row]], list[Row]]:
    """Rows by table, and those of the late output."""
    late: list[Row] = []

    def minutes(table: str, *key: str) -> list[Window]:
        found, missed = tumbling(events, _key(*key), size_ms=MINUTE_MS, lateness_ms=rules.allowed_lateness_ms)
        late.extend(late_rows(table, missed, rules))
        return found

    news = list(_new_patterns(events))
    severities = minutes("severity_minutes", "service", "severity", "status_class")
    services = minutes("service_minutes", "service")
    patterns = minutes("pattern_minutes", *PATTERN_KEY)
    tables = {
        "severity_minutes": [_minute(window, "service", "severity", "status_class") for window in severities],
        "service_minutes": [_minute(window, "service") | _of_service(window.events) for window in services],
        "pattern_minutes": [_minute(each, *PATTERN_KEY) for each in _most_frequent(patterns)],
        "new_patterns": news,
        "alerts": [*expect_alerts(events, services, rules.allowed_lateness_ms), *new_errors(news)],
    }
    return tables, late


def _key(*names: str) -> Callable[[Line], tuple[Any, ...]]:
    return lambda line: tuple(line[name] for name in names)


def _minute(window: Window, *key: str) -> Row:
    return {
        "window_start": window.start_ms,
        "window_end": window.end_ms,
        **dict(zip(key, window.key, strict=True)),
        "events": len(window.events),
        **partition_of(window),
    }


def _of_service(events: list[Event]) -> Row:
    errors = sum(event.fields["is_error"] for event in events)
    return {
        "errors": errors,
        "error_ratio": errors / len(events),
        # Of a partial row, what its mean is merged from.
        "error_ratio__sum": errors,
        "error_ratio__count": len(events),
        "unparsed": sum(event.fields["is_unparsed"] for event in events),
        "bytes": added_up(event.fields["bytes"] for event in events),
        "latency_ms": exact(event.fields["latency_ms"] for event in events),
    }


def _most_frequent(windows: Iterable[Window]) -> Iterable[Window]:
    by_start: dict[int, list[Window]] = {}
    for window in windows:
        by_start.setdefault(window.start_ms, []).append(window)
    for of_minute in by_start.values():
        order = sorted(of_minute, key=lambda w: (-len(w.events), [(part is not None, part or "") for part in w.key]))
        yield from order[:PATTERNS_A_MINUTE]


def _new_patterns(events: Iterable[Event]) -> Iterable[Row]:
    """A line's moment is its time, or the watermark before it if that is later; 100,000 patterns are remembered."""
    last_ms: dict[tuple[Any, ...], int] = {}
    for event in events:
        key = tuple(event.fields[name] for name in PATTERN_KEY)
        now_ms = max(event.time_ms, event.watermark_ms)
        known_ms = last_ms.get(key)
        if known_ms is None or now_ms - known_ms >= FORGET_MS:
            named = {name: event.fields[name] for name in (*PATTERN_KEY, "message")}
            yield {"first_seen": event.time_ms, **named, **origin(event.record)}
        last_ms[key] = now_ms if known_ms is None else max(known_ms, now_ms)


def _events(reads: Iterable[Read]) -> Iterable[tuple[Produced, Line, int]]:
    return ((read.record, read.line, read.time_ms) for read in reads if not isinstance(read.line, str))


def _sorted_out(records: Iterable[Produced], published: Tables, topic: str, rules: Rules) -> _SortedOut:
    """The events and what continues them, and the dead letters."""
    rows = _by_offset(published.get(f"landing/{topic}", ()))
    letters = _by_offset(published.get("landing/dead_letters", ()))
    found = _SortedOut([], [], [], [])
    for record in records:
        try:
            try:
                reads = _reads(record, rows.get(record.offset, ()))
            except NotRead:
                reads = _as_landed(record, rows.get(record.offset, ()), letters.get(record.offset, ()))
                (found.as_landed if reads else found.unexplained).append(record.offset)
            if any(is_from_the_future(read.time_ms, record, rules.max_skew_ms) for read in reads):
                raise Dead(FROM_THE_FUTURE)  # noqa: TRY301 - as if the reader had said so
        except Dead as verdict:
            found.dead.append(dead_letter(record, verdict))
        else:
            found.reads.extend(reads)
    return found


def _reads(record: Produced, rows: Sequence[Row]) -> list[Read]:
    """What a record tells."""
    line = read_log(record)
    if isinstance(line, str):
        return [Read(record, line, record.timestamp_ms)]
    line["pattern"] = rows[0]["pattern"] if len(rows) == 1 else None
    return [Read(record, line, _time_ms(line, record))]


def _as_landed(record: Produced, rows: Sequence[Row], letters: Sequence[Row]) -> list[Read]:
    """What a record that the audit cannot read has become."""
    if letters:
        raise Dead(letters[0]["cause"])
    lines = [_columns(row) | {AS_LANDED: True} for row in rows]
    return [Read(record, line, _time_ms(line, record)) for line in lines]


def _columns(row: Row) -> Line:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _time_ms(line: Line, record: Produced) -> int:
    time_ms: int = record.timestamp_ms if line["timestamp"] is None else line["timestamp"]
    return time_ms


def _by_offset(rows: Iterable[Row]) -> dict[int, list[Row]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row["_offset"], []).append(row)
    return found
