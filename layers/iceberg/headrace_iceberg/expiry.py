"""Lets old snapshots go, and then the objects that nothing refers to any more.

    1 expire snapshots ─ 2 list what is old in the table's folder ─ 3 read what the metadata names ─ 4 delete the rest

Listed before it is read, as the janitor does: an object that a commit comes to name after the listing is younger than
the grace period, which no run survives, and so not on the list. Only the table's own folder is looked at: the landing
zone is left to its own retention.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pyiceberg.manifest import ManifestEntryStatus
from pyiceberg.table import Table

from headrace.outbox import ObjectCatalog
from headrace_iceberg.errors import CatalogFailed
from headrace_iceberg.tables import TableId, Tables, answering, since_marks

DAY_MS = 86_400_000
PAGE = 1000
"""Keys per deletion: S3's limit for one request."""


class Retention(NamedTuple):
    """How long what is replaced can still be read."""

    snapshots_ms: int = DAY_MS
    """How long a snapshot can be travelled back to."""
    grace_ms: int = 3 * DAY_MS
    """How old an object must be, that nothing refers to, to be deleted."""


class Expired(NamedTuple):
    """What was removed of one table."""

    table: str
    snapshots: int
    objects: int


class Expiry:
    """Expires snapshots and removes orphans."""

    def __init__(self, tables: Tables, objects: ObjectCatalog, retention: Retention) -> None:
        self._tables, self._objects, self._retention = tables, objects, retention

    def run(self, table_id: TableId, now_ms: int) -> Expired:
        """Tidy one table.

        Raises:
            CatalogFailed: the catalog or the store did not answer; what is referred to was left alone.
        """
        table = self._tables.load(table_id)
        if table is None:
            return Expired(table_id.name, 0, 0)
        snapshots = self._expire(table, now_ms - self._retention.snapshots_ms)  # 1
        old = list(self._objects.keys(table_id.folder, older_than_ms=now_ms - self._retention.grace_ms))  # 2
        if not old:
            return Expired(table_id.name, snapshots, 0)
        referred = self._referred(table_id)  # 3
        orphans = [key for key in old if key not in referred]
        for start in range(0, len(orphans), PAGE):
            self._objects.delete(orphans[start : start + PAGE])  # 4
        return Expired(table_id.name, snapshots, len(orphans))

    def _expire(self, table: Table, before_ms: int) -> int:
        kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
        kept |= {snapshot.snapshot_id for snapshot in since_marks(table)}
        old = [each.snapshot_id for each in table.snapshots() if each.timestamp_ms < before_ms]
        old = [snapshot_id for snapshot_id in old if snapshot_id not in kept]
        if old:
            with answering(f"expire snapshots of {'.'.join(table.name())}"):
                table.maintenance.expire_snapshots().by_ids(old).commit()
        return len(old)

    def _referred(self, table_id: TableId) -> set[str]:
        table = self._tables.load(table_id)
        if table is None:
            raise CatalogFailed(f"{table_id.name} went away while it was tidied")
        with answering(f"read the metadata of {table_id.name}"):
            referred = {self._tables.key(location) or location for location in _locations(table)}
        if (self._tables.key(table.metadata_location) or "").rpartition("/")[0] != f"{table_id.folder}/metadata":
            # Whatever was found would look like an orphan under another spelling of the lake's address.
            raise CatalogFailed(f"{table_id.name} is at {table.metadata_location}, not in {table_id.folder}")
        return referred


def _locations(table: Table) -> Iterator[str]:
    """Every object that any snapshot, or the catalog, refers to."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    yield from (each.statistics_path for each in table.metadata.statistics)
    seen: set[str] = set()
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path in seen:
                continue
            seen.add(manifest.manifest_path)
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False):
                if entry.status != ManifestEntryStatus.DELETED:
                    yield entry.data_file.file_path
