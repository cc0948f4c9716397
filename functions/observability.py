"""How every function tells what it did: Powertools' logger, and its metrics in CloudWatch's embedded format."""

import os
from collections import Counter
from collections.abc import Mapping

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

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

MAX_TABLES = 40
"""Tables with metrics of their own, which CloudWatch bills by the month; what a process sees after so many others is
counted as the table `other`."""
OTHER = "other"

logger = Logger()
metrics = Metrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Headrace"))
_tables: set[tuple[str, str]] = set()


def report(totals: Totals) -> dict[str, int]:
    """Log and count what a batch did; also the handler's answer, for whoever invokes it by hand."""
    answer = {name: totals[name] for name in METRIC_OF}
    for name, value in answer.items():
        metrics.add_metric(METRIC_OF[name], MetricUnit.Count, value)
    report_tables(totals, metrics.provider.service)
    logger.info("batch processed", extra=answer)
    return answer


def report_tables(totals: Totals, service: str) -> None:
    """Count what was written by table: a line of its own per table, because a line's metrics share their dimensions."""
    written: dict[str, Counter[str]] = {}
    for name, count in totals.items():
        kind, dot, table = name.partition(".")
        if dot:
            written.setdefault(_bounded(service, table), Counter())[METRIC_OF[kind]] += count
    for table, counts in sorted(written.items()):
        emit(counts, service, table=table)


def emit(counts: Mapping[str, float], service: str, *, at_ms: int | None = None, **dimensions: str) -> None:
    """Write the counts, by metric, at once under these dimensions: of now, or of a time of the last two weeks."""
    line = EphemeralMetrics(namespace=metrics.provider.namespace, service=service)
    if at_ms is not None:
        line.set_timestamp(at_ms)
    for name, value in dimensions.items():
        line.add_dimension(name, value)
    for name, count in counts.items():
        line.add_metric(name, MetricUnit.Count, count)
    line.flush_metrics()


def _bounded(service: str, table: str) -> str:
    if len(_tables) >= MAX_TABLES and (service, table) not in _tables:
        return OTHER
    _tables.add((service, table))
    return table
