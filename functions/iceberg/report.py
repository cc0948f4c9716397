"""What a run says: metrics for the alarms, log lines for the person paged."""

from aws_lambda_powertools.metrics import MetricUnit

from headrace.errors import PartitionsFailed
from iceberg.upkeep import Done
from observability import logger, metrics


def report(done: Done) -> dict[str, int]:
    """Log and count; the handler's answer.

    Raises:
        PartitionsFailed: some tables, partitions or buckets could not be looked after; the others were.
    """
    answer = {
        "files": sum(table.files for table in done.added),
        "rows": sum(table.rows for table in done.added),
        "compacted": sum(table.files_before for table in done.compacted),
        "left": sum(table.left for table in done.compacted),
        "expired": sum(table.snapshots for table in done.expired),
        "removed": sum(table.objects for table in done.expired),
        "failed": len(done.failures),
    }
    metrics.add_metric("UpkeepRuns", MetricUnit.Count, 1)
    metrics.add_metric("FilesCommitted", MetricUnit.Count, answer["files"])
    metrics.add_metric("RowsCommitted", MetricUnit.Count, answer["rows"])
    metrics.add_metric("FilesCompacted", MetricUnit.Count, answer["compacted"])
    metrics.add_metric("BucketsLeft", MetricUnit.Count, answer["left"])
    metrics.add_metric("UpkeepFailures", MetricUnit.Count, answer["failed"])
    for did, tables in (("added", done.added), ("compacted", done.compacted), ("expired", done.expired)):
        for table in tables:
            logger.info(did, extra=table._asdict())
    logger.info("looked after the tables", extra=answer)
    for place, error in done.failures.items():
        logger.error("not looked after", extra={"place": place, "error": f"{type(error).__name__}: {error}"})
    if done.failures:
        raise PartitionsFailed(done.failures)
    return answer
