"""Handler of Custom::ExistingNetwork and Custom::BootstrapBrokers, outside the VPC."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from topic_admin import answer, lookup

LOG = logging.getLogger(__name__)

FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
PAUSE_S = 4.0


def lambda_handler(event: dict[str, Any], context: answer.LambdaContext) -> None:
    """Look something up, and tell CloudFormation."""
    LOG.info("%s %s", event["RequestType"], event["LogicalResourceId"])
    answer.respond(event, context, look_up)


def look_up(event: Mapping[str, Any], deadline_s: float) -> answer.Outcome:
    """Ask AWS what the resource's type wants to know, until it lets us. There is nothing to delete.

    Raises:
        Refused: no such type, or what was found will not do.
        ClientError: AWS refused the question.
    """
    if event["RequestType"] == "Delete":
        return answer.Outcome(event["PhysicalResourceId"])
    # Imported where a failure still becomes an answer.
    import boto3  # noqa: PLC0415 - see above
    from botocore.config import Config  # noqa: PLC0415 - see above

    # Three tries of eight seconds in all: within the function's minute.
    config = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 3, "mode": "standard"})
    properties, kind = event["ResourceProperties"], event["ResourceType"]
    if kind == "Custom::ExistingNetwork":
        ec2 = boto3.client("ec2", config=config)
        return patiently(lambda: lookup.existing_network(properties, ec2), deadline_s)
    if kind == "Custom::BootstrapBrokers":
        kafka = boto3.client("kafka", config=config)
        return patiently(lambda: lookup.bootstrap_brokers(properties, kafka), deadline_s)
    raise answer.Refused(f"no such resource: {kind}")


def patiently(ask: Callable[[], answer.Outcome], deadline_s: float) -> answer.Outcome:
    """Ask until we may: a role's policies reach the services some seconds after the role.

    Raises:
        ClientError: still not allowed at the deadline, or refused for another reason.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - see above

    while True:
        try:
            return ask()
        except ClientError as error:
            if error.response["Error"]["Code"] not in FORBIDDEN or time.monotonic() + PAUSE_S >= deadline_s:
                raise
            LOG.info("not allowed yet: %s", error.response["Error"]["Code"])
            time.sleep(PAUSE_S)
