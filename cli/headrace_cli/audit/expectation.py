"""What the tables must hold of one partition, worked out from the records that were produced to it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from headrace_cli.audit.clicks import read_click
from headrace_cli.audit.records import FROM_THE_FUTURE, Dead, Produced, is_from_the_future
from headrace_cli.audit.windows import Late, Window, added_up, first, in_time, last, sessions, tumbling

Row = dict[str, Any]
"""Column name to value. Times are epoch milliseconds."""

Tables = Mapping[str, Sequence[Row]]
"""What was published of a partition, by `pipeline/table`."""
NOTHING: Tables = MappingProxyType({})

MINUTE_MS = 60_000


class Rules(NamedTuple):
    """The deployment's choices that results depend on, in milliseconds."""

    out_of_orderness_ms: int = 60_000
    allowed_lateness_ms: int = 0
    max_skew_ms: int = 300_000
    session_gap_ms: int = 1_800_000


class Expectation(NamedTuple):
    """What one partition's records amount to."""

    windowing: str
    """The pipeline that makes windows of this topic."""
    tables: dict[str, list[Row]]
    """Every row of every table, by `pipeline/table`."""
    applied: int
    dead: int
    late: int
    landings: Counter[int]
    """Rows by offset, of the landed table and of the dead letters together."""
    joined: int = 0
    """Records that have no row of their own, because they are part of another one."""
    as_landed: int = 0
    """Records that the audit has no reading of: their columns were taken from the landed table."""
    unexplained: Sequence[int] = ()
    """Offsets of such records that are neither landed nor dead."""


class _Readable(NamedTuple):
    record: Produced
    fields: dict[str, Any]
    time_ms: int


def expect_clicks(
    records: Iterable[Produced],
    topic: str,
    rules: Rules,
    published: Tables = NOTHING,  # noqa: ARG001 - clicks leave nothing to look up
) -> Expectation:
    """Landed clicks, counts per page and minute, and sessions."""
    readable, dead = _sorted_out(records, read_click, rules)
    events = in_time(readable, rules.out_of_orderness_ms)
    minutes, late_minutes = tumbling(
        events,
        lambda click: (click["page"], click["event_type"]),
        size_ms=MINUTE_MS,
        lateness_ms=rules.allowed_lateness_ms,
    )
    visits, late_visits = sessions(
        events, lambda click: (click["user_id"],), gap_ms=rules.session_gap_ms, lateness_ms=rules.allowed_lateness_ms
    )
    late = late_rows("page_minutes", late_minutes, rules) + late_rows("sessions", late_visits, rules)
    windows = {"page_minutes": list(map(_page_minute, minutes)), "sessions": list(map(_session, visits))}
    return _expectation("clickstream", topic, (readable, dead), windows | {"late": late})


def _sorted_out(
    records: Iterable[Produced], read: Callable[[Produced], dict[str, Any]], rules: Rules
) -> tuple[list[_Readable], list[Row]]:
    """The records that can be read and believed, and the dead letters."""
    readable: list[_Readable] = []
    dead: list[Row] = []
    for record in records:
        try:
            fields = read(record)
            time_ms = record.timestamp_ms if fields["timestamp"] is None else fields["timestamp"]
            if is_from_the_future(time_ms, record, rules.max_skew_ms):
                raise Dead(FROM_THE_FUTURE)  # noqa: TRY301 - as if the reader had said so
        except Dead as verdict:
            dead.append(dead_letter(record, verdict))
        else:
            readable.append(_Readable(record, fields, time_ms))
    return readable, dead


def _expectation(
    windowing: str, topic: str, sorted_out: tuple[Sequence[_Readable], list[Row]], windows: dict[str, list[Row]]
) -> Expectation:
    readable, dead = sorted_out
    tables = {
        f"landing/{topic}": [{**each.fields, **origin(each.record)} for each in readable],
        "landing/dead_letters": dead,
        f"{windowing}/dead_letters": dead,
        **{f"{windowing}/{name}": rows for name, rows in windows.items()},
    }
    return Expectation(windowing, tables, len(readable), len(dead), len(windows["late"]), landings(tables, topic))


def dead_letter(record: Produced, verdict: Dead) -> Row:
    """Its row."""
    return {"cause": verdict.cause, "value": record.value, **origin(record)}


def landings(tables: Tables, topic: str) -> Counter[int]:
    """Rows by offset."""
    return Counter(row["_offset"] for name in (topic, "dead_letters") for row in tables.get(f"landing/{name}", ()))


def origin(record: Produced) -> Row:
    """Where a row's record was."""
    return {
        "_topic": record.topic,
        "_partition": record.partition,
        "_offset": record.offset,
        "_timestamp_ms": record.timestamp_ms,
        "_key": record.key,
        "_headers": record.headers,
    }


def partition_of(window: Window) -> Row:
    """The partition, which is the same for all events."""
    record = window.events[0].record
    return {"_topic": record.topic, "_partition": record.partition}


def _page_minute(window: Window) -> Row:
    page, event_type = window.key
    return {
        "window_start": window.start_ms,
        "window_end": window.end_ms,
        "page": page,
        "event_type": event_type,
        "events": len(window.events),
        "value_sum": added_up(event.fields["value"] for event in window.events),
        **partition_of(window),
    }


def _session(window: Window) -> Row:
    return {
        "session_start": window.start_ms,
        "session_end": window.end_ms,
        "user_id": window.key[0],
        "events": len(window.events),
        "first_page": first(window.events).fields["page"],
        "last_page": last(window.events).fields["page"],
        **partition_of(window),
    }


def late_rows(operator: str, late: list[Late], rules: Rules) -> list[Row]:
    """Rows of the late output of one operator."""
    return [_late_row(operator, each, rules.allowed_lateness_ms) for each in late]


def _late_row(operator: str, late: Late, lateness_ms: int) -> Row:
    event, start_ms, end_ms = late
    return {
        "operator": operator,
        "event_time": event.time_ms,
        "window_start": start_ms,
        "window_end": end_ms,
        "windows": 1,
        "watermark": event.watermark_ms,
        "late_by_ms": event.watermark_ms - end_ms - lateness_ms,
        "value": event.record.value,
        **origin(event.record),
    }
