"""The alerts that a partition's log lines must have led to, worked out again from minutes that keep their lines.

A service's minute is trouble if more than a quarter of twenty lines or more are errors, and a surge if it has at least
five times the lines of the minute before, and a hundred. It is an alert unless one of the four minutes before it was
the same already, of which the earliest has no minute before it to compare with. A service that said twenty lines or
more and then nothing for ten minutes is silent; that the stream ends is no silence: the last tick of a partition goes
to the end of the minute of its latest event. A pattern of errors that was not there before is an alert as well.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from headrace_cli.audit.windows import Event, Window, sessions

MINUTE_MS = 60_000
STEPS = 5
SILENCE_MS = 10 * MINUTE_MS
SAMPLES, SAMPLE_CHARACTERS = 3, 500

Row = dict[str, Any]
Lines = list[Event]
Judge = Callable[[Sequence[Lines]], float | None]


def expect_alerts(events: Iterable[Event], minutes: Iterable[Window], lateness_ms: int) -> list[Row]:
    """Every row, but for its words.

    Args:
        events: of the partition, in offset order.
        minutes: of each service, with the events that were in time for them.
        lateness_ms: how long sessions stay open beyond their gap.
    """
    of_service: dict[str, dict[int, Lines]] = {}
    for minute in minutes:
        of_service.setdefault(minute.key[0], {})[minute.start_ms] = minute.events
    rows = [row for known in of_service.values() for row in _trouble(known)]
    events = list(events)
    silent, _ = sessions(events, lambda line: (line["service"],), gap_ms=SILENCE_MS, lateness_ms=lateness_ms)
    latest_ms = max((event.time_ms for event in events), default=0)
    last_tick_ms = (latest_ms // MINUTE_MS + 1) * MINUTE_MS + lateness_ms
    rows += [
        _row(
            "silence", "service_silence", (session.start_ms, session.end_ms), session.events, (len(session.events), 20)
        )
        for session in silent
        if session.end_ms + lateness_ms <= last_tick_ms and len(session.events) >= 20  # noqa: PLR2004 - see above
    ]
    return rows


def _trouble(minutes: dict[int, Lines]) -> Iterable[Row]:
    for last_ms, events in minutes.items():
        first_ms = last_ms - (STEPS - 1) * MINUTE_MS
        steps = [minutes.get(first_ms + step * MINUTE_MS, []) for step in range(STEPS)]
        for rule, judge, threshold in (("error-ratio", _error_ratio, 0.25), ("surge", _surge, 5)):
            value = judge(steps)
            if value is None or any(judge(steps[:end]) is not None for end in range(1, STEPS)):
                continue
            yield _row(rule, "service_trouble", (first_ms, last_ms + MINUTE_MS), events, (value, threshold)) | {
                "samples": tuple([line[:SAMPLE_CHARACTERS] for line in _error_messages(events)][:SAMPLES])
            }


def _error_ratio(steps: Sequence[Lines]) -> float | None:
    lines = steps[-1]
    errors = sum(event.fields["is_error"] for event in lines)
    return errors / len(lines) if len(lines) >= 20 and errors * 4 > len(lines) else None  # noqa: PLR2004 - see above


def _surge(steps: Sequence[Lines]) -> float | None:
    before, now = [0, *map(len, steps)][-2:]
    return now / before if len(steps) > 1 and before and now >= 100 and now >= 5 * before else None  # noqa: PLR2004


def _error_messages(events: Lines) -> list[str]:
    return [e.fields["message"] for e in events if e.fields["is_error"] and e.fields["message"] is not None]


def new_errors(news: Iterable[Row]) -> Iterable[Row]:
    """Of patterns that were seen for the first time those of errors, each with the message that it was seen in."""
    for row in news:
        if row["severity"] not in {"ERROR", "FATAL"}:
            continue
        key = {name: row[name] for name in ("service", "severity", "pattern")}
        window = (row["first_seen"], row["first_seen"] + 1)
        samples = () if row["message"] is None else (row["message"][:SAMPLE_CHARACTERS],)
        place = row["_topic"], row["_partition"]
        yield _alert("new-error", ("new_patterns", key), window, place, (1, 1), row["_offset"]) | {"samples": samples}


def _row(rule: str, watched: str, window: tuple[int, int], events: Lines, numbers: tuple[float, float]) -> Row:
    record, service = events[0].record, events[0].fields["service"]
    return _alert(rule, (watched, {"service": service}), window, (record.topic, record.partition), numbers)


def _alert(
    rule: str,
    watched: tuple[str, Row],
    window: tuple[int, int],
    place: tuple[str, int],
    numbers: tuple[float, float],
    *offset: int,
) -> Row:
    table, key = watched
    described = json.dumps([*place, table, rule, key, *window, *offset], separators=(",", ":"), ensure_ascii=False)
    return {
        "alert_id": hashlib.sha256(described.encode()).hexdigest()[:32],
        "rule": rule,
        "key": json.dumps(key, separators=(",", ":"), ensure_ascii=False),
        "window_start": window[0],
        "window_end": window[1],
        "value": float(numbers[0]),
        "threshold": float(numbers[1]),
        "samples": (),
        "_topic": place[0],
        "_partition": place[1],
    }
