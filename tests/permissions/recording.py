"""What the functions ask of AWS: their real handlers against the local server, each with an access key of its own."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from permissions.calls import KEYLESS, UnknownCall, caller, needed, of_the_key
from permissions.deployed import BUCKET, FUNCTIONS, ROOT, TABLE, by_default
from permissions.policy import Request

from headrace_cli.local.aws_endpoint import CREDENTIAL
from headrace_cli.local.aws_server import Exchange, LocalAws
from kafka_esm import Function, InProcessInvoker

ACCESS_KEYS = {f"key-of-{function}": function for function in FUNCTIONS}
HANDLERS = {function: f"{function.removesuffix('Function').lower()}.app.lambda_handler" for function in FUNCTIONS}
TIMEOUT_S = 60


class Call(NamedTuple):
    """Something a function asked of IAM."""

    function: str
    scenario: str
    request: Request

    def __str__(self) -> str:
        return f"{self.function} needs {self.request.action} on {self.request.resource} ({self.scenario})"


class Account:
    """A local AWS account in which the functions run and everything they ask for is written down."""

    def __init__(self, kafka_servers: str) -> None:
        self._kafka_servers = kafka_servers
        self._exchanges: list[tuple[str, str, Exchange]] = []
        self._invokers: dict[tuple[str, tuple[tuple[str, str], ...]], InProcessInvoker] = {}
        self._scenario = ""
        self.aws = LocalAws(BUCKET, TABLE, self._record)
        """The server, and with `client` the account's administrator, who is not recorded."""

    @contextmanager
    def scenario(self, name: str) -> Iterator[None]:
        """Calls meanwhile belong to this scenario."""
        self._scenario = name
        yield
        self._scenario = ""

    def invoke(self, function: str, event: Mapping[str, Any], **variables: str) -> Any:
        """The handler's answer. Variables of the environment may differ from the template's.

        Raises:
            FunctionError: the handler failed.
        """
        known = (function, tuple(sorted(variables.items())))
        if known not in self._invokers:
            self._invokers[known] = InProcessInvoker(self._function(function, variables))
        return self._invokers[known].invoke(json.dumps(event).encode())

    def committed(self, function: str, topic: str, partition: int) -> dict[str, Any]:
        """The item of the function's last commit of a partition, as it was written: with its outbox."""
        for name, _, exchange in reversed(self._exchanges):
            if name == function and exchange.headers.get("x-amz-target", "").endswith(".PutItem"):
                item: dict[str, Any] = json.loads(exchange.body)["Item"]
                if item["pk"]["S"].endswith(f"#1#{topic}") and item["partition"]["N"] == str(partition):
                    return _with_bytes(item)
        raise LookupError(f"{function} committed nothing of {topic}-{partition}")

    def calls(self) -> list[Call]:
        """What was asked so far, each once, in order; of KMS too, as if a customer's key encrypted everything.

        Raises:
            UnknownCall: a function sent something whose permissions are not modelled, or without its key.
        """
        found = [
            Call(function, scenario, request)
            for function, scenario, exchange in self._exchanges
            for request in needed(exchange)
        ]
        found += [
            call._replace(request=request)
            for call in found
            if not call.request.action.startswith(KEYLESS)
            for request in of_the_key(call.request)
        ]
        return list(dict.fromkeys(found))

    def _record(self, exchange: Exchange) -> None:
        if exchange.path.startswith("/moto-api/"):
            return
        key = caller(exchange).access_key
        if key in ACCESS_KEYS:
            self._exchanges.append((ACCESS_KEYS[key], self._scenario, exchange))
        elif key != CREDENTIAL:
            raise UnknownCall(f"nobody has the access key {key}")

    def _function(self, function: str, variables: Mapping[str, str]) -> Function:
        (key,) = (key for key, name in ACCESS_KEYS.items() if name == function)
        environment = {
            **by_default().environment(function),
            **self.aws.environment,
            "AWS_ACCESS_KEY_ID": key,
            "HEADRACE_BOOTSTRAP_SERVERS": self._kafka_servers,
            "HEADRACE_KAFKA_AUTH": "plaintext",
            # The log's handlers are the process's; other tests have functions of the usual names.
            "POWERTOOLS_SERVICE_NAME": f"permissions-{function}",
            **variables,
        }
        return Function(function, HANDLERS[function], ROOT / "functions", (), environment, TIMEOUT_S)


def _with_bytes(item: dict[str, Any]) -> dict[str, Any]:
    """An item of a request's JSON as the client takes it."""
    return {name: {"B": base64.b64decode(value["B"])} if "B" in value else value for name, value in item.items()}
