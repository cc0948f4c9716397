"""Letters counted by pipeline, topic and reason. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from headrace_cli.dead.letters import Letter, RecordId
from headrace_cli.dead.redrive_log import Fate, RedriveLog


class Kind(NamedTuple):
    """What letters are counted by."""

    pipeline: str
    topic: str
    reason: str


class Count(msgspec.Struct):
    """How many letters of a kind there are, and what became of them."""

    letters: int = 0
    """Rows: of several generations, or of several operators that refused a late record."""
    first_ms: int = 0
    """The earliest Kafka timestamp, epoch milliseconds …"""
    last_ms: int = 0
    """… and the latest."""
    records: set[RecordId] = msgspec.field(default_factory=set)
    redriven: set[RecordId] = msgspec.field(default_factory=set)
    """Those that some topic has again."""
    unknown: set[RecordId] = msgspec.field(default_factory=set)
    """Those of which that is not known."""
    came_back: set[RecordId] = msgspec.field(default_factory=set)
    """Those that had been redriven before, and ended here again."""
    most_times: int = 0
    """How often the one that came back most often was redriven."""


def summary(letters: Iterable[Letter], log: RedriveLog) -> dict[Kind, Count]:
    """Count the letters; memory holds the identity of each record."""
    counts: dict[Kind, Count] = {}
    for letter in letters:
        count = counts.setdefault(Kind(letter.pipeline, letter.record.topic, letter.reason), Count())
        _add(count, letter, log.fates(str(letter.record)).values())
    return dict(sorted(counts.items()))


def _add(count: Count, letter: Letter, fates: Iterable[Fate]) -> None:
    timestamp_ms = letter.record.timestamp_ms
    count.first_ms = min(count.first_ms, timestamp_ms) if count.letters else timestamp_ms
    count.last_ms = max(count.last_ms, timestamp_ms) if count.letters else timestamp_ms
    count.letters += 1
    count.records.add(letter.record)
    statuses = {fate.status for fate in fates}
    if "sent" in statuses:
        count.redriven.add(letter.record)
    elif statuses & {"claimed", "unknown"}:
        count.unknown.add(letter.record)
    if letter.times_redriven:
        count.came_back.add(letter.record)
        count.most_times = max(count.most_times, letter.times_redriven)
