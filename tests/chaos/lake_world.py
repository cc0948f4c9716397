"""A schedule's world with a lake in a folder and Iceberg tables over it, and a reader that looks after every step."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
from chaos.calls import Calls, Errors, Process
from chaos.choices import Choices
from chaos.operators import OperatorSet
from chaos.oracle.rules import Rules
from chaos.plan import Plan, drawn
from chaos.stores import OBJECTS, Objects, SimulatedObjects
from chaos.topic import MAX_SKEW_MS, TOPIC
from chaos.world import APPLICATION, DAY_MS, PIPELINE, World
from greenlet import getcurrent
from iceberg_faults import InterruptedCatalog, InterruptedIO
from samples import NOON_MS

from headrace.checkpoint import OutboxEntry
from headrace.errors import InfrastructureError
from headrace.lake import DEAD_LETTERS, LAKE, read_final_key
from headrace.objects import Below, open_lake
from headrace_iceberg.committer import Committer
from headrace_iceberg.compaction import Compaction
from headrace_iceberg.compaction import Rules as CompactionRules
from headrace_iceberg.expiry import Expiry, Retention
from headrace_iceberg.tables import TableId, Tables, sql_catalog

T = TypeVar("T")
Place = tuple[str, int, int]
"""Generation, partition and offset of a row."""

LANDING = OperatorSet("landing", (), landing=True, starts_at_ms=NOON_MS - 3 * DAY_MS, step_ms=60_000)
"""Over some hours, long over: every bucket is closed."""
AT_ONCE_MS = -(10**12)
"""Snapshots carry the machine's clock, not the schedule's: every one but the current is old."""
AT_ONCE = 2
"""Runs of one function: the schedule's, and one that somebody starts by hand or that has not ended."""
_CATALOG = Errors(*[lambda: OSError("simulated")] * 3)


def table_id(generation: str) -> TableId:
    """The topic's table."""
    return TableId(PIPELINE, TOPIC, generation)


class Folder:
    """Objects in a folder; how old they are, the schedule's clock says."""

    def __init__(self, root: Path, clock_ms: Callable[[], int]) -> None:
        self._inner = open_lake(f"file:{root}")
        self._clock_ms = clock_ms
        self._written_ms: dict[str, int] = {}
        self.stage, self.load, self.read = self._inner.stage, self._inner.load, self._inner.read
        self.publish, self.delete, self.below = self._inner.publish, self._inner.delete, self._inner.below

    def keys(self, prefix: str, *, older_than_ms: int | None = None) -> Iterator[str]:
        for key in self._inner.keys(prefix):
            if self._written_ms.setdefault(key, self._clock_ms()) < (older_than_ms or 10**15):
                yield key

    def note_what_is_new(self) -> None:
        """To be called before the clock goes on."""
        for _ in self.keys(""):
            pass


class SimulatedFolder(SimulatedObjects):
    """The same behind `Calls`, with folders that can be listed."""

    def __init__(self, inner: Folder, calls: Calls, on_publish: Callable[[OutboxEntry], None]) -> None:
        super().__init__(inner, calls, on_publish)
        self._folder = inner

    def below(self, prefix: str) -> Below:
        return self._calls.through("list the folders", lambda: self._folder.below(prefix), OBJECTS)


class _Points:
    """The catalog and the tables' files, behind the schedule's `Calls`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def around(self, name: str, effect: Callable[[], T]) -> T:
        if getcurrent().parent is None:  # a thread of a process: it cannot give way
            return effect()
        return self._calls.through(name, effect, _CATALOG)


class LakeWorld(World):
    """Functions that land, and those that keep the Iceberg tables, all of them alive at the same time."""

    inner: Folder

    def __init__(self, choices: Choices, root: Path) -> None:
        self.root = root
        super().__init__(choices, _landing(drawn(choices)))
        self.objects: SimulatedFolder = SimulatedFolder(self.inner, self.calls, self.watch.publishing)
        self.objects.on_delete = self.watch.deleting
        InterruptedCatalog.calls = _Points(self.calls)
        io = f"{InterruptedIO.__module__}.{InterruptedIO.__name__}"
        catalog = InterruptedCatalog("headrace", uri=f"sqlite:///{root}/iceberg.db", **{"py-io-impl": io})
        self.tables = Tables(catalog, "headrace", f"file:{root}")
        self.reader = Reader(root)
        self._table_rows: Mapping[str, Counter[Place]] = {}

    def new_objects(self) -> Objects:
        return Folder(self.root, lambda: self.now_ms)

    def time_passes(self, by_ms: int) -> None:
        self.inner.note_what_is_new()
        super().time_passes(by_ms)

    def resume(self, index: int) -> None:
        super().resume(index)
        self.look()

    def start_commit(self) -> None:
        """The run that adds what is published."""
        files = self.choices.among((2000, 3, 1))
        parts: dict[str, Any] = {"tables": self.tables, "objects": self.objects, "checkpoints": self.store}
        committer = Committer(**parts, application=APPLICATION, pipeline=PIPELINE, files=files)
        self._start("commit", committer.run, lambda run: run.failures)

    def start_compaction(self) -> None:
        """Of one generation's table."""
        failures: dict[str, Exception] = {}
        compaction = Compaction(self.tables, CompactionRules(), lambda: self.now_ms)
        work = partial(compaction.run, table_id(self.choices.among(self.generations)), failures)
        self._start("compaction", work, lambda _: failures)

    def start_expiry(self) -> None:
        """Of one generation's table: every snapshot but the current one, and what nothing refers to for three days."""
        expiry = Expiry(self.tables, self.objects, Retention(snapshots_ms=AT_ONCE_MS))
        self._start("expiry", partial(expiry.run, table_id(self.choices.among(self.generations)), self.now_ms), _none)

    def _start(self, kind: str, work: Callable[[], Any], failures_of: Callable[[Any], Mapping[str, Exception]]) -> None:
        if sum(process.kind == kind for process, _ in self.alive) >= AT_ONCE:
            return

        def done(process: Process) -> None:
            failures = dict(failures_of(process.answer)) if process.succeeded else {}
            if process.error is not None:
                failures[kind] = process.error
            self.events[f"{kind} done"] += process.succeeded
            self.events[f"{kind} failed"] += bool(failures)
            for error in failures.values():
                self.calls.tell(f"{type(error).__name__}: {error}")
                if not isinstance(error, InfrastructureError):
                    self.watch.difference(f"{kind} fails with {type(error).__name__}: {error}")

        self.start(kind, work, done, "")
        self.events[kind] += 1

    def look(self) -> None:
        """What the readers see now: nothing twice, nothing that was not committed, nothing gone."""
        before = self.reader.prefix, self.reader.table
        try:
            self.reader.read()
        except Exception as error:  # noqa: BLE001 - a table that cannot be read is the worst of differences
            self.watch.difference(f"the table cannot be read: {type(error).__name__}: {error}")
            return
        after = self.reader.prefix, self.reader.table
        if before == after:
            return
        through = {(c.key.generation, c.key.partition): c.next_offset for c in self.watch.checkpoints()}
        for name, old, new in zip(("prefix", "table"), before, after, strict=True):
            if twice := sorted(place for place, count in new.items() if count > 1):
                self.watch.difference(f"twice in the {name}: {twice}")
            if early := sorted(p for p in new if p[2] >= through.get(p[:2], 0)):
                self.watch.difference(f"in the {name} and not committed: {early}")
            if gone := sorted(old.keys() - new.keys()):
                self.watch.difference(f"gone from the {name}: {gone}")


class Reader:
    """Reads the landing prefix and the Iceberg tables, as somebody outside would."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._tables = Tables(sql_catalog(root / "iceberg.db"), "headrace", f"file:{root}")
        self._known: dict[tuple[str, int], list[tuple[int, int]]] = {}
        """Partition and offset of each row, by file and when it was written."""
        self._seen: tuple[dict[str, str], set[str]] = ({}, set())
        self.prefix: Counter[Place] = Counter()
        self.table: Counter[Place] = Counter()

    def read(self) -> None:
        """Look again.

        Raises:
            Exception: a table refers to what cannot be read.
        """
        self.prefix = self.landed(TOPIC)
        metadata = self._metadata()
        files = {str(path) for path in (self._root / "tables").rglob("*.*")}
        if metadata != self._seen[0] or not self._seen[1] <= files:
            self.table = self.rows()
        self._seen = metadata, files

    def files(self, table: str) -> list[Path]:
        """Of the landing prefix."""
        return sorted((self._root / LAKE / PIPELINE / table).rglob("*.parquet"))

    def landed(self, table: str) -> Counter[Place]:
        """Rows of the landing prefix."""
        rows: Counter[Place] = Counter()
        for path in self.files(table):
            name = read_final_key(str(path.relative_to(self._root)))
            assert name is not None, path
            rows.update((name.generation, *row) for row in self._rows(path))
        return rows

    def rows(self) -> Counter[Place]:
        """Rows of the Iceberg tables, by pyiceberg."""
        rows: Counter[Place] = Counter()
        for each in self._tables.owned():
            table = self._tables.load(each)
            assert table is not None, each
            found = table.scan(selected_fields=("_kafka_partition", "_offset")).to_arrow().to_pydict()
            pairs = zip(found["_kafka_partition"], found["_offset"], strict=True)
            rows.update((each.generation, *pair) for pair in pairs)
        return rows

    def _rows(self, path: Path) -> Sequence[tuple[int, int]]:
        version = str(path), path.stat().st_mtime_ns
        if version not in self._known:
            found = pq.read_table(path, columns=["_partition", "_offset"], partitioning=None).to_pydict()
            self._known[version] = list(zip(found["_partition"], found["_offset"], strict=True))
        return self._known[version]

    def _metadata(self) -> dict[str, str]:
        """The current metadata file of each table: where every reader begins."""
        connection = sqlite3.connect(self._root / "iceberg.db")
        try:
            return dict(connection.execute("select table_name, metadata_location from iceberg_tables").fetchall())
        finally:
            connection.close()


def _landing(plan: Plan) -> Plan:
    """The schedule's plan with nothing to compute: records are landed, that is all."""
    rules = Rules((), 0, MAX_SKEW_MS, landing=True)
    ending = plan.ending if plan.ending == "new generation" else "none"
    return plan._replace(records=25, operators=LANDING, rules=rules, steady=True, audited=False, ending=ending)


def _none(_answer: object) -> Mapping[str, Exception]:
    return {}


def dead(world: LakeWorld) -> Counter[Place]:
    """What was landed as dead letters."""
    return world.reader.landed(DEAD_LETTERS)
