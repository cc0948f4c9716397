"""The roles of the template as they would be in an account: intrinsic functions resolved, ARNs written out."""

import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from moto.core import DEFAULT_ACCOUNT_ID
from permissions.calls import KEY_ARN, bucket_arn, table_arn
from permissions.policy import Statement

from headrace_cli.local.aws_endpoint import REGION

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import validate_application  # noqa: E402 - found through the line above

BUCKET, TABLE, DATABASE, TOPIC = "lake", "checkpoints", "headrace_dev", "alerts"
FUNCTIONS = (
    *("ClickstreamFunction", "LogsFunction", "LandingFunction"),
    *("SweeperFunction", "CatalogFunction", "IcebergFunction", "AlertsFunction"),
)
PSEUDO = {
    "AWS::AccountId": DEFAULT_ACCOUNT_ID,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "headrace",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()


class Role(NamedTuple):
    """What a function may do."""

    function: str
    statements: tuple[Statement, ...]
    """Of its inline policies and of the managed ones that the template attaches."""


class Deployed:
    """One translated template, with names that only AWS would give."""

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        template = validate_application.translate(validate_application.load_template(), overrides or {})
        self._resources: dict[str, Any] = template["Resources"]
        self._conditions: dict[str, Any] = template.get("Conditions", {})
        self._parameters = {
            name: str(parameter.get("Default", "")) for name, parameter in template["Parameters"].items()
        } | validate_application.SSM_ANSWERS

    def role(self, function: str) -> Role:
        """The execution role of a function."""
        role_name = self._resources[function]["Properties"]["Role"]["Fn::GetAtt"][0]
        role = self._resources[role_name]["Properties"]
        # One of AWS's own managed policies would have to be modelled: it is no resource here, and fails as a KeyError.
        attached = (self._resources[policy["Ref"]]["Properties"] for policy in role.get("ManagedPolicyArns", []))
        policies = (*attached, *self._attaching(role_name), *role.get("Policies", []))
        documents = [policy["PolicyDocument"] for policy in policies]
        return Role(function, tuple(each for document in documents for each in self._statements(document)))

    def bucket_policy(self) -> tuple[Statement, ...]:
        """What the bucket itself says."""
        return tuple(self._statements(self._resources["LakeBucketPolicy"]["Properties"]["PolicyDocument"]))

    def environment(self, function: str) -> dict[str, str]:
        """The variables that the template gives a function."""
        variables = self._resources[function]["Properties"]["Environment"]["Variables"]
        return {name: str(value) for name, value in self.resolved(variables).items()}

    def _attaching(self, role_name: str) -> Iterator[Mapping[str, Any]]:
        """Managed policies that name the role, instead of being named by it."""
        for resource in self._resources.values():
            roles = self.resolved(resource.get("Properties", {}).get("Roles", []))
            attaches = self._name_of(role_name) in roles
            if attaches and ("Condition" not in resource or self._condition(resource["Condition"])):
                yield resource["Properties"]

    def _statements(self, document: Any) -> list[Statement]:
        statements: list[Statement] = self.resolved(document)["Statement"]
        return statements

    def resolved(self, node: Any) -> Any:
        """A node of the template without intrinsic functions.

        Raises:
            KeyError: a function or a name is not known here.
        """
        if isinstance(node, list):
            return [value for each in node if (value := self.resolved(each)) is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if name in {"Ref", "Condition"} and isinstance(argument, str):
                return self._ref(argument) if name == "Ref" else self._condition(argument)
            if name.startswith("Fn::"):
                return self._function(name, argument)
        return {key: value for key, each in node.items() if (value := self.resolved(each)) is not NO_VALUE}

    def _function(self, name: str, argument: Any) -> Any:
        if name == "Fn::If":
            condition, yes, no = argument
            return self.resolved(yes if self._condition(condition) else no)
        if name == "Fn::Sub":
            text, variables = argument if isinstance(argument, list) else (argument, {})
            return re.sub(r"\$\{([^!}]+)\}", lambda match: str(self._variable(match[1], variables)), text)
        if name == "Fn::GetAtt":
            parts = argument if isinstance(argument, list) else argument.split(".", 1)
            return self._attribute(*parts)
        return _PURE[name](self.resolved(argument))

    def _variable(self, name: str, variables: Mapping[str, Any]) -> Any:
        if name in variables:
            return self.resolved(variables[name])
        return self._attribute(*name.split(".", 1)) if "." in name else self._ref(name)

    def _condition(self, name: str) -> bool:
        return bool(self.resolved(self._conditions[name]))

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        known = PSEUDO | self._parameters | {"LakeBucket": BUCKET, "CheckpointTable": TABLE}
        known |= {"CatalogDatabase": DATABASE}
        return known[name] if name in known else self._name_of(name)

    def _name_of(self, resource: str) -> str:
        properties = self._resources[resource].get("Properties", {})  # a KeyError for what the template has not
        if self._resources[resource]["Type"] == "AWS::SNS::Topic":  # whose name is its ARN
            return f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:{TOPIC if resource == 'AlertTopic' else resource}"
        if "DatabaseInput" in properties:
            return str(self.resolved(properties["DatabaseInput"]["Name"]))
        return str(self.resolved(properties.get("LogGroupName", f"headrace-{resource}")))

    def _attribute(self, resource: str, attribute: str) -> str:
        kind = self._resources[resource]["Type"]
        made = _ARNS[kind, attribute](self._ref(resource))
        return made.format(account=DEFAULT_ACCOUNT_ID, region=REGION)


_ARNS = {
    ("AWS::S3::Bucket", "Arn"): bucket_arn,
    ("AWS::DynamoDB::Table", "Arn"): table_arn,
    ("AWS::SQS::Queue", "Arn"): lambda name: f"arn:aws:sqs:{{region}}:{{account}}:{name}",
    ("AWS::Logs::LogGroup", "Arn"): lambda name: f"arn:aws:logs:{{region}}:{{account}}:log-group:{name}:*",
}
_PURE = {
    "Fn::And": all,
    "Fn::Equals": lambda sides: str(sides[0]) == str(sides[1]),
    "Fn::Join": lambda argument: argument[0].join(argument[1]),
    "Fn::Not": lambda argument: not argument[0],
    "Fn::Or": any,
    "Fn::Select": lambda argument: argument[1][int(argument[0])],
    "Fn::Split": lambda argument: argument[1].split(argument[0]),
}


@cache
def by_default() -> Deployed:
    """The template with its default parameters, Iceberg tables and alerts."""
    return Deployed({"Iceberg": "true", "Alerts": "true"})


@cache
def deployed() -> Deployed:
    """The template with everything on that has grants of its own: a customer's key, traces, Iceberg tables, alerts."""
    return Deployed({"KmsKeyArn": KEY_ARN, "Tracing": "Active", "Iceberg": "true", "Alerts": "true"})
