"""The evaluator against the rules in the IAM user guide, a line per rule."""

import pytest
from permissions.policy import Request, UnsupportedPolicy, action_matches, arn_matches, decide

ALLOW = {"Sid": "Allow", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*"}
DENY = {"Sid": "Deny", "Effect": "Deny", "Action": "s3:*", "Resource": "*"}
GET = Request("s3:GetObject", "arn:aws:s3:::lake/a/b")


@pytest.mark.parametrize(
    ("statements", "allowed"),
    [
        ([], False),
        ([ALLOW], True),
        ([ALLOW, DENY], False),
        ([DENY, ALLOW], False),
        ([ALLOW | {"Action": ["s3:PutObject", "s3:getobject"]}], True),
        ([ALLOW | {"Action": []}], False),
        ([ALLOW | {"Action": "s3:GetObjectVersion"}], False),
        ([ALLOW | {"Resource": ["arn:aws:s3:::other/*", "arn:aws:s3:::lake/a/?"]}], True),
        ([ALLOW | {"Resource": "arn:aws:s3:::lake"}], False),
        ([ALLOW | {"Resource": "arn:aws:s3:::lake/A/b"}], False),
    ],
)
def test_a_deny_wins_then_an_allow_then_the_implicit_deny(statements, allowed):
    assert decide(GET, statements).allowed is allowed


def test_the_resource_policy_denies_what_the_role_allows():
    assert decide(GET, [ALLOW], [DENY | {"Principal": "*"}]) == (False, "explicit deny: Deny")


@pytest.mark.parametrize(
    ("pattern", "action", "matches"),
    [
        ("s3:Get*", "s3:GetObject", True),
        ("S3:GETOBJECT", "s3:GetObject", True),
        ("*", "s3:GetObject", True),
        ("s3:Get", "s3:GetObject", False),
        ("s3.GetObject", "s3:GetObject", False),
    ],
)
def test_actions(pattern, action, matches):
    assert action_matches(pattern, action) is matches


@pytest.mark.parametrize(
    ("pattern", "arn", "matches"),
    [
        ("*", "arn:aws:s3:::lake", True),
        ("arn:aws:s3:::lake/staging/*", "arn:aws:s3:::lake/staging/a/b", True),
        ("arn:aws:s3:::lake/staging/*", "arn:aws:s3:::lake/staging/", True),
        ("arn:aws:s3:::lake/staging/*", "arn:aws:s3:::lake/stagin", False),
        ("arn:aws:s3:::lake.", "arn:aws:s3:::lake1", False),
        ("arn:aws:logs:*:1:log-group:a:*", "arn:aws:logs:eu:1:log-group:a:log-stream:b", True),
        ("arn:aws:*:log-group:a", "arn:aws:logs:eu:1:log-group:a", False),
    ],
)
def test_arns(pattern, arn, matches):
    assert arn_matches(pattern, arn) is matches


@pytest.mark.parametrize(
    ("condition", "given", "holds"),
    [
        ({"StringLike": {"s3:prefix": ["staging/*", "state/*"]}}, ["state/"], True),
        ({"StringLike": {"s3:prefix": "staging/*"}}, ["lake/"], False),
        ({"StringLike": {"s3:prefix": "staging/*"}}, None, False),
        ({"StringLikeIfExists": {"s3:prefix": "staging/*"}}, None, True),
        ({"StringLikeIfExists": {"s3:prefix": "staging/*"}}, ["lake/"], False),
        ({"StringEquals": {"s3:prefix": "a*"}}, ["ab"], False),
        ({"StringEquals": {"S3:Prefix": "ab"}}, ["ab"], True),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, ["b"], False),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, ["c"], True),
        ({"StringNotEquals": {"s3:prefix": "a"}}, None, True),
        ({"StringNotLike": {"s3:prefix": "a*"}}, ["ab"], False),
        ({"Null": {"s3:prefix": "true"}}, None, True),
        ({"Null": {"s3:prefix": "true"}}, ["a"], False),
        ({"Null": {"s3:prefix": False}}, ["a"], True),
        ({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "a#*"}}, ["a#1", "a#2"], True),
        ({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "a#*"}}, ["a#1", "b#2"], False),
        ({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "a#*"}}, None, True),
        ({"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": "a#*"}}, ["a#1", "b#2"], True),
        ({"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": "a#*"}}, None, False),
        ({"Bool": {"aws:SecureTransport": "false"}}, ["false"], True),
        ({"Bool": {"aws:SecureTransport": "false"}}, ["true"], False),
        ({"Bool": {"aws:SecureTransport": False}}, None, False),
        ({"StringEquals": {"s3:prefix": "a"}, "Bool": {"aws:SecureTransport": "true"}}, ["a"], False),
    ],
)
def test_conditions(condition, given, holds):
    (keys, *_) = condition.values()
    (key,) = keys
    request = GET if given is None else GET._replace(context=((key, tuple(given)),))
    assert decide(request, [ALLOW | {"Condition": condition}]).allowed is holds


@pytest.mark.parametrize(
    "statement",
    [
        {"Sid": "a", "Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*"},
        {"Sid": "a", "Effect": "Allow", "Action": "s3:GetObject", "NotResource": "*"},
        ALLOW | {"Effect": "Maybe"},
        ALLOW | {"Condition": {"NumericLessThan": {"s3:prefix": "1"}}},
        ALLOW | {"Condition": {"ForNoValue:StringLike": {"s3:prefix": "1"}}},
        ALLOW | {"Condition": {"StringLike": {"aws:SourceVpc": "vpc-1"}}},
        ALLOW | {"Action": "s3:PutObject", "Condition": {"StringLike": {"aws:SourceVpc": "vpc-1"}}},
        ALLOW | {"Resource": "arn:aws:s3:::lake/${aws:username}/*"},
    ],
)
def test_what_is_not_modelled_is_refused(statement):
    with pytest.raises(UnsupportedPolicy):
        decide(GET, [statement])


def test_many_values_need_a_set_operator():
    request = GET._replace(context=(("dynamodb:LeadingKeys", ("a", "b")),))
    with pytest.raises(UnsupportedPolicy, match="needs a set operator"):
        decide(request, [ALLOW | {"Condition": {"StringLike": {"dynamodb:LeadingKeys": "a"}}}])


@pytest.mark.parametrize("statement", [DENY | {"Principal": {"AWS": "1"}}, ALLOW | {"Principal": "*"}, DENY])
def test_a_resource_policy_that_is_more_than_a_deny_for_everybody_is_refused(statement):
    with pytest.raises(UnsupportedPolicy):
        decide(GET, [ALLOW], [statement])
