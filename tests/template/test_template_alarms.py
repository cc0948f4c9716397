"""Alarms watch metrics that somebody publishes, tell somebody who can hear, and lead to a section of the runbook."""

import json
import re

import pytest
import validate_application
import validate_resolve

from observability import METRIC_OF, metrics, report

TEMPLATE = validate_application.load_template()
RUNBOOK = (validate_application.ROOT / "docs" / "runbook.md").read_text()
SCHEDULED_METRICS = {
    name: re.findall(r'add_metric\("(\w+)"', (validate_application.ROOT / "functions" / name / "report.py").read_text())
    for name in ("sweeper", "iceberg")
}
CONSUMERS = ("clickstream", "logs", "landing")
LAMBDA_METRICS = {"Errors", "OffsetLag", "Throttles"}
SLUGS = {
    re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
    for title in re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
}


def deployed(**parameters):
    return validate_resolve.resolve(TEMPLATE, validate_application.SSM_ANSWERS | parameters)["Resources"]


def alarms(resources):
    return {n: r["Properties"] for n, r in resources.items() if r["Type"] == "AWS::CloudWatch::Alarm"}


ALARMS = alarms(deployed(Iceberg="true", Alerts="true"))


def body(resources):
    """The dashboard's JSON; references to resources as they stand."""
    argument = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    text, parts = argument if isinstance(argument, list) else (argument, {})
    for name, part in parts.items():
        text = text.replace(f"${{{name}}}", part["Fn::Sub"])
    return json.loads(text)


def watched(alarm):
    """(Namespace, metric name, dimensions) of an alarm on one metric."""
    metric = alarm
    if "Metrics" in alarm:
        (metric,) = [m["MetricStat"]["Metric"] for m in alarm["Metrics"] if "MetricStat" in m]
    return metric["Namespace"], metric["MetricName"], metric["Dimensions"]


@pytest.mark.parametrize("name", ALARMS)
def test_every_alarm_leads_to_a_section_of_the_runbook(name):
    page, _, section = ALARMS[name]["AlarmDescription"].rpartition(": ")[2].partition("#")
    assert page == "docs/runbook.md"
    assert section in SLUGS


def test_every_section_that_looks_like_an_alarms_is_one():
    used = {alarm["AlarmDescription"].rpartition("#")[2] for alarm in ALARMS.values()}
    assert SLUGS - used == {"late-rows-and-offset-gaps", "a-key-of-your-own"}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"Iceberg": "true"},
        {"Iceberg": "true", "Alerts": "true"},
        {"Consume": "false"},
        {"ClusterKind": "Serverless"},
        {"ClusterKind": "Express"},
    ],
    ids=lambda parameters: " ".join(parameters.values()) or "default",
)
def test_the_dashboard_shows_every_alarm_there_is_and_no_other(parameters):
    resources = deployed(**parameters)
    widgets = body(resources)["widgets"]
    (shown,) = [w["properties"]["alarms"] for w in widgets if w["type"] == "alarm"]
    assert sorted(shown) == sorted(f"${{{name}.Arn}}" for name in alarms(resources))
    assert set(re.findall(r"\$\{(\w+)[.}]", json.dumps(widgets))) <= set(resources)


def test_no_widget_lies_on_another():
    taken = [(w["x"], w["y"]) for w in body(deployed())["widgets"]]
    assert len(set(taken)) == len(taken)


@pytest.mark.parametrize("pipeline", CONSUMERS)
@pytest.mark.parametrize("metric", [*sorted(LAMBDA_METRICS), "DeadLetters"])
def test_every_consumer_is_watched(pipeline, metric):
    lambdas = [{"Name": "FunctionName", "Value": {"Ref": f"{pipeline.capitalize()}Function"}}]
    own = [{"Name": "service", "Value": pipeline}]
    place = ("AWS/Lambda", metric, lambdas) if metric in LAMBDA_METRICS else ("Headrace/dev", metric, own)
    query_free = [a for a in ALARMS.values() if not any("SELECT" in json.dumps(m) for m in a.get("Metrics", []))]
    assert place in [watched(alarm) for alarm in query_free]


@pytest.mark.parametrize("name", [n for n, a in ALARMS.items() if a.get("Namespace") == "Headrace/dev"])
def test_an_alarm_of_ours_watches_a_metric_that_the_service_publishes(name):
    namespace, metric, ((dimension),) = watched(ALARMS[name])
    published = SCHEDULED_METRICS.get(dimension["Value"], METRIC_OF.values())
    assert dimension["Name"] == "service"
    assert metric in published
    functions = [r["Properties"] for r in deployed(Iceberg="true").values() if r["Type"] == "AWS::Serverless::Function"]
    names = [f["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] for f in functions]
    assert dimension["Value"] in names
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    assert variables["POWERTOOLS_METRICS_NAMESPACE"] == {"Fn::Sub": "Headrace/${Environment}"}
    assert namespace == "Headrace/dev"


def test_the_service_is_the_only_dimension_that_is_published(monkeypatch):
    monkeypatch.setattr(metrics.provider, "service", "clickstream")
    report(dict.fromkeys(METRIC_OF, 1))
    sent = metrics.serialize_metric_set()["_aws"]["CloudWatchMetrics"][0]
    metrics.clear_metrics()
    assert sent["Dimensions"] == [["service"]]
    assert [m["Name"] for m in sent["Metrics"]] == list(METRIC_OF.values())


def test_a_lag_that_shrinks_is_no_alarm():
    for pipeline in CONSUMERS:
        (expression,) = [m["Expression"] for m in ALARMS[f"{pipeline.capitalize()}LagAlarm"]["Metrics"] if "Label" in m]
        assert expression == "IF(lag > 10000 AND DIFF(lag) >= 0, 1, 0)"


def test_a_batch_that_times_out_again_and_again_fails_in_every_period():
    for pipeline in CONSUMERS:
        assert (
            ALARMS[f"{pipeline.capitalize()}ErrorsAlarm"]["Period"]
            > TEMPLATE["Parameters"]["TimeoutSeconds"]["MaxValue"]
        )


def test_brokers_are_watched_where_they_publish():
    def brokers(kind):
        found = alarms(deployed(ClusterKind=kind))
        return {name: a["Metrics"][0]["Expression"] for name, a in found.items() if "SELECT" in json.dumps(a)}

    assert brokers("Serverless") == {}
    assert set(brokers("Express")) == {"BrokerCpuAlarm"}
    assert set(brokers("Standard")) == {"BrokerCpuAlarm", "BrokerDiskAlarm", "UnderReplicatedAlarm"}
    assert all("WHERE \"Cluster Name\" = 'headrace'" in query for query in brokers("Standard").values())


SILENCE = {
    "Lag": "ignore",
    "Errors": "notBreaching",
    "Throttles": "notBreaching",
    "DeadLetters": "notBreaching",
    "Conflicts": "notBreaching",
    # That no sweep looked is OldestOutboxAlarm's to say.
    "UnbalancedLedger": "notBreaching",
    "UnsentAlerts": "notBreaching",
}


@pytest.mark.parametrize("name", ALARMS)
def test_silence_means_what_its_publisher_makes_of_it(name):
    kind = next((kind for kind in SILENCE if name.endswith(f"{kind}Alarm")), None)
    assert ALARMS[name]["TreatMissingData"] == (SILENCE[kind] if kind else "breaching")


def test_an_hour_without_a_run_is_never_as_planned():
    longest_s = 60 * TEMPLATE["Parameters"]["IcebergIntervalMinutes"]["MaxValue"]
    assert ALARMS["IcebergStaleAlarm"]["Period"] >= 2 * longest_s


def test_an_hour_without_a_sweep_is_never_as_planned():
    assert ALARMS["OldestOutboxAlarm"]["Period"] >= 2 * 60 * TEMPLATE["Parameters"]["SweepIntervalMinutes"]["MaxValue"]


@pytest.mark.parametrize("name", ALARMS)
def test_every_alarm_tells_the_topic(name):
    assert ALARMS[name]["AlarmActions"] == ALARMS[name]["OKActions"] == [{"Ref": "AlarmTopic"}]


def test_cloudwatch_may_use_the_topic_and_its_key():
    resources = deployed()
    assert resources["AlarmTopic"]["Properties"]["KmsMasterKeyId"] == {"Fn::GetAtt": ["AlarmKey", "Arn"]}
    (publish,) = resources["AlarmTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (publish["Principal"], publish["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    _, use = resources["AlarmKey"]["Properties"]["KeyPolicy"]["Statement"]
    assert use["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert use["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]


def test_an_address_is_subscribed_only_when_there_is_one():
    assert "AlarmSubscription" not in deployed()
    assert deployed(AlarmEmail="on-call@example.com")["AlarmSubscription"]["Properties"]["Protocol"] == "email"
