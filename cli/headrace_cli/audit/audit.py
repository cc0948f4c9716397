"""Whether what was published is exactly what was produced: counted and worked out again, and compared row by row.

Independent of what it checks: it imports nothing of the library or the functions, states every rule again with the
standard library alone, one record at a time, and takes the tables as plain rows. Per partition it compares, as
multisets, every row of every table, and in the checkpoints `next_offset - base_offset = applied + dead + gaps`.
Headers are not compared: the broker's acknowledgement does not repeat them.

It holds one partition at a time.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple, Protocol

from headrace_cli.audit.expectation import Expectation, Row, Rules, expect_clicks, landings
from headrace_cli.audit.log_expectation import expect_logs
from headrace_cli.audit.quantiles import settled
from headrace_cli.audit.records import CAUSE_OF_REASON, Produced, canonical_json

DIFFERENCES_KEPT = 100
SHOWN_CHARACTERS = 400

Partition = tuple[str, int]
"""Topic and partition."""

_NOT_COMPARED = {"detail", "reason", "summary"}
"""What is said in free words."""
_JSON_COLUMNS = ("_rescued", "attributes")
_ABSENT = object()
"""Stands for a column that a row does not have: something else than null."""


class Published(Protocol):
    """What readers of the lake find."""

    def places(self) -> Iterable[tuple[str, str, int]]:
        """Table, topic and partition of every published file."""
        ...

    def rows(self, table: str, topic: str, partition: int) -> list[Row]:
        """Every row of the partition in the table, with times as epoch milliseconds."""
        ...


class Books(NamedTuple):
    """What a checkpoint says of its partition."""

    pipeline: str
    topic: str
    partition: int
    base_offset: int
    next_offset: int
    applied: int
    dead: int
    late: int
    gaps: int
    unpublished: bool
    """Whether committed outputs may still be unpublished."""
    open_windows: bool


class Roles(NamedTuple):
    """Which topic is which."""

    clicks: str
    logs: str


class TopicCounts(NamedTuple):
    """Records of a topic, and the rows that were published of it."""

    produced: int = 0
    landed: int = 0
    joined: int = 0
    """Records that are part of another one's row: lines of a stack trace."""
    dead: int = 0
    late: int = 0
    """Rows of the late output: one per operator that refused the record."""


class Audit:
    """The verdict."""

    def __init__(self, roles: Roles) -> None:
        self.topics = dict.fromkeys(roles, TopicCounts())
        """By topic."""
        self.tables: Counter[str] = Counter()
        """Published rows by table."""
        self.as_landed = 0
        """Records whose columns were taken from the landed table, because the audit cannot read them."""
        self.differences: list[str] = []
        """The first `DIFFERENCES_KEPT`, each in one line."""
        self.difference_count = 0

    @property
    def exact(self) -> bool:
        """Whether there was no difference at all, and anything to compare."""
        return self.difference_count == 0 and any(counts.produced for counts in self.topics.values())

    def differs(self, what: str) -> None:
        """Note a difference."""
        self.difference_count += 1
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(what)

    def count(self, topic: str, **more: int) -> None:
        """Add to a topic's counts."""
        counts = self.topics[topic]
        self.topics[topic] = counts._replace(**{name: getattr(counts, name) + n for name, n in more.items()})


def audit(
    produced: Mapping[Partition, Iterable[Produced]],
    published: Published,
    books: Iterable[Books],
    roles: Roles,
    rules: Rules,
) -> Audit:
    """Compare everything.

    Args:
        produced: the records of each partition in offset order.
        published: the tables.
        books: every checkpoint there is.
        roles: the topics' names.
        rules: what the functions were configured with.
    """
    auditor = _Auditor(published, books, roles, rules)
    for partition, records in sorted(produced.items()):
        auditor.compare(partition, list(records))
    auditor.nothing_else()
    return auditor.verdict


class _Auditor:
    """Goes through the partitions, striking off what it has seen."""

    def __init__(self, published: Published, books: Iterable[Books], roles: Roles, rules: Rules) -> None:
        self.verdict = Audit(roles)
        self._published = published
        self._expect = {roles.clicks: expect_clicks, roles.logs: expect_logs}
        self._rules = rules
        self._books = {(each.pipeline, (each.topic, each.partition)): each for each in books}
        self._tables: dict[Partition, set[str]] = {}
        for table, topic, number in published.places():
            self._tables.setdefault((topic, number), set()).add(table)

    def compare(self, partition: Partition, records: list[Produced]) -> None:
        """Compare one partition's tables and checkpoints with its records."""
        topic, number = partition
        name = f"{topic}-{number}"
        published = {
            table: [_comparable(row) for row in self._published.rows(table, topic, number)]
            for table in self._tables.pop(partition, set())
        }
        expected = self._expect[topic](records, topic, self._rules, published)
        for table in sorted(published.keys() | expected.tables.keys()):
            rows, wanted = published.get(table, []), expected.tables.get(table, [])
            if table == "logs/service_minutes":
                rows = settled(wanted, rows, "latency_ms", ("window_start", "service"))
            self._compare_rows(f"{name} {table}", wanted, rows)
            self._count(table, topic, len(rows))
        self.verdict.count(topic, produced=len(records), joined=expected.joined)
        self.verdict.as_landed += expected.as_landed
        self._check_offsets(name, [record.offset for record in records], expected, landings(published, topic))
        for pipeline in ("landing", expected.windowing):
            books = _expected_books(pipeline, partition, records, expected)
            self._check_books(books, self._books.pop((pipeline, partition), None))

    def nothing_else(self) -> None:
        """Nothing may be left over."""
        for (topic, number), tables in self._tables.items():
            self.verdict.differs(f"{topic}-{number}: got no record, but has rows in {', '.join(sorted(tables))}")
        for pipeline, (topic, number) in self._books:
            self.verdict.differs(f"{topic}-{number}: got no record, but has a checkpoint of {pipeline}")

    def _compare_rows(self, where: str, expected: list[Row], actual: list[Row]) -> None:
        columns = sorted({name for row in chain(expected, actual) for name in row})
        wanted = Counter(_values(row, columns) for row in expected)
        found = Counter(_values(row, columns) for row in actual)
        for verb, rows in (("missing", wanted - found), ("not expected", found - wanted)):
            for values, times in rows.items():
                often = f" {times} times" if times > 1 else ""
                self.verdict.differs(f"{where}: {verb}{often}: {_shown(columns, values)}")

    def _count(self, table: str, topic: str, rows: int) -> None:
        self.verdict.tables[table] += rows
        if table == f"landing/{topic}":
            self.verdict.count(topic, landed=rows)
        elif table == "landing/dead_letters":
            self.verdict.count(topic, dead=rows)
        elif table.endswith("/late"):
            self.verdict.count(topic, late=rows)

    def _check_offsets(self, name: str, offsets: list[int], expected: Expectation, landed: Counter[int]) -> None:
        """Every offset was produced once, and landed as often as it should: mostly once, as a row or a dead letter."""
        if offsets != list(range(offsets[0], offsets[0] + len(offsets))):
            self.verdict.differs(f"{name}: the broker acknowledged offsets that do not follow one another")
        for offset in offsets:
            found, wanted = landed[offset], expected.landings[offset]
            if found != wanted:
                times = "" if wanted == 1 else f", not {wanted}"
                self.verdict.differs(f"{name}: offset {offset} landed {found} times{times}, as row or dead letter")
        for offset in expected.unexplained:
            self.verdict.differs(f"{name}: offset {offset} is neither landed nor a dead letter")

    def _check_books(self, wanted: Books, page: Books | None) -> None:
        name = f"{wanted.topic}-{wanted.partition} checkpoint of {wanted.pipeline}"
        if page is None:
            self.verdict.differs(f"{name}: there is none")
            return
        if page.next_offset - page.base_offset != page.applied + page.dead + page.gaps:
            self.verdict.differs(
                f"{name}: offsets {page.base_offset} to {page.next_offset} are not "
                f"{page.applied} applied + {page.dead} dead + {page.gaps} gaps"
            )
        for field, value in wanted._asdict().items():
            if getattr(page, field) != value:
                self.verdict.differs(f"{name}: {field} is {getattr(page, field)}, expected {value}")


def _expected_books(pipeline: str, partition: Partition, records: list[Produced], expected: Expectation) -> Books:
    return Books(
        pipeline,
        *partition,
        base_offset=records[0].offset,
        next_offset=records[-1].offset + 1,
        applied=expected.applied,
        dead=expected.dead,
        late=expected.late if pipeline == expected.windowing else 0,
        gaps=0,
        unpublished=False,
        open_windows=False,
    )


def _comparable(row: Row) -> Row:
    """The row without what is said in free words, and with values that can be counted."""
    plain = {n: _counted(value) for n, value in row.items() if n not in _NOT_COMPARED and not n.endswith("__sketch")}
    if "reason" in row:
        plain["cause"] = CAUSE_OF_REASON.get(row["reason"], row["reason"])
    if plain.get("unparsed") is not None and "is_unparsed" in row:
        reason = plain["unparsed"].partition(":")[0]
        plain["unparsed"] = CAUSE_OF_REASON.get(reason, reason)
    if "_headers" in plain:
        plain["_headers"] = tuple((header["key"], header["value"]) for header in plain["_headers"])
    for name in _JSON_COLUMNS:
        if plain.get(name) is not None:
            plain[name] = canonical_json(json.loads(plain[name]))
    return plain


def _counted(value: Any) -> Any:
    """Lists and structs as tuples, which can be counted."""
    return tuple(value.items()) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value


def _values(row: Row, columns: list[str]) -> tuple[Any, ...]:
    # The one value that does not equal itself is NaN, from infinities in a sum.
    return tuple(["NaN" if (value := row.get(name, _ABSENT)) != value else value for name in columns])


def _shown(columns: list[str], values: tuple[Any, ...]) -> str:
    pairs = zip(columns, values, strict=True)
    text = ", ".join(f"{name}={value!r}" for name, value in pairs if value is not _ABSENT)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"
