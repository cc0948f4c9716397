"""IAM's decision about one request, for the part of the policy language that the templates use.

What is not modelled raises `UnsupportedPolicy`, so that a policy which says more than this module understands fails
a test instead of being judged wrongly. The rules are those of "Policy evaluation logic" and "IAM JSON policy elements"
in the IAM user guide: an explicit deny wins, then an allow, then the implicit deny.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

Statement = Mapping[str, Any]

LAMBDA_CONTEXT = "kms:encryptioncontext:aws:lambda:functionarn"
KNOWN_KEYS = frozenset({"aws:securetransport", "dynamodb:leadingkeys", "kms:viaservice", LAMBDA_CONTEXT, "s3:prefix"})
"""Condition keys that requests are given where AWS gives them. A missing value means something: an unknown key must
not look like one."""
ELEMENTS = frozenset({"Sid", "Effect", "Action", "Resource", "Condition", "Principal"})


class UnsupportedPolicy(Exception):
    """A policy says something that is not modelled here."""


class Request(NamedTuple):
    """What somebody asks AWS to do."""

    action: str
    resource: str
    context: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Condition keys with their values."""

    def values(self, key: str) -> tuple[str, ...] | None:
        """A condition key's values; None when AWS gives the request no such key."""
        return next((values for name, values in self.context if name.lower() == key.lower()), None)


class Decision(NamedTuple):
    """Allowed or not, and by what."""

    allowed: bool
    reason: str


def decide(request: Request, identity: Sequence[Statement], resource: Sequence[Statement] = ()) -> Decision:
    """Whether a caller with these identity policies may, given the resource's own policy.

    Raises:
        UnsupportedPolicy: a statement says something that is not modelled.
    """
    for statement in resource:
        if statement.get("Principal") != "*" or statement["Effect"] != "Deny":
            raise UnsupportedPolicy(f"statement {_name(statement)}: only a Deny for everybody is modelled")
    applying = [statement for statement in (*identity, *resource) if applies(statement, request)]
    for statement in applying:
        if statement["Effect"] == "Deny":
            return Decision(allowed=False, reason=f"explicit deny: {_name(statement)}")
    if applying:
        return Decision(allowed=True, reason=_name(applying[0]))
    return Decision(allowed=False, reason="implicit deny: no statement allows it")


def applies(statement: Statement, request: Request) -> bool:
    """Whether a statement is about the request.

    Raises:
        UnsupportedPolicy: it says something that is not modelled.
    """
    unknown = statement.keys() - ELEMENTS
    if unknown or statement.get("Effect") not in {"Allow", "Deny"}:
        raise UnsupportedPolicy(f"statement {_name(statement)}: {sorted(unknown) or 'Effect'} is not modelled")
    # Every condition is read, also when the action is another: what is not modelled shall not hide.
    holds = all([_holds(*clause, request) for clause in _clauses(statement)])  # noqa: C419 - see above
    return (
        holds
        and any(action_matches(pattern, request.action) for pattern in as_list(statement["Action"]))
        and any(arn_matches(pattern, request.resource) for pattern in as_list(statement["Resource"]))
    )


def as_list(value: Any) -> list[Any]:
    """IAM takes one thing for a list of one thing."""
    return value if isinstance(value, list) else [value]


def action_matches(pattern: str, action: str) -> bool:
    """Actions are compared without regard to case."""
    return _like(pattern.lower(), action.lower())


def arn_matches(pattern: str, arn: str) -> bool:
    """The first five parts one by one (a wildcard there stays within its part), the rest as a whole."""
    if pattern == "*":
        return True
    patterns, parts = pattern.split(":", 5), arn.split(":", 5)
    return len(patterns) == len(parts) and all(map(_like, patterns, parts))


def _like(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    if "${" in pattern:
        raise UnsupportedPolicy(f"policy variables are not modelled: {pattern}")
    parts = ({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern)
    return re.compile("".join(parts), re.DOTALL)


# Operator: does a policy's value match a request's, and is the operator the negation of that.
OPERATORS: Mapping[str, tuple[Callable[[str, str], bool], bool]] = {
    "StringEquals": (str.__eq__, False),
    "StringNotEquals": (str.__eq__, True),
    "StringLike": (_like, False),
    "StringNotLike": (_like, True),
    "Bool": (lambda wanted, given: wanted.lower() == given.lower(), False),
}


def _clauses(statement: Statement) -> Iterable[tuple[str, str, list[str]]]:
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            yield operator, key, [str(value) for value in as_list(wanted)]


def _holds(operator: str, key: str, wanted: list[str], request: Request) -> bool:
    if key.lower() not in KNOWN_KEYS:
        raise UnsupportedPolicy(f"condition key {key} is not modelled")
    given = request.values(key)
    if operator == "Null":
        return (given is None) == (wanted == ["true"])
    quantifier, _, base = operator.rpartition(":")
    matches, negated = _operator(operator, base.removesuffix("IfExists"))

    def holds_for(value: str) -> bool:
        return any(matches(pattern, value) for pattern in wanted) != negated

    if quantifier == "ForAllValues":
        return all(map(holds_for, given or ()))
    if quantifier == "ForAnyValue":
        return any(map(holds_for, given or ()))
    if given is None:
        return negated or base.endswith("IfExists")
    if len(given) != 1:
        raise UnsupportedPolicy(f"{operator} on {key}, which has {len(given)} values, needs a set operator")
    return holds_for(given[0])


def _operator(operator: str, base: str) -> tuple[Callable[[str, str], bool], bool]:
    if base not in OPERATORS or operator.rpartition(":")[0] not in {"", "ForAllValues", "ForAnyValue"}:
        raise UnsupportedPolicy(f"condition operator {operator} is not modelled")
    return OPERATORS[base]


def _name(statement: Statement) -> str:
    return str(statement.get("Sid", "statement without a Sid"))
