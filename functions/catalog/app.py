"""Lambda handler of the catalog, on a schedule."""

import time
from typing import Any

import deployment
from catalog.registration import registrar
from catalog.report import report
from headrace.registrar import Registration
from observability import logger, metrics

SPARE = 0.2
"""Of its time, in which a run begins with no other table."""

settings = deployment.settings()
keeper = registrar(settings)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Bring the catalog up to date; a failure of some tables is raised after the others were."""
    if keeper is None:
        return report(Registration())
    spare_ms = context.get_remaining_time_in_millis() * SPARE
    now_ms = time.time_ns() // 1_000_000
    return report(keeper.register(now_ms, lambda: context.get_remaining_time_in_millis() > spare_ms))
