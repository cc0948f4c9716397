"""What one run does for the tables: what is published gets in, then files are compacted, then old ones go."""

import time
from collections.abc import Callable
from typing import NamedTuple

import stores
from headrace.errors import ConfigurationError, HeadraceError
from headrace.lake import HOUR_MS
from headrace.settings import Settings
from headrace_iceberg.committer import Added, Committer
from headrace_iceberg.compaction import Compacted, Compaction, Rules
from headrace_iceberg.expiry import DAY_MS, Expired, Expiry, Retention
from headrace_iceberg.landing_zone import Folders
from headrace_iceberg.tables import Tables, glue_catalog
from landing.topology import NAME as LANDING

GRACE_MS = 3 * DAY_MS
"""Far longer than any run or query lasts."""


class Done(NamedTuple):
    """What a run did, by table."""

    added: list[Added]
    compacted: list[Compacted]
    expired: list[Expired]
    failures: dict[str, Exception]


def upkeep(settings: Settings) -> Callable[[Callable[[], bool]], Done]:
    """A run for the deployment; it is asked again and again whether it may go on.

    Raises:
        ConfigurationError: the catalog is not named, or the lake cannot be listed by folders.
    """
    kind, _, database = settings.iceberg_catalog.partition(":")
    objects = stores.outbox(settings)
    if kind != "glue" or not isinstance(objects, Folders):
        raise ConfigurationError("HEADRACE_ICEBERG_CATALOG must be glue:DATABASE, over a lake on S3")
    tables = Tables(glue_catalog(), database, settings.lake)
    committer = Committer(
        tables, objects, stores.checkpoint_store(settings), application=settings.application, pipeline=LANDING
    )
    compaction = Compaction(tables, Rules(), _now_ms)
    expiry = Expiry(tables, objects, Retention(settings.iceberg_snapshot_hours * HOUR_MS, GRACE_MS))

    def run(may_go_on: Callable[[], bool]) -> Done:
        added, failures = committer.run(may_go_on)
        compacted, expired = [], []
        for table in tables.owned():
            try:
                compacted.append(compaction.run(table, failures, may_go_on))
                if may_go_on():
                    expired.append(expiry.run(table, _now_ms()))
            except HeadraceError as error:
                failures[table.name] = error
        return Done(added, compacted, expired, failures)

    return run


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
