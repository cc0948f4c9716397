"""Rules that the template keeps: no silent loss, least privilege, everything bounded and described."""

import json

import pytest
import validate_application

from headrace.kafka import GROUP
from headrace.lake import HOUR_MS, HOURS
from headrace_iceberg.compaction import Rules

TEMPLATE = validate_application.load_template()
CLOUDFORMATION = validate_application.translate(TEMPLATE, {})


def of_type(template, kind):
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == kind}


FUNCTIONS = of_type(TEMPLATE, "AWS::Serverless::Function")
MAPPINGS = of_type(CLOUDFORMATION, "AWS::Lambda::EventSourceMapping")
PARAMETERS = TEMPLATE["Parameters"]
ROLES = of_type(CLOUDFORMATION, "AWS::IAM::Role")


def statements(document):
    return document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]


def as_list(value):
    return value if isinstance(value, list) else [value]


def allowed():
    """Every (owner, statement) that allows something."""
    documents = [(name, p["PolicyDocument"]) for name, r in ROLES.items() for p in r.get("Policies", [])]
    managed = of_type(CLOUDFORMATION, "AWS::IAM::ManagedPolicy").items()
    documents += [(name, policy["PolicyDocument"]) for name, policy in managed]
    return [(name, s) for name, document in documents for s in statements(document) if s["Effect"] == "Allow"]


ALLOWED = allowed()


def granted(role):
    """Action to the resources on which a role's own and managed policies allow it."""
    owners = {role} | {policy["Ref"] for policy in ROLES[role].get("ManagedPolicyArns", [])}
    grants = {}
    for owner, statement in ALLOWED:
        if owner in owners:
            for action in as_list(statement["Action"]):
                grants.setdefault(action, []).extend(as_list(statement["Resource"]))
    return grants


# --- Mappings: each of these turns a failure into a silent gap -----------------------------------------------------

LOSSY = [
    "BisectBatchOnFunctionError",
    "DestinationConfig",
    "FilterCriteria",
    "FunctionResponseTypes",
    "MaximumRecordAgeInSeconds",
    "MaximumRetryAttempts",
    "StartingPositionTimestamp",
]


@pytest.mark.parametrize("name", MAPPINGS)
@pytest.mark.parametrize("setting", LOSSY)
def test_no_mapping_gives_records_up(name, setting):
    assert setting not in MAPPINGS[name]


@pytest.mark.parametrize("name", MAPPINGS)
def test_every_mapping_starts_at_the_oldest_record(name):
    assert MAPPINGS[name]["StartingPosition"] == "TRIM_HORIZON"


def test_the_two_topics_have_the_mappings_that_the_design_draws():
    drawn = sorted((m["FunctionName"]["Ref"], m["Topics"][0]["Ref"]) for m in MAPPINGS.values())
    assert drawn == [
        ("ClickstreamFunction", "ClicksTopic"),
        ("LandingFunction", "ClicksTopic"),
        ("LandingFunction", "LogsTopic"),
        ("LogsFunction", "LogsTopic"),
    ]


def test_every_mapping_has_a_group_of_its_own_in_this_generation():
    groups = [m["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"]["Fn::Sub"] for m in MAPPINGS.values()]
    assert len(set(groups)) == len(groups) == 4
    assert all(group.endswith("-${Generation}") and "${Environment}" in group for group in groups)


# --- Functions -----------------------------------------------------------------------------------------------------


def test_no_function_outlasts_what_a_kafka_mapping_accepts():
    assert PARAMETERS["TimeoutSeconds"]["MaxValue"] <= 840
    assert TEMPLATE["Globals"]["Function"]["Timeout"] == {"Ref": "TimeoutSeconds"}
    assert not any("Timeout" in function for function in FUNCTIONS.values())


def test_a_batch_size_is_within_lambdas_limit():
    assert PARAMETERS["BatchSize"]["MaxValue"] <= 10_000
    assert PARAMETERS["BatchingWindowSeconds"]["MaxValue"] <= 300


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_logs_to_a_group_with_retention(name):
    group = FUNCTIONS[name]["LoggingConfig"]["LogGroup"]["Ref"]
    assert "RetentionInDays" in of_type(TEMPLATE, "AWS::Logs::LogGroup")[group]
    users = [other for other, f in FUNCTIONS.items() if f["LoggingConfig"]["LogGroup"]["Ref"] == group]
    assert users == [name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_a_role_of_its_own(name):
    role = FUNCTIONS[name]["Role"]["Fn::GetAtt"]
    assert role == [name.replace("Function", "Role"), "Arn"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_handler_is_the_app_of_a_package_named_like_the_function(name):
    assert FUNCTIONS[name]["Handler"] == f"{name.removesuffix('Function').lower()}.app.lambda_handler"
    assert FUNCTIONS[name].get("CodeUri") is None
    assert TEMPLATE["Globals"]["Function"]["CodeUri"] == "functions/"


@pytest.mark.parametrize("name", ["SweeperFunction", "CatalogFunction"])
def test_no_failed_run_is_repeated(name):
    assert FUNCTIONS[name]["EventInvokeConfig"]["MaximumRetryAttempts"] == 0


# --- Parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_described_bounded_and_has_a_default(name):
    parameter = PARAMETERS[name]
    assert {"Type", "Default", "Description"} <= set(parameter)
    if "AllowedValues" in parameter:
        assert parameter["Default"] in parameter["AllowedValues"]
    elif parameter["Type"] == "Number":
        assert parameter["MinValue"] <= parameter["Default"] <= parameter["MaxValue"]
    else:
        assert parameter["AllowedPattern"].startswith("^")
        assert parameter["AllowedPattern"].endswith("$")
        assert parameter["ConstraintDescription"]


def test_every_parameter_is_used():
    body = json.dumps({key: value for key, value in TEMPLATE.items() if key not in {"Parameters", "Rules"}})
    unused = [name for name in PARAMETERS if f'"Ref": "{name}"' not in body and f"${{{name}}}" not in body]
    assert unused == []


# --- Permissions ---------------------------------------------------------------------------------------------------

# AWS knows no resource for the Describe calls, and an interface has no ARN before it exists.
UNSCOPED = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ec2:UnassignPrivateIpAddresses",
}
# Nor one for traces; only with Tracing=Active.
TRACING = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}


def test_no_action_is_a_wildcard():
    assert [s for _, s in ALLOWED if any("*" in action for action in as_list(s["Action"]))] == []


def test_only_network_interfaces_and_traces_are_granted_without_a_resource():
    unscoped = {a for _, s in ALLOWED if "*" in as_list(s["Resource"]) for a in as_list(s["Action"])}
    assert unscoped == UNSCOPED | TRACING


def test_no_managed_policy_of_aws_is_attached():
    attached = [policy for role in ROLES.values() for policy in role.get("ManagedPolicyArns", [])]
    assert {json.dumps(policy) for policy in attached} == {'{"Ref": "ConsumerPolicy"}'}


@pytest.mark.parametrize("role", ["ClickstreamRole", "LogsRole", "LandingRole"])
def test_a_consumer_may_do_what_its_turn_does_and_no_more(role):
    assert set(granted(role)) - UNSCOPED == {
        "dynamodb:BatchGetItem",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "kafka-cluster:AlterGroup",
        "kafka-cluster:Connect",
        "kafka-cluster:DescribeGroup",
        "kafka-cluster:DescribeTopic",
        "kafka-cluster:ReadData",
        "kafka:DescribeCluster",
        "kafka:DescribeClusterV2",
        "kafka:GetBootstrapBrokers",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "s3:GetObject",
        "s3:ListBucket",
        "s3:PutObject",
    }


@pytest.mark.parametrize("pipeline", ["clickstream", "logs", "landing"])
def test_a_consumer_writes_only_its_own_tables_and_checkpoints(pipeline):
    role = f"{pipeline.capitalize()}Role"
    written = {resource["Fn::Sub"] for resource in granted(role)["s3:PutObject"]}
    assert written == {f"${{LakeBucket.Arn}}/{part}/*" for part in ("staging", f"lake/{pipeline}", "state")}
    (checkpoints,) = [s for owner, s in ALLOWED if owner == role and s["Sid"] == "OwnCheckpoints"]
    assert checkpoints["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"headrace#{pipeline}#*"]}}


@pytest.mark.parametrize("name", MAPPINGS)
def test_a_mappings_group_is_one_that_its_function_may_join(name):
    mapping = MAPPINGS[name]
    role = mapping["FunctionName"]["Ref"].replace("Function", "Role")
    group = mapping["AmazonManagedKafkaEventSourceConfig"]["ConsumerGroupId"]["Fn::Sub"]
    topic = f"${{{mapping['Topics'][0]['Ref']}}}"
    assert f"${{Groups}}/{group}" in [resource["Fn::Sub"][0] for resource in granted(role)["kafka-cluster:AlterGroup"]]
    assert f"${{Topics}}/{topic}" in [resource["Fn::Sub"][0] for resource in granted(role)["kafka-cluster:ReadData"]]


def test_only_scheduled_functions_scan_and_delete_and_never_in_the_lake():
    rare = {"dynamodb:Scan", "s3:DeleteObject"}
    assert {owner for owner, s in ALLOWED if rare & set(as_list(s["Action"]))} == {"SweeperRole", "IcebergRole"}
    deleted = [resource["Fn::Sub"] for resource in granted("SweeperRole")["s3:DeleteObject"]]
    assert deleted == ["${LakeBucket.Arn}/staging/*", "${LakeBucket.Arn}/state/*"]
    assert granted("IcebergRole")["s3:DeleteObject"] == [{"Fn::Sub": "${LakeBucket.Arn}/tables/*"}]


def test_the_iceberg_function_writes_only_what_is_the_tables_own():
    grants = granted("IcebergRole")
    assert grants["s3:PutObject"] == [{"Fn::Sub": "${LakeBucket.Arn}/tables/*"}]
    assert {action for action in grants if action.startswith("dynamodb:")} == {"dynamodb:Scan"}
    glue = [json.dumps(resource) for resource in grants["glue:UpdateTable"]]
    assert [("catalog" in text, "headrace_iceberg_${Database}" in text) for text in glue] == [
        (True, False),
        (False, True),
        (False, True),
    ]


def test_one_iceberg_function_runs_at_a_time():
    function = FUNCTIONS["IcebergFunction"]
    assert function["ReservedConcurrentExecutions"] == 1
    assert function["EventInvokeConfig"]["MaximumRetryAttempts"] == 0
    (event,) = function["Events"].values()
    assert event["Properties"]["RetryPolicy"] == {"MaximumRetryAttempts": 0}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_one_layer(name):
    """Two would be over Lambda's limit: the Iceberg function's has what it needs of the other."""
    layer = "IcebergLayer" if name == "IcebergFunction" else "StreamingLayer"
    assert FUNCTIONS[name]["Layers"] == [{"Ref": layer}]
    assert "Layers" not in TEMPLATE["Globals"]["Function"]


SETTLED_HOURS = Rules().settled_ms // HOUR_MS + max(HOURS.values()) - 1
"""After so many hours every landed file of the longest bucket is compacted."""


LANDED = "lake/landing/"


def expiries_days(rules, parameters):
    """After how many days at least each lifecycle rule deletes what was landed, by the rule's id."""
    there = [if_there(rule) for rule in rules]
    prefixes = [(rule, rule.get("Prefix", "")) for rule in there]
    covering = [rule for rule, prefix in prefixes if LANDED.startswith(prefix) or prefix.startswith(LANDED)]
    return {rule["Id"]: least_days(rule, parameters) for rule in covering if "ExpirationInDays" in rule}


def least_days(rule, parameters):
    days = if_there(rule["ExpirationInDays"])
    return days if isinstance(days, int) else min({*map(int, parameters[days["Ref"]]["AllowedValues"])} - {0})


def if_there(value):
    return value["Fn::If"][1] if isinstance(value, dict) and "Fn::If" in value else value


def too_early(rules, parameters):
    ahead_hours = parameters["MaxSkewMs"]["MaxValue"] // HOUR_MS
    longest_hours = ahead_hours + SETTLED_HOURS + parameters["IcebergSnapshotHours"]["MaxValue"] + 24
    return [name for name, days in expiries_days(rules, parameters).items() if days * 24 < longest_hours]


def test_landed_files_live_until_no_snapshot_of_an_iceberg_table_reads_them():
    """
    written                                           compacted   next run  snapshot expired     landed file expired
    │ of tomorrow, the day's hours, and 6 hours more  │           │ 72 hours│                    │ 7 days at least
    """
    rules = TEMPLATE["Resources"]["LakeBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert expiries_days(rules, PARAMETERS) == {"published-files": 7}
    assert too_early(rules, PARAMETERS) == []
    assert too_early(rules, PARAMETERS | {"LakeExpiryDays": {"AllowedValues": ["0", "6"]}}) == ["published-files"]
    for where in ({"Prefix": "lake/landing/"}, {"Prefix": "lake/landing/clicks/"}, {"Prefix": ""}, {}):
        assert too_early([{"Id": "soon", **where, "ExpirationInDays": 5}], PARAMETERS) == ["soon"], where
    assert too_early([{"Id": "other", "Prefix": "staging/", "ExpirationInDays": 5}], PARAMETERS) == []
    for name, value in (("IcebergSnapshotHours", 96), ("MaxSkewMs", 3 * 24 * HOUR_MS)):
        assert too_early(rules, PARAMETERS | {name: {"MaxValue": value}}) == ["published-files"], name


def test_the_catalog_changes_nothing_but_its_own_database():
    granted_to = granted("CatalogRole")
    assert {action for action in granted_to if action.startswith("s3:")} == {"s3:GetObject", "s3:ListBucket"}
    glue = {action: resources for action, resources in granted_to.items() if action.startswith("glue:")}
    assert not [
        action for action in glue if action in {"glue:CreateDatabase", "glue:DeleteTable", "glue:DeleteDatabase"}
    ]
    for resources in glue.values():
        ends = [resource["Fn::Sub"].rpartition(":")[2] for resource in resources]
        assert ends == ["catalog", "database/${CatalogDatabase}", "table/${CatalogDatabase}/*"]
    assert {owner for owner, s in ALLOWED if any(a.startswith("glue:") for a in as_list(s["Action"]))} == {
        "CatalogRole",
        "IcebergRole",
    }


def test_the_sweeper_joins_no_consumer_group():
    kafka = {action for action in granted("SweeperRole") if action.startswith("kafka")}
    reading = {"kafka-cluster:Connect", "kafka-cluster:DescribeTopic", "kafka-cluster:ReadData"}
    assert kafka == reading | {"kafka-cluster:DescribeGroup"}
    (group,) = granted("SweeperRole")["kafka-cluster:DescribeGroup"]
    assert group["Fn::Sub"][0] == f"${{Groups}}/{GROUP}"


def test_a_missing_object_answers_404():
    for owner in ("ConsumerPolicy", "SweeperRole", "IcebergRole"):
        listing = [s for name, s in ALLOWED if name == owner and "s3:ListBucket" in as_list(s["Action"])]
        assert [list(s["Condition"]) for s in listing] == [["StringLikeIfExists"]]


# --- Stores --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CheckpointTable", "LakeBucket"])
def test_deleting_the_stack_keeps_the_data(name):
    resource = TEMPLATE["Resources"][name]
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"


def test_checkpoints_are_keyed_as_the_store_writes_them_and_never_expire():
    table = TEMPLATE["Resources"]["CheckpointTable"]["Properties"]
    types = {a["AttributeName"]: a["AttributeType"] for a in table["AttributeDefinitions"]}
    keys = [(k["AttributeName"], k["KeyType"], types[k["AttributeName"]]) for k in table["KeySchema"]]
    assert keys == [("pk", "HASH", "S"), ("partition", "RANGE", "N")]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"]["SSEEnabled"] is True
    assert "TimeToLiveSpecification" not in table


def test_lifecycle_expires_only_abandoned_staging():
    rules = TEMPLATE["Resources"]["LakeBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    expiring = {rule.get("Prefix"): rule["ExpirationInDays"] for rule in rules if "ExpirationInDays" in rule}
    assert expiring == {"staging/": 90}
    assert not any("Transitions" in rule or "ExpirationDate" in rule for rule in rules)


def test_the_lake_is_private_encrypted_and_only_reached_by_tls():
    bucket = TEMPLATE["Resources"]["LakeBucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (deny,) = TEMPLATE["Resources"]["LakeBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert deny["Resource"] == [{"Fn::GetAtt": ["LakeBucket", "Arn"]}, {"Fn::Sub": "${LakeBucket.Arn}/*"}]
