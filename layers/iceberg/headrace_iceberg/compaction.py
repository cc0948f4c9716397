"""Makes few large files of a bucket's many small ones, and takes the table off the landing zone's files.

    1 plan: which files of which bucket ─ 2 rewrite each bin into a file ─ 3 COMMIT: old out, new in, one snapshot

Killed before 3, the new files are orphans, which expiry removes; readers see the old ones. After 3 they see the new
ones. The landing zone's files stay where they are until its own retention, for its readers and for older snapshots.

Every landed file of a bucket that is closed for long enough is rewritten, alone if need be: the landing zone's
retention will take the original away. A file of the table's own is rewritten again only together with as many bytes of
smaller ones, so that each row is rewritten a few times at most however often late rows trickle in.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.update.snapshot import UpdateSnapshot

from headrace.errors import HeadraceError
from headrace.lake import HOUR_MS, LAKE, read_final_key
from headrace_iceberg import tables as in_catalog
from headrace_iceberg.rewriting import Rewriter
from headrace_iceberg.tables import TableId, Tables

MIB = 1024 * 1024


class Rules(NamedTuple):
    """When files are rewritten."""

    target_bytes: int = 256 * MIB
    """A new file is made of about so many bytes; one of half of it is large enough to be left alone."""
    closed_ms: int = 2 * HOUR_MS
    """How long after the start of its last hour a bucket's files are left alone: more are coming."""
    settled_ms: int = 6 * HOUR_MS
    """How long after the start of its last hour a bucket is rewritten however few its files are."""
    few: int = 32
    """Fewer landed files than this, and of fewer bytes than the target, can wait until the bucket has settled."""
    snapshot_bytes: int = 1024 * MIB
    """About so many bytes are rewritten before they are committed: what a crash may cost."""


class Bin(NamedTuple):
    """Files of one bucket that become one."""

    bucket_us: int
    files: list[DataFile]

    @property
    def size_bytes(self) -> int:
        """Of the files as they are."""
        return sum(file.file_size_in_bytes for file in self.files)


class Compacted(NamedTuple):
    """What was done to one table."""

    table: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    left: int
    """Bins that time did not suffice for."""


class Compaction:
    """Compacts tables."""

    def __init__(self, tables: Tables, rules: Rules, now_ms: Callable[[], int]) -> None:
        self._tables, self._rules, self._now_ms = tables, rules, now_ms

    def run(
        self, table_id: TableId, failures: dict[str, Exception], may_go_on: Callable[[], bool] = lambda: True
    ) -> Compacted:
        """Compact what is due, the bucket with the most files first; a failure stops only its own bucket."""
        table = self._tables.load(table_id)
        done = Compacted(table_id.name, 0, 0, 0, 0, 0)
        if table is None:
            return done
        bins = list(self._plan(table))  # 1
        rewriter = self._rewriter(table, table_id)
        ready: list[tuple[Bin, DataFile]] = []
        for number, each in enumerate(bins):
            if not may_go_on():
                done = done._replace(left=len(bins) - number)
                break
            try:
                ready.append((each, rewriter.rewrite(each.files)))  # 2
            except HeadraceError as error:
                failures[f"{table_id.name} {_name(each.bucket_us)}"] = error
            if sum(old.size_bytes for old, _ in ready) >= self._rules.snapshot_bytes:
                table, done, ready = self._swap(table, ready), _plus(done, ready), []  # 3
        if ready:
            self._swap(table, ready)
        return _plus(done, ready)

    def _plan(self, table: Table) -> Iterator[Bin]:
        by_bucket: dict[int, list[DataFile]] = {}
        for task in table.scan().plan_files():
            file = task.file
            # Rows that somebody deleted are not to come back; a spec of somebody else's has other buckets.
            if not task.delete_files and file.spec_id == table.metadata.default_spec_id:
                by_bucket.setdefault(file.partition[0], []).append(file)
        bins = [each for bucket_us, files in by_bucket.items() for each in self._bins(bucket_us, files)]
        yield from sorted(bins, key=lambda each: (-len(each.files), -each.bucket_us))

    def _bins(self, bucket_us: int, files: Iterable[DataFile]) -> Iterator[Bin]:
        landed: list[DataFile] = []
        own: list[DataFile] = []
        for file in files:
            (landed if self._is_landed(file) else own).append(file)
        age_ms = self._now_ms() - bucket_us // 1000 - (self._hours(landed) - 1) * HOUR_MS
        if age_ms < self._rules.closed_ms:
            return
        size = sum(file.file_size_in_bytes for file in landed)
        wait = len(landed) < self._rules.few and size < self._rules.target_bytes
        if not landed or (wait and age_ms < self._rules.settled_ms):
            return
        for file in sorted(own, key=lambda file: file.file_size_in_bytes):
            if file.file_size_in_bytes > min(size, self._rules.target_bytes // 2):
                break
            landed.append(file)
            size += file.file_size_in_bytes
        yield from self._cut(bucket_us, landed)

    def _cut(self, bucket_us: int, files: list[DataFile]) -> Iterator[Bin]:
        """In the order of their names: rows of one partition stay together. No last bin of crumbs."""
        total = sum(file.file_size_in_bytes for file in files)
        share = total / max(1, round(total / self._rules.target_bytes))
        bin_files: list[DataFile] = []
        size = 0
        for file in sorted(files, key=lambda file: file.file_path):
            bin_files.append(file)
            size += file.file_size_in_bytes
            if size >= share:
                yield Bin(bucket_us, bin_files)
                bin_files, size = [], 0
        if bin_files:
            yield Bin(bucket_us, bin_files)

    def _is_landed(self, file: DataFile) -> bool:
        return (self._tables.key(file.file_path) or "").startswith(f"{LAKE}/")

    def _hours(self, landed: Iterable[DataFile]) -> int:
        """How long the bucket is: a day, if the files of any are."""
        names = (read_final_key(self._tables.key(file.file_path) or "") for file in landed)
        return max((name.bucket_hours for name in names if name is not None), default=1)

    def _rewriter(self, table: Table, table_id: TableId) -> Rewriter:
        folder = self._tables.location(f"{table_id.folder}/data")
        return Rewriter(table.metadata, table.io, lambda: f"{folder}/{uuid.uuid4()}.parquet")

    def _swap(self, table: Table, ready: list[tuple[Bin, DataFile]]) -> Table:
        def files(_transaction: Transaction, update: UpdateSnapshot) -> None:
            with update.overwrite() as overwrite:
                for old, new in ready:
                    for file in old.files:
                        overwrite.delete_data_file(file)
                    overwrite.append_data_file(new)

        return in_catalog.commit(table, in_catalog.marks(table), lambda _transaction: None, files)


def _plus(done: Compacted, ready: list[tuple[Bin, DataFile]]) -> Compacted:
    return done._replace(
        files_before=done.files_before + sum(len(old.files) for old, _ in ready),
        files_after=done.files_after + len(ready),
        bytes_before=done.bytes_before + sum(old.size_bytes for old, _ in ready),
        bytes_after=done.bytes_after + sum(new.file_size_in_bytes for _, new in ready),
    )


def _name(bucket_us: int) -> str:
    return datetime.fromtimestamp(bucket_us / 1e6, UTC).strftime("%Y-%m-%dT%H")
