"""Lambda handler of the alerts: told of a published file by S3 through EventBridge, it sends a message per row."""

import time
from typing import Any

import deployment
import stores
from alerts.announced import announced, rows_of
from alerts.letter import letter
from alerts.report import report
from headrace.errors import ConfigurationError
from headrace.lake import HOUR_MS
from headrace.sns import SnsTopic
from logs.alerting import ALERTS
from logs.topology import NAME
from observability import logger, metrics

settings = deployment.settings()
if not settings.dry_run and not settings.alert_topic:
    raise ConfigurationError("HEADRACE_ALERT_TOPIC must be the ARN of an SNS topic")
topic = SnsTopic(settings.alert_topic) if settings.alert_topic else None


@logger.inject_lambda_context
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: object) -> dict[str, int]:
    """Send what one file has; a failure makes Lambda send the event again, and alerts that were sent go out twice."""
    if topic is None:
        return report(sent=0, old=0)  # a dry run publishes no file
    file = announced(event, settings.lake, f"{NAME}/{ALERTS}")
    rows = rows_of(file, stores.outbox(settings).read)
    oldest_s = time.time() - settings.alert_max_age_hours * HOUR_MS / 1000
    recent = [row for row in rows if row["window_end"].timestamp() >= oldest_s]
    topic.publish([letter(row, file, settings.lake) for row in recent])
    return report(sent=len(recent), old=len(rows) - len(recent))
