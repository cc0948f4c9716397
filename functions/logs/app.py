"""Lambda handler of the logs function: an MSK event in, windows in the lake out."""

from typing import Any

import deployment
import dry_run
import raw_event
from logs.minute_metrics import MinuteMetrics
from logs.topology import NAME, SERVICE_MINUTES, topologies
from observability import logger, metrics, report

settings = deployment.settings()
raw_event.ask_for(settings)
minutes = MinuteMetrics(SERVICE_MINUTES.table)
pipeline = deployment.pipeline(NAME, topologies(settings), settings, on_commit=minutes)


@logger.inject_lambda_context
@metrics.log_metrics
@dry_run.show_rows(settings)
def lambda_handler(event: dict[str, Any] | bytes, context: object) -> dict[str, int]:
    """Apply one batch; an exception makes the event source mapping send it again."""
    return report(pipeline.handle(event))
