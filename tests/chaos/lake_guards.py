"""What keeps an Iceberg table exact while everything goes on beside it, clause by clause, and the code without it."""

from chaos import guards
from chaos.guards import Guard, guard

GUARDS: list[Guard] = [
    guard(
        "marks-in-the-snapshot",
        "commit: how far the landing zone is in the table moves in the snapshot that adds the files",
        ("headrace_iceberg.tables", "high_water.encode(marks_after)", "high_water.encode(marks(table))"),
    ),
    guard(
        "commit-over-its-base",
        "commit: it succeeds only over the snapshot that it was computed from",
        ("headrace_iceberg.tables", '{"commit.retry.num-retries": "0"}', '{"commit.retry.num-retries": "4"}'),
    ),
    guard(
        "table-made-meanwhile",
        "commit: a table that somebody else made meanwhile is built upon only while it is empty",
        ("headrace_iceberg.committer", "if table.current_snapshot() is not None:", "if False:"),
    ),
    guard(
        "nothing-deleted-after-a-conflict",
        "commit: after a conflict nothing is deleted: it may be one's own success, told by the client's retry",
        ("headrace_iceberg.tables", "_Keeping(table.io)", "table.io"),
    ),
    guard(
        "published-through",
        "commit: a version is taken when its outbox is published",
        (
            "headrace_iceberg.high_water",
            "through = checkpoint.version - 1 if checkpoint.pending else checkpoint.version",
            "through = checkpoint.version",
        ),
        why_kept="the ledger page of the last file found says how many there have to be; this does not look for files"
        " that cannot be complete",
    ),
    guard(
        "versions-whole",
        "commit: the files of a version are added by one snapshot",
        (
            "headrace_iceberg.high_water",
            "for version, of_version in _by_version(files):",
            "for version, of_version in ((file.name.version, [file]) for file in files):",
        ),
    ),
    guard(
        "old-out-new-in",
        "compaction: what a file was made of goes out in the snapshot in which it comes in",
        (
            "headrace_iceberg.compaction",
            "                        overwrite.delete_data_file(file)\n",
            "                        pass\n",
        ),
    ),
    guard(
        "compaction-keeps-the-marks",
        "compaction: its snapshot has the marks of the one before",
        (
            "headrace_iceberg.compaction",
            "in_catalog.commit(table, in_catalog.marks(table)",
            "in_catalog.commit(table, {}",
        ),
    ),
    guard(
        "expiry-has-patience",
        "expiry: what nothing refers to yet may be about to be committed",
        ("headrace_iceberg.expiry", "older_than_ms=now_ms - self._retention.grace_ms", "older_than_ms=now_ms + 1"),
    ),
    guard(
        "expiry-spares-what-is-referred-to",
        "expiry: it deletes only what no snapshot refers to",
        ("headrace_iceberg.expiry", "[key for key in old if key not in referred]", "old"),
    ),
]
BY_NAME = {each.name: each for each in (*GUARDS, *guards.GUARDS)}
"""Those of the pipeline show in a lake as well."""
