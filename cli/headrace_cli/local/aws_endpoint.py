"""What the local stand-ins for AWS have in common: who calls them, how, and the table that they hold."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import botocore.session
from botocore.config import Config

REGION = "eu-west-1"
CREDENTIAL = "local"
"""Access key and secret alike: no local server checks a signature."""


class AwsEndpoint(ABC):
    """A server on this machine that answers as AWS would."""

    def __init__(self, table: str) -> None:
        self.table = table
        """The checkpoint table that exists while it runs."""
        self._session = botocore.session.Session()

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The server's address, `http://127.0.0.1:PORT`.

        Raises:
            RuntimeError: it is not running.
        """

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs in its environment so that all of its AWS clients talk to this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": CREDENTIAL,
            "AWS_SECRET_ACCESS_KEY": CREDENTIAL,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, service: str, config: Config | None = None) -> Any:
        """A low-level client of one service of this server, e.g. `dynamodb`."""
        return self._session.create_client(
            service,
            config=config,
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=CREDENTIAL,
            aws_secret_access_key=CREDENTIAL,
        )

    def create_checkpoint_table(self) -> None:
        """Make the table, as template.yaml does."""
        self.client("dynamodb").create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "partition", "AttributeType": "N"},
            ],
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "partition", "KeyType": "RANGE"},
            ],
        )
