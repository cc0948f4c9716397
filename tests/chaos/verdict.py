"""What came out of a schedule against what had to: every row of every table, as multisets, and the books.

The books three times over: the checkpoints' own equations, their totals beside the oracle's rows, and `headrace audit`
over every file.
"""

import io
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from arro3.core import DataType
from arro3.io import read_parquet
from chaos.oracle.partition import ALERTS, Expected, Tick, expected
from chaos.oracle.rules import Logged, Row, Rules, Tables

from headrace.checkpoint import Checkpoint, MemoryCheckpointStore
from headrace.outbox import MemoryOutbox
from headrace_cli.ledger.auditor import Scope, audit

if TYPE_CHECKING:
    from chaos.world import World

Place = tuple[str, int]
"""Generation and partition."""

_KEY = re.compile(
    r"lake/p/(?P<table>[^/]+)/date=[^/]+/hour=[^/]+/(?P<generation>\w+)-hits-(?P<partition>\d+)-\d+-\d+\.parquet"
)
_NOT_COMPARED = {"_headers", "detail"}
SHOWN = 3
"""Rows of a table that a difference shows."""


class Judged(NamedTuple):
    """One partition in one generation: what was applied, and what the oracle makes of it."""

    place: Place
    records: list[Logged]
    rules: Rules
    expected: Expected


def judge(world: "World") -> list[Judged]:
    """Compare; differences go to the schedule's watch. Answers what was expected."""
    published = _published(world)
    judged = []
    for checkpoint in world.watch.checkpoints():
        place = (checkpoint.key.generation, checkpoint.key.partition)
        judged.append(_judged(world, checkpoint, place))
        for difference in _differences(judged[-1].expected, published.pop(place, {}), checkpoint, world):
            world.watch.difference(f"generation {place[0]} hits-{place[1]}: {difference}")
    for place in published:
        world.watch.difference(f"rows of {place} were published and it has no checkpoint")
    _everything_was_applied(world)
    if world.plan.audited:
        _audit(world)
    return judged


def _judged(world: "World", checkpoint: Checkpoint, place: Place) -> Judged:
    log = world.topic_of(place[0]).logs[place[1]]
    records = [record for record in log.records if record.offset < checkpoint.next_offset]
    ticks = [commit for commit in world.watch.history[place] if commit.tick]
    final = [number for number, commit in enumerate(ticks) if commit.final]
    rules = world.plan.rules
    return Judged(
        place, records, rules, expected(records, [tick.checkpoint.next_offset for tick in ticks], rules, final)
    )


def _differences(expected: Expected, published: Tables, checkpoint: Checkpoint, world: "World") -> list[str]:
    found = []
    for table in sorted({*expected.tables, *published}):
        due, came = expected.tables.get(table, Counter()), published.get(table, Counter())
        for what, rows in (("missing from", due - came), ("too much in", came - due)):
            if rows:
                found.append(f"{rows.total()} row(s) {what} {table}: {list(rows)[:SHOWN]}")
    ids = Counter(alert_id for alert_id, *_ in published.get(ALERTS, Counter()).elements())
    if ids.total() > len(ids):
        found.append(f"alerts share an id: {ids.most_common(SHOWN)}")
    key = checkpoint.key
    commits = world.watch.history[key.generation, key.partition]
    ticks = [Tick(c.checkpoint.next_offset, c.checkpoint.watermark_ms or 0) for c in commits if c.tick]
    if ticks != expected.ticks:
        found.append(f"ticks {ticks}, not {expected.ticks}")
    return [*found, *_unbalanced(checkpoint, expected)]


def _unbalanced(checkpoint: Checkpoint, expected: Expected) -> list[str]:
    """The ledger's totals against the oracle's rows."""
    totals = checkpoint.totals
    rows = {name: table.total() for name, table in expected.tables.items()}
    gaps = checkpoint.next_offset - checkpoint.base_offset - expected.applied - rows["dead_letters"]
    due = {
        "applied": expected.applied,
        "dead": rows["dead_letters"],
        "late": rows["late"],
        "gaps": gaps,
        "ticks": len(expected.ticks),
        "rows": sum(rows.values()),
        **{f"rows.{name}": count for name, count in rows.items()},
    }
    found = [
        f"the books say {n} {totals.get(n, 0)}, not {count}" for n, count in due.items() if totals.get(n, 0) != count
    ]
    return [*found, *(f"the books do not balance: {what}" for what in checkpoint.imbalances())]


def _everything_was_applied(world: "World") -> None:
    """By the generation that consumes; an old one ends where it was drained."""
    applied = {(c.key.generation, c.key.partition): c.next_offset for c in world.watch.checkpoints()}
    for log in world.topic.logs:
        if log.records and applied.get((world.generation, log.number), 0) <= log.records[-1].offset:
            world.watch.difference(f"hits-{log.number} was not applied to its end")


class _Lake:
    """The objects as the audit reads them: the ends of files, for their footers."""

    def __init__(self, inner: MemoryOutbox) -> None:
        self._inner = inner
        self.keys, self.read = inner.keys, inner.read

    def read_end(self, key: str, length: int) -> tuple[bytes, int]:
        data = self._inner.read(key)
        return data[-length:], len(data)


def _audit(world: "World") -> None:
    """`headrace audit` has to find the books in balance, with every file in its place."""
    checkpoints = MemoryCheckpointStore()
    for checkpoint in world.watch.checkpoints():
        checkpoints.commit(checkpoint, expected_version=0)
    if not world.dynamodb.items:
        return
    scope = Scope(world.watch.checkpoints()[0].key.application)
    report = audit(_Lake(world.inner), checkpoints, scope, None, lambda files, _expected: files)  # type: ignore[arg-type]
    for finding in report.findings:
        world.watch.difference(f"the audit finds {finding}")


def _published(world: "World") -> dict[Place, Tables]:
    tables: dict[Place, Tables] = {}
    for key in world.inner.keys("lake/"):
        match = _KEY.fullmatch(key)
        assert match is not None, key
        place = (match["generation"], int(match["partition"]))
        tables.setdefault(place, {}).setdefault(match["table"], Counter()).update(file_rows(world.inner.read(key)))
    return tables


def file_rows(content: bytes) -> list[Row]:
    """The rows of a file in the oracle's form."""
    rows: list[Row] = []
    for batch in read_parquet(io.BytesIO(content)):
        names = [name for name in batch.schema.names if name not in _NOT_COMPARED]
        rows += zip(*(_values(batch.column(name)) for name in names), strict=True)
    return rows


def _values(column: Any) -> list[Any]:
    if DataType.is_timestamp(column.type):
        # The oracle counts milliseconds; landed files have microseconds.
        column = column.cast(DataType.timestamp("ms", tz=column.type.tz)).cast(DataType.int64())
    values: list[Any] = column.to_pylist()
    return [tuple(texts) for texts in values] if DataType.is_list(column.type) else values
