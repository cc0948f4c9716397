"""What is in a record, and what a group of events comes to."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from chaos.oracle.rules import Column, Declared, Logged, Row, Rules


class Event(NamedTuple):
    """A record that could be read."""

    record: Logged
    fields: dict[str, Any]
    time_ms: int


class Dead(Exception):
    """The record has to become a dead letter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read(record: Logged, rules: Rules) -> Event:
    """The event in the record.

    Raises:
        Dead: there is none.
    """
    return believed(record, fields_of(record), rules)


def fields_of(record: Logged) -> dict[str, Any]:
    """What the record says.

    Raises:
        Dead: nothing that can be read.
    """
    if record.value is None:
        raise Dead("tombstone")
    try:
        fields: dict[str, Any] = json.loads(record.value)
    except ValueError:
        raise Dead("invalid_json") from None
    if "user" not in fields:
        raise Dead("missing_field")
    return fields


def believed(record: Logged, fields: dict[str, Any], rules: Rules) -> Event:
    """The event of these fields.

    Raises:
        Dead: it is from the future.
    """
    if fields["at"] > record.timestamp_ms + rules.max_skew_ms:
        raise Dead("from_the_future")
    return Event(record, fields, fields["at"])


def key_of(event: Event, names: Sequence[str]) -> Row:
    """What it is grouped by."""
    return tuple(event.fields.get(name) for name in names)


def place(record: Logged) -> Row:
    """The columns that say where a record was."""
    return (record.topic, record.partition, record.offset, record.timestamp_ms, record.key)


def landed(event: Event) -> Row:
    """The row of the landing table."""
    fields = dict(event.fields)
    known = [fields.pop(name, None) for name in ("user", "page", "at", "value")]
    return (*known, json.dumps(fields, separators=(",", ":")) if fields else None, *place(event.record))


def aggregated(events: Sequence[Event], declared: Declared) -> Row:
    """The aggregates of some events, of any number above none."""
    in_order = sorted(events, key=lambda event: (event.time_ms, event.record.offset))
    row: Row = ()
    for column in declared.columns:
        row += (aggregate(in_order, column), *(() if declared.complete else _to_merge(in_order, column)))
    return row


def aggregate(in_order: Sequence[Event], column: Column) -> Any:
    """One of them."""
    field = [event.fields.get(column.field) for event in in_order]
    values = [value for value in field if value is not None]
    with_times = [(event.time_ms, value) for event, value in zip(in_order, field, strict=True) if value is not None]
    return {
        "count": lambda: len(in_order),
        "sum": lambda: sum(values) if values else None,
        "mean": lambda: sum(values) / len(values) if values else None,
        "min": lambda: min(values, default=None),
        "max": lambda: max(values, default=None),
        "first": lambda: field[0],
        "last": lambda: field[-1],
        "values": lambda: json.dumps(sorted(with_times)),
        "samples": lambda: _samples(in_order, column),
    }[column.what]()


def _samples(events: Sequence[Event], column: Column) -> list[str]:
    marked = [event for event in events if event.fields.get("value")]
    return [event.fields[column.field] for event in sorted(marked, key=lambda event: event.record.offset)[:2]]


MORE = {"mean": 2, "first": 1, "last": 1}
"""How many further columns of partial rows an aggregate has."""


def _to_merge(in_order: Sequence[Event], column: Column) -> Row:
    match column.what:
        case "mean":
            values = [value for event in in_order if (value := event.fields.get(column.field)) is not None]
            return (sum(values), len(values))
        case "first":
            return (in_order[0].time_ms,)
        case "last":
            return (in_order[-1].time_ms,)
    return ()
