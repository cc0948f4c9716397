"""What a run says: metrics, and log lines for the person paged."""

from aws_lambda_powertools.metrics import MetricUnit

from headrace.errors import TablesFailed
from headrace.registrar import Registration
from observability import logger, metrics


def report(done: Registration) -> dict[str, int]:
    """Log and count; the handler's answer.

    Raises:
        TablesFailed: some tables could not be brought up to date; the others were.
    """
    answer = {
        "tables": done.tables,
        "new_tables": done.created,
        "changed_tables": done.updated,
        "added": done.added,
        "replaced": done.replaced,
        "removed": done.removed,
        "unlooked": done.unlooked,
        "skipped": done.skipped,
        "failed": len(done.failures),
    }
    metrics.add_metric("PartitionsAdded", MetricUnit.Count, done.added)
    metrics.add_metric("CatalogFailures", MetricUnit.Count, len(done.failures))
    logger.info("catalog brought up to date", extra=answer)
    for table, columns in done.left_out.items():
        logger.warning("columns left out of the catalog", extra={"table": table, "columns": dict(columns)})
    for table, error in done.failures.items():
        logger.error("table not registered", extra={"table": table, "error": f"{type(error).__name__}: {error}"})
    if done.failures:
        raise TablesFailed(done.failures)
    return answer
