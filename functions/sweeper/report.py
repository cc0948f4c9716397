"""What a sweep says: metrics for the alarms, log lines for the person paged."""

from aws_lambda_powertools.metrics import MetricUnit

from headrace.errors import PartitionsFailed
from headrace.sweeper import Sweep
from observability import METRIC_OF, emit, logger, metrics, report_tables


def report(sweep: Sweep, removed: int) -> dict[str, int]:
    """Log and count; the handler's answer.

    Raises:
        PartitionsFailed: some partitions could not be swept; the others were.
    """
    answer = {
        "visited": sweep.visited,
        "recovered": sweep.recovered,
        "ticked": sweep.ticked,
        "overtaken": sweep.overtaken,
        "removed": removed,
        "unbalanced": len(sweep.unbalanced),
        "failed": len(sweep.failures),
    }
    metrics.add_metric("OutboxesRecovered", MetricUnit.Count, sweep.recovered)
    metrics.add_metric("PartitionsTicked", MetricUnit.Count, sweep.ticked)
    metrics.add_metric("LeftoversRemoved", MetricUnit.Count, removed)
    metrics.add_metric("SweepFailures", MetricUnit.Count, len(sweep.failures))
    metrics.add_metric("UnbalancedCheckpoints", MetricUnit.Count, len(sweep.unbalanced))
    metrics.add_metric("OldestOutboxAge", MetricUnit.Milliseconds, sweep.oldest_outbox_ms)
    for pipeline, written in sweep.written.items():
        # Under the pipeline's name, as if its own function had written them: sums over a service are complete.
        emit({METRIC_OF[name]: written[name] for name in ("files", "rows")} | {"Ticks": written["ticks"]}, pipeline)
        report_tables(written, pipeline)
    logger.info("swept", extra=answer)
    for name, imbalances in sweep.unbalanced.items():
        logger.error("the books do not balance", extra={"checkpoint": name, "imbalances": imbalances})
    for name, error in sweep.failures.items():
        logger.error("partition not swept", extra={"checkpoint": name, "error": f"{type(error).__name__}: {error}"})
    if sweep.failures:
        raise PartitionsFailed(sweep.failures)
    return answer
