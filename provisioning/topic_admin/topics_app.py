"""Handler of Custom::KafkaTopics, inside the VPC."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from topic_admin import answer, topics

LOG = logging.getLogger(__name__)


def lambda_handler(event: dict[str, Any], context: answer.LambdaContext) -> None:
    """Make the cluster's topics what the resource's list says, and tell CloudFormation."""
    LOG.info("%s %s", event["RequestType"], event["LogicalResourceId"])
    answer.respond(event, context, lambda request, deadline_s: topics.reconcile(request, deadline_s, connect))


def connect(properties: Mapping[str, Any], deadline_s: float) -> topics.TopicAdmin:
    """The admin of the resource's cluster."""
    # Imported where a failure still becomes an answer: one at the top would leave CloudFormation waiting.
    from topic_admin.kafka_topics import KafkaTopics, iam_settings  # noqa: PLC0415 - see above

    return KafkaTopics(iam_settings(properties["BootstrapBrokers"], os.environ["AWS_REGION"]), deadline_s)
