"""Adds what is published to the tables: one run.

    1 checkpoints ─ 2 marks ─ 3 search ─ 4 footers ─ 5 COMMIT: files, columns and marks in one snapshot

The checkpoints are read first: every file that they count as published is there when the landing zone is listed. The
marks come from the snapshot that is then built upon, and the commit fails if another one has become current meanwhile.
So a run that is repeated, killed anywhere or not told the outcome adds nothing twice, and nothing is left out. It must
not run twice at once for its own sake only: the loser's work is in vain.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update.snapshot import UpdateSnapshot

from headrace import ledger
from headrace.checkpoint import Checkpoint, CheckpointCatalog
from headrace.errors import CheckpointCorrupt, HeadraceError, PartitionsFailed
from headrace_iceberg import tables as in_catalog
from headrace_iceberg.columns import adopt
from headrace_iceberg.data_files import Describer, Footer, read_footer
from headrace_iceberg.errors import CatalogFailed, FileUnreadable, SchemaConflict
from headrace_iceberg.high_water import PublishedFile, Source, Step, Wanted, steps, wanted, without
from headrace_iceberg.landing_zone import Folders, Search
from headrace_iceberg.tables import TableId, Tables

FILES = 2000
"""Of one snapshot, about: a backlog takes several."""
PARALLEL = 8
"""Footers being read at once."""


class Added(NamedTuple):
    """What a run added to one table."""

    table: str
    files: int
    rows: int
    snapshots: int
    buckets: int
    """How many the search had to look into."""


class Run(NamedTuple):
    """What a run did."""

    added: list[Added]
    failures: dict[str, Exception]
    """What could not be added, by table or source; everything else was."""

    def raise_failures(self) -> None:
        """Make the failures heard.

        Raises:
            PartitionsFailed: there are some.
        """
        if self.failures:
            raise PartitionsFailed(self.failures)


class Committer:
    """Commits the landed topics of one pipeline."""

    def __init__(
        self,
        tables: Tables,
        objects: Folders,
        checkpoints: CheckpointCatalog,
        *,
        application: str,
        pipeline: str,
        files: int = FILES,
        accept_missing: bool = False,
    ) -> None:
        """Wire it.

        Args:
            tables: where to add.
            objects: the lake.
            checkpoints: what says how far it is published.
            application: whose checkpoints.
            pipeline: which lands the topics.
            files: about how many one snapshot adds.
            accept_missing: let a table begin with what there is, after files were deleted.
        """
        self._tables, self._objects, self._checkpoints = tables, objects, checkpoints
        self._application, self._pipeline = application, pipeline
        self._files, self._accept_missing = files, accept_missing

    def run(self, may_go_on: Callable[[], bool] = lambda: True) -> Run:
        """Add everything that is published, table by table, while `may_go_on`; a failure stops only what it is of."""
        failures: dict[str, Exception] = {}
        added = []
        for table, checkpoints in self._by_table(failures).items():
            if not may_go_on():
                break
            try:
                added.append(self._add(table, checkpoints, failures, may_go_on))
            except HeadraceError as error:
                failures[table.name] = error
        return Run(added, failures)

    def _by_table(self, failures: dict[str, Exception]) -> Mapping[TableId, list[Checkpoint]]:
        def unreadable(error: CheckpointCorrupt) -> None:
            failures[error.place] = error

        found: dict[TableId, list[Checkpoint]] = {}
        for checkpoint in self._checkpoints.checkpoints(self._application, unreadable):  # 1
            if checkpoint.key.pipeline == self._pipeline:
                table = TableId(self._pipeline, checkpoint.key.topic, checkpoint.key.generation)
                found.setdefault(table, []).append(checkpoint)
        return found

    def _add(
        self,
        table_id: TableId,
        checkpoints: Iterable[Checkpoint],
        failures: dict[str, Exception],
        may_go_on: Callable[[], bool],
    ) -> Added:
        addition = _Addition(self._tables, table_id, failures)
        marks = addition.marks
        wants = [want for c in checkpoints if (want := wanted(c, table_id.topic, marks)) is not None]
        if not wants:
            return addition.added
        search = Search(wants)
        search.run(self._objects, self._pipeline, table_id.topic)  # 3
        complete, errors = search.complete(accept_missing=self._accept_missing)
        failures.update({f"{table_id.name} {error.source}": error for error in errors})
        io = self._tables.io()
        found = [(want, files) for want, files in complete if self._proven(io, table_id.topic, want, files)]
        for step in steps(found, self._files):
            if not may_go_on():
                break
            addition.add(step)
        return addition.added._replace(buckets=search.buckets)

    def _proven(self, io: FileIO, topic: str, want: Wanted, files: list[PublishedFile]) -> bool:
        """Whether nothing is missing: where the checkpoint cannot tell, the page of the last file's commit must."""
        if want.files is not None or not files:
            return bool(files)
        last = max(files, key=lambda file: (file.name.version, file.name.number))
        entry = read_footer(io, self._tables.location(last.key)).entry(ledger.METADATA_KEY)
        page = None if entry is None else ledger.read({ledger.METADATA_KEY: entry})
        return page is not None and page.commit.totals.get(ledger.files_of(topic)) == want.mark.files + len(files)


class _Addition:
    """Adds files to one table, step by step."""

    def __init__(self, tables: Tables, table_id: TableId, failures: dict[str, Exception]) -> None:
        self._tables, self._id, self._failures = tables, table_id, failures
        self._table = tables.load(table_id)
        self._io = tables.io()
        self._blocked: set[Source] = set()
        self.marks = {} if self._table is None else in_catalog.marks(self._table)  # 2
        self.added = Added(table_id.name, 0, 0, 0, 0)

    def add(self, whole: Step) -> None:
        """Commit what of the step can be read; what follows a file that cannot is blocked."""
        step = _unblocked(whole, self._blocked)
        footers, broken = self._footers(step.files)  # 4
        if not footers:
            return self._block(broken)
        table = self._table or self._created(footers)
        broken |= _misfits(table, footers)
        self._block(broken)
        step = without(step, broken)
        if step.files:
            self.marks |= step.marks
            self._table = in_catalog.commit(table, self.marks, *_addition(step, footers))  # 5
            self._count(step, footers)
        return None

    def _block(self, broken: Mapping[PublishedFile, Exception]) -> None:
        self._failures.update({f"{self._id.name} {file.key}": error for file, error in broken.items()})
        self._blocked |= {file.source for file in broken}

    def _created(self, footers: Mapping[PublishedFile, Footer]) -> Table:
        newest = max(footers, key=lambda file: file.name.version)
        table = self._tables.create(self._id, footers[newest].columns)
        if table.current_snapshot() is not None:  # built upon, its files would be added again: 2 saw no table
            raise CatalogFailed(f"{self._id.name} was made meanwhile by somebody who has added files to it")
        return table

    def _count(self, step: Step, footers: Mapping[PublishedFile, Footer]) -> None:
        rows = sum(footers[file].metadata.num_rows for file in step.files)
        self.added = self.added._replace(
            files=self.added.files + len(step.files),
            rows=self.added.rows + rows,
            snapshots=self.added.snapshots + 1,
        )

    def _footers(
        self, files: Sequence[PublishedFile]
    ) -> tuple[dict[PublishedFile, Footer], dict[PublishedFile, Exception]]:
        footers: dict[PublishedFile, Footer] = {}
        broken: dict[PublishedFile, Exception] = {}

        def read(file: PublishedFile) -> None:
            try:
                footers[file] = read_footer(self._io, self._tables.location(file.key))
            except FileUnreadable as error:
                broken[file] = error

        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(read, files))
        return footers, broken


def _unblocked(step: Step, blocked: set[Source]) -> Step:
    """Without sources that a file of an earlier step has stopped."""
    return Step(
        [file for file in step.files if file.source not in blocked],
        {source: mark for source, mark in step.marks.items() if source not in blocked},
    )


def _misfits(table: Table, footers: Mapping[PublishedFile, Footer]) -> dict[PublishedFile, Exception]:
    """Files whose columns the table's cannot become; tried out, nothing is changed."""
    found: dict[PublishedFile, Exception] = {}
    transaction = table.transaction()
    for columns, files in _by_columns(footers):
        try:
            adopt(transaction, columns)
        except SchemaConflict as error:
            found |= {file: SchemaConflict(error.problem, file.key) for file in files}
    return found


def _addition(
    step: Step, footers: Mapping[PublishedFile, Footer]
) -> tuple[Callable[[Transaction], None], Callable[[Transaction, UpdateSnapshot], None]]:
    def columns(transaction: Transaction) -> None:
        for schema, _ in _by_columns({file: footers[file] for file in step.files}):
            adopt(transaction, schema)

    def files(transaction: Transaction, update: UpdateSnapshot) -> None:
        describer = Describer(transaction.table_metadata)
        with update.merge_append() as append:
            for file in step.files:
                append.append_data_file(describer.data_file(footers[file], file.name.hour_ms * 1000))

    return columns, files


def _by_columns(footers: Mapping[PublishedFile, Footer]) -> list[tuple[pa.Schema, list[PublishedFile]]]:
    """Files with the same columns together, in the order of their first versions."""
    found: list[tuple[pa.Schema, list[PublishedFile]]] = []
    for file in sorted(footers, key=lambda file: file.name.version):
        columns = footers[file].columns
        same = next((files for schema, files in found if schema.equals(columns, check_metadata=False)), None)
        if same is None:
            found.append((columns, [file]))
        else:
            same.append(file)
    return found
