"""What a file's announcement led to, as metrics and a log line."""

from aws_lambda_powertools.metrics import MetricUnit

from observability import logger, metrics


def report(*, sent: int, old: int) -> dict[str, int]:
    """Log and count; the handler's answer.

    Args:
        sent: messages that SNS took.
        old: alerts about windows of too long ago.
    """
    metrics.add_metric("AlertsSent", MetricUnit.Count, sent)
    metrics.add_metric("AlertsTooOld", MetricUnit.Count, old)
    answer = {"sent": sent, "old": old}
    logger.info("alerts sent", extra=answer)
    return answer
