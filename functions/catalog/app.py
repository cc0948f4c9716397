"""Lambda handler of the catalog, on a schedule."""

import time
from typing import Any

import deployment
from catalog.registration import registrar
from catalog.report import report
from headrace.registrar import Registration
from observability import logger, metrics

SPARE_MS = 60_000
"""No table is begun with less time left."""

settings = deployment.settings()
keeper = registrar(settings)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Bring the catalog up to date; a failure of some tables is raised after the others were."""
    if keeper is None:
        return report(Registration())
    now_ms = time.time_ns() // 1_000_000
    return report(keeper.register(now_ms, lambda: context.get_remaining_time_in_millis() > SPARE_MS))
