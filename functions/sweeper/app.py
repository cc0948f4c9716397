"""Lambda handler of the sweeper, on a schedule, in the VPC of the brokers."""

import time
from typing import Any

import deployment
import stores
from headrace import janitor
from headrace.errors import HeadraceError
from headrace.kafka import KafkaLog
from headrace.sweeper import Sweep, Sweeper
from observability import logger, metrics
from sweeper.pipelines import pipelines
from sweeper.report import report

settings = deployment.settings()
catalog = stores.checkpoint_store(settings)
outbox = stores.outbox(settings)
sweeper = Sweeper(
    pipelines(settings),
    catalog,
    KafkaLog(settings.bootstrap_servers, settings.kafka_auth),
    application=settings.application,
    generation=settings.generation,
    idle_timeout_ms=settings.idle_timeout_ms,
    drain=settings.drain == "true",
)


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Sweep once; a failure of some partitions is raised after the others were visited."""
    now_ms = time.time_ns() // 1_000_000
    sweep = sweeper.sweep(now_ms)
    return report(sweep, _clean(sweep, now_ms))


def _clean(sweep: Sweep, now_ms: int) -> int:
    """Remove leftovers; a checkpoint that cannot be read forbids it, which must not hide what the sweep did."""
    try:
        return janitor.clean(outbox, outbox, catalog, application=settings.application, now_ms=now_ms)
    except HeadraceError as error:
        sweep.failures["janitor"] = error
        return 0
