"""Both ways: what the functions ask for is granted, and what is granted is asked for or has a reason."""

import re
from collections import Counter

import pytest
from permissions.calls import PYICEBERG_OPERATIONS
from permissions.deployed import FUNCTIONS, ROOT, by_default, deployed
from permissions.grants import (
    Grant,
    all_grants,
    calls_of,
    denials,
    exercised_by,
    grants,
    without,
    without_statement,
)
from permissions.policy import Request, decide
from permissions.reasons import REASONS
from permissions.recording import Call
from permissions.scenarios import ALERTS, LANDING, SCENARIOS, SWEEPER, recorded
from permissions.table import COMMAND, DOCUMENT, document

DATA = ("dynamodb:", "glue:", "kms:", "s3:", "sns:")
"""Services that the functions' own code talks to."""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_call_is_allowed(function):
    calls = calls_of(function)
    assert len(calls) > (5 if function == ALERTS else 60)
    assert denials(deployed().role(function), calls) == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_a_customers_key_every_call_is_allowed_and_the_key_is_not(function):
    role = by_default().role(function)
    of_key = [call for call in calls_of(function) if call.request.action.startswith("kms:")]
    others = [call for call in calls_of(function) if not call.request.action.startswith("kms:")]
    assert denials(role, others) == []
    assert len(denials(role, of_key)) == len(of_key) > 0


def test_every_scenario_made_calls():
    assert Counter(call.scenario for call in recorded()).keys() == {scenario.name for scenario in SCENARIOS}


def test_every_operation_of_the_adapters_is_recorded():
    """A call that no scenario makes would be allowed by nobody and missed by no test."""
    layer = ROOT / "layers" / "streaming" / "headrace"
    clients = re.findall(r"self\._client\.(\w+)\(", (layer / "dynamodb.py").read_text())
    stores = re.findall(r"self\._store\.(\w+)\(", (layer / "objects.py").read_text())
    actions = {
        "get": "GetObject",
        "head": "GetObject",
        "put": "PutObject",
        "copy": "PutObject",
        "list": "ListBucket",
        "list_with_delimiter": "ListBucket",
        "delete": "DeleteObject",
    }
    known = {f"dynamodb:{''.join(map(str.title, name.split('_')))}" for name in clients}
    known |= {f"s3:{actions[name]}" for name in stores}
    glue = re.findall(r'self\._client\.(\w+)\(|"(batch_\w+|get_\w+)"', (layer / "glue.py").read_text())
    known |= {f"glue:{''.join(map(str.title, (a or b).split('_')))}" for a, b in glue} - {"glue:CreateDatabase"}
    assert len(known) == 15
    known.add("sns:Publish")
    known |= {f"glue:{name}" for name in PYICEBERG_OPERATIONS}
    assert {call.request.action for call in recorded()} == known | {"kms:Decrypt", "kms:GenerateDataKey"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_statement_about_data_can_be_taken_away(function):
    role = deployed().role(function)
    sids = {grant.sid for grant in grants(role) if grant.action.startswith(DATA)} - {"OwnVariables"}
    assert len(sids) >= 4
    for sid in sids:
        assert denials(without_statement(role, sid), calls_of(function)), f"{function}: nothing needs {sid}"


def test_what_no_call_needs_has_a_reason():
    assert unexplained(all_grants()) == [], "exercise it in scenarios.py, say why in reasons.py, or take it away"


def test_what_a_call_needs_has_no_reason_and_no_reason_is_left_over():
    covered = {reason: [grant for grant in all_grants() if reason.covers(grant)] for reason in REASONS}
    for reason, found in covered.items():
        assert [str(grant) for grant in found if exercised_by(grant)] == []
        named = {(function, action) for function in reason.functions for action in reason.actions}
        assert {(grant.function, grant.action) for grant in found} == named, f"stale: {reason.why}"


def test_grants_name_their_actions_and_statements_their_sid():
    for function in FUNCTIONS:
        role = deployed().role(function)
        sids = [statement["Sid"] for statement in role.statements]
        assert len(sids) == len(set(sids))
        assert [str(grant) for grant in grants(role) if "*" in grant.action] == []


def test_a_grant_that_is_missing_is_named_with_function_action_and_resource():
    role = deployed().role(LANDING)
    (grant,) = (each for each in grants(role) if (each.action, each.place) == ("s3:GetObject", "lake/staging/*"))
    lines = denials(without(role, grant), calls_of(LANDING))
    assert lines
    for line in lines:
        assert line.startswith("LandingFunction needs s3:GetObject on arn:aws:s3:::lake/staging/")
        assert line.endswith(": implicit deny: no statement allows it")
    assert denials(role, calls_of(LANDING)) == []


def test_a_grant_that_nothing_needs_is_noticed():
    needless = {
        "nobody calls it": Grant(SWEEPER, "List", "s3:ListBucketVersions", "arn:aws:s3:::lake"),
        "misspelt": Grant(SWEEPER, "List", "s3:ListBuckets", "arn:aws:s3:::lake"),
        "granted twice": Grant(SWEEPER, "Twice", "s3:ListBucket", "arn:aws:s3:::lake"),
    }
    assert unexplained(needless.values()) == [str(grant) for grant in needless.values()]


@pytest.mark.parametrize(
    ("function", "request_"),
    [
        ("ClickstreamFunction", ("s3:PutObject", "arn:aws:s3:::lake/lake/logs/severity_minutes/a.parquet")),
        ("ClickstreamFunction", ("s3:DeleteObject", "arn:aws:s3:::lake/staging/a/0")),
        ("LogsFunction", ("s3:GetObject", "arn:aws:s3:::lake/lake/landing/logs/a.parquet")),
        ("LandingFunction", ("dynamodb:Scan", "arn:aws:dynamodb:eu-west-1:123456789012:table/checkpoints")),
        ("SweeperFunction", ("s3:DeleteObject", "arn:aws:s3:::lake/lake/logs/severity_minutes/a.parquet")),
        ("IcebergFunction", ("s3:DeleteObject", "arn:aws:s3:::lake/lake/landing/clicks/a.parquet")),
        ("IcebergFunction", ("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:123456789012:table/checkpoints")),
        (
            "SweeperFunction",
            ("glue:UpdateTable", "arn:aws:glue:eu-west-1:123456789012:table/headrace_dev/landing_clicks"),
        ),
        ("CatalogFunction", ("s3:PutObject", "arn:aws:s3:::lake/lake/landing/clicks/a.parquet")),
        ("CatalogFunction", ("s3:GetObject", "arn:aws:s3:::lake/state/a")),
        ("CatalogFunction", ("glue:UpdateTable", "arn:aws:glue:eu-west-1:123456789012:table/other/clicks")),
        ("AlertsFunction", ("s3:GetObject", "arn:aws:s3:::lake/lake/logs/late/a.parquet")),
        ("AlertsFunction", ("s3:PutObject", "arn:aws:s3:::lake/lake/logs/alerts/a.parquet")),
        ("AlertsFunction", ("sns:Publish", "arn:aws:sns:eu-west-1:123456789012:AlarmTopic")),
        ("SweeperFunction", ("dynamodb:DeleteItem", "arn:aws:dynamodb:eu-west-1:123456789012:table/checkpoints")),
    ],
)
def test_what_a_function_must_never_do_is_refused(function, request_):
    call = Call(function, "never", Request(*request_, (("aws:SecureTransport", ("true",)),)))
    assert len(denials(deployed().role(function), [call])) == 1


def test_a_consumer_cannot_touch_checkpoints_of_another_pipeline():
    for function, pipeline in (("ClickstreamFunction", "logs"), ("LogsFunction", "landing"), (LANDING, "clickstream")):
        stolen = [
            call._replace(request=call.request._replace(context=_with_leading_key(call, f"headrace#{pipeline}#1#t")))
            for call in calls_of(function)
            if call.request.action.startswith("dynamodb:")
        ]
        assert stolen
        assert len(denials(deployed().role(function), stolen)) == len(stolen)


def test_the_bucket_refuses_whoever_comes_without_tls():
    request = Request("s3:GetObject", "arn:aws:s3:::lake/state/a", (("aws:SecureTransport", ("false",)),))
    decision = decide(request, deployed().role(SWEEPER).statements, deployed().bucket_policy())
    assert decision == (False, "explicit deny: OnlyTls")


def test_the_table_in_the_documents_is_up_to_date():
    assert DOCUMENT.read_text() == document(), f"run {COMMAND}"


def unexplained(candidates):
    return [
        str(grant)
        for grant in candidates
        if not exercised_by(grant) and not any(reason.covers(grant) for reason in REASONS)
    ]


def _with_leading_key(call, key):
    return (
        *(pair for pair in call.request.context if pair[0] != "dynamodb:LeadingKeys"),
        ("dynamodb:LeadingKeys", (key,)),
    )
