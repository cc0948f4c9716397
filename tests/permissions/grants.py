"""What the roles grant, piece by piece, and which recorded calls would fail without a piece."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from permissions.deployed import FUNCTIONS, Role, deployed
from permissions.policy import Statement, action_matches, arn_matches, as_list, decide
from permissions.recording import Call
from permissions.scenarios import recorded

LONG_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d+")


class Grant(NamedTuple):
    """One action on one resource pattern of one statement of a function's role."""

    function: str
    sid: str
    action: str
    resource: str

    @property
    def place(self) -> str:
        """The resource as a person reads it: without region and account, without a cluster's long id."""
        return LONG_ID.sub("…", self.resource.split(":", 5)[-1])

    def __str__(self) -> str:
        return f"{self.function}: {self.sid} grants {self.action} on {self.resource}"


def grants(role: Role) -> Iterator[Grant]:
    """Every grant of a role, in the template's order."""
    for statement in role.statements:
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                for resource in as_list(statement["Resource"]):
                    yield Grant(role.function, statement["Sid"], action, resource)


@cache
def all_grants() -> tuple[Grant, ...]:
    """Every grant of every function."""
    return tuple(grant for function in FUNCTIONS for grant in grants(deployed().role(function)))


def without(role: Role, grant: Grant) -> Role:
    """The role without this one grant; what its statement grants besides stays."""
    return role._replace(
        statements=tuple(
            part
            for statement in role.statements
            for part in (_parts(statement, grant) if statement["Sid"] == grant.sid else [statement])
        )
    )


def without_statement(role: Role, sid: str) -> Role:
    """The role without one statement."""
    return role._replace(statements=tuple(each for each in role.statements if each["Sid"] != sid))


def denials(role: Role, calls: Iterable[Call]) -> list[str]:
    """Which of the calls the function could not make with this role, and why; one line each."""
    bucket_policy = deployed().bucket_policy()
    decisions = ((call, decide(call.request, role.statements, bucket_policy)) for call in calls)
    return [f"{call}: {decision.reason}" for call, decision in decisions if not decision.allowed]


def exercised_by(grant: Grant) -> list[str]:
    """The scenarios that could not be without the grant, in their order."""
    role = without(deployed().role(grant.function), grant)
    touched = (call for call in calls_of(grant.function) if _is_about(grant, call))
    return list(dict.fromkeys(call.scenario for call in touched if denials(role, [call])))


def calls_of(function: str) -> Sequence[Call]:
    """What one function asked for."""
    return [call for call in recorded() if call.function == function]


def _is_about(grant: Grant, call: Call) -> bool:
    return action_matches(grant.action, call.request.action) and arn_matches(grant.resource, call.request.resource)


def _parts(statement: Statement, grant: Grant) -> list[Statement]:
    actions = [action for action in as_list(statement["Action"]) if action != grant.action]
    resources = [resource for resource in as_list(statement["Resource"]) if resource != grant.resource]
    return [
        {**statement, "Action": actions},
        {**statement, "Action": [grant.action], "Resource": resources},
    ]
