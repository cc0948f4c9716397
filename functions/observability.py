"""How every function tells what it did: Powertools' logger, and its metrics in CloudWatch's embedded format."""

import os

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from headrace.pipeline import Totals

METRIC_OF = {
    "applied": "RecordsApplied",
    "dead": "DeadLetters",
    "late": "LateRows",
    "skipped": "RecordsSkipped",
    "gaps": "OffsetGaps",
    "conflicts": "CommitConflicts",
    "files": "FilesPublished",
    "rows": "RowsPublished",
}
"""What a batch's total is called as a metric."""

logger = Logger()
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Headrace"))


def report(totals: Totals) -> dict[str, int]:
    """Log and count what a batch did; also the handler's answer, for whoever invokes it by hand."""
    answer = {name: totals[name] for name in METRIC_OF}
    for name, value in answer.items():
        metrics.add_metric(METRIC_OF[name], MetricUnit.Count, value)
    logger.info("batch processed", extra=answer)
    return answer
