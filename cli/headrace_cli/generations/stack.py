"""The application's stack in CloudFormation, as far as a new generation needs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

from headrace.aws import client_config
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.generations.replacement import Deployment


class CloudFormationStack:
    """The stack in AWS."""

    def __init__(self, name: str) -> None:
        """Connect with the person's own credentials and region.

        Raises:
            CommandError: there is no region.
        """
        self._name = name
        with self._errors():
            client = botocore.session.get_session().create_client("cloudformation", config=client_config())
        # botocore's stubs type every service's client alike.
        self._client = cast("Any", client)

    def describe(self) -> Deployment:
        """See `Stack.describe`."""
        with self._errors():
            stack = self._client.describe_stacks(StackName=self._name)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if "CheckpointTableName" not in outputs:
            raise OptionError(f"stack {self._name} has no checkpoint table: is it the application's?")
        parameters = {p["ParameterKey"]: p["ParameterValue"] for p in stack.get("Parameters", [])}
        return Deployment(stack["StackStatus"], parameters, outputs["CheckpointTableName"])

    def update(self, changes: Mapping[str, str]) -> None:
        """See `Stack.update`."""
        names = self.describe().parameters
        with self._errors():
            self._client.update_stack(
                StackName=self._name,
                UsePreviousTemplate=True,
                Parameters=[update_parameter(name, changes) for name in names],
                # The second is for SAM's transform, which runs anew.
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise CommandError(f"stack {self._name}: {error}") from error


def update_parameter(name: str, changes: Mapping[str, str]) -> Mapping[str, Any]:
    """One parameter of an update: the new value, or the one that is deployed."""
    if name in changes:
        return {"ParameterKey": name, "ParameterValue": changes[name]}
    return {"ParameterKey": name, "UsePreviousValue": True}
