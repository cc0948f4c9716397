"""Lambda handler of the Iceberg tables' upkeep, on a schedule, one at a time."""

from typing import Any, Protocol

import deployment
from iceberg.report import report
from iceberg.upkeep import Done, upkeep
from observability import logger, metrics

settings = deployment.settings()
run = None if settings.dry_run else upkeep(settings)
RESERVE_MS = 60_000
"""Nothing is begun in the last minute, or the last quarter: a rewriting that is cut off is in vain."""


class Context(Protocol):
    """What is asked of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Until the timeout."""
        ...


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: Context) -> dict[str, int]:
    """Commit, compact, tidy; a failure of some tables is raised after the others were looked after."""
    if run is None:
        return report(Done([], [], [], {}))  # a dry run keeps no files that a table could have
    reserve_ms = min(RESERVE_MS, context.get_remaining_time_in_millis() // 4)
    return report(run(lambda: context.get_remaining_time_in_millis() > reserve_ms))
