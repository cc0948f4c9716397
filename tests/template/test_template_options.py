"""What the optional parameters bring about: a customer's key, traces, a poller group, a place for the sweeper."""

import re

import pytest
import validate_application
import validate_resolve

from headrace.settings import Settings
from logs.alerting import ALERTS
from logs.topology import NAME as LOGS

TEMPLATE = validate_application.load_template()
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"


def deployed(**parameters):
    given = validate_application.SSM_ANSWERS | parameters
    return validate_resolve.resolve(validate_application.translate(TEMPLATE, parameters), given)["Resources"]


def of_type(resources, kind):
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind}


FUNCTION_ROLES = [{"Ref": name} for name, r in TEMPLATE["Resources"].items() if r["Type"] == "AWS::IAM::Role"]
PLAIN, WITH_KEY = deployed(), deployed(KmsKeyArn=KEY, Alerts="true")


# --- Key -----------------------------------------------------------------------------------------------------------


def test_without_a_key_nothing_names_one():
    assert of_type(PLAIN, "AWS::DynamoDB::Table")["CheckpointTable"]["SSESpecification"] == {"SSEEnabled": True}
    assert not any("KmsKeyId" in group for group in of_type(PLAIN, "AWS::Logs::LogGroup").values())
    assert not any("KmsKeyArn" in function for function in of_type(PLAIN, "AWS::Lambda::Function").values())
    assert "KeyPolicy" not in PLAIN


def test_a_key_encrypts_everything_that_is_kept():
    bucket = of_type(WITH_KEY, "AWS::S3::Bucket")["LakeBucket"]["BucketEncryption"]
    (rule,) = bucket["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    assert rule["BucketKeyEnabled"] is True
    table = of_type(WITH_KEY, "AWS::DynamoDB::Table")["CheckpointTable"]["SSESpecification"]
    assert table == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    assert {group["KmsKeyId"] for group in of_type(WITH_KEY, "AWS::Logs::LogGroup").values()} == {KEY}
    assert {function["KmsKeyArn"] for function in of_type(WITH_KEY, "AWS::Lambda::Function").values()} == {KEY}
    assert of_type(WITH_KEY, "AWS::SNS::Topic")["AlarmTopic"]["KmsMasterKeyId"] == KEY
    assert "AlarmKey" not in WITH_KEY


def test_with_a_key_every_function_may_use_it_through_its_stores():
    readers = WITH_KEY["ReaderKeyPolicy"]["Properties"]["Roles"] + WITH_KEY["AlertsKeyPolicy"]["Properties"]["Roles"]
    using = WITH_KEY["KeyPolicy"]["Properties"]["Roles"] + readers
    assert sorted(role["Ref"] for role in using) == sorted(role["Ref"] for role in FUNCTION_ROLES)
    stores, variables = WITH_KEY["KeyPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert stores["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert stores["Resource"] == variables["Resource"] == KEY
    services = [
        service["Fn::Sub"].partition(".")[0] for service in stores["Condition"]["StringEquals"]["kms:ViaService"]
    ]
    assert services == ["s3", "dynamodb"]
    assert list(variables["Condition"]["StringLike"]) == ["kms:EncryptionContext:aws:lambda:FunctionArn"]


def test_with_a_key_who_only_reads_may_only_decrypt():
    stores, variables = WITH_KEY["ReaderKeyPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert stores["Action"] == variables["Action"] == "kms:Decrypt"
    assert stores["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Sub"].partition(".")[0] == "s3"
    assert list(variables["Condition"]["StringLike"]) == ["kms:EncryptionContext:aws:lambda:FunctionArn"]


def test_with_a_key_alerts_are_read_from_the_lake_and_written_to_the_topic_by_it():
    read, write, variables = WITH_KEY["AlertsKeyPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    services = {
        service: statement["Action"]
        for statement in (read, write)
        for service in [statement["Condition"]["StringEquals"]["kms:ViaService"]["Fn::Sub"].partition(".")[0]]
    }
    assert services == {"s3": "kms:Decrypt", "sns": ["kms:Decrypt", "kms:GenerateDataKey"]}
    assert of_type(WITH_KEY, "AWS::SNS::Topic")["AlertTopic"]["KmsMasterKeyId"] == KEY
    assert list(variables["Condition"]["StringLike"]) == ["kms:EncryptionContext:aws:lambda:FunctionArn"]


# --- Alerts --------------------------------------------------------------------------------------------------------


def test_without_alerts_nothing_is_announced_and_there_is_nothing_of_them():
    assert "NotificationConfiguration" not in of_type(PLAIN, "AWS::S3::Bucket")["LakeBucket"]
    assert [name for name in PLAIN if "Alert" in name] == []


def test_alerts_are_announced_by_the_bucket_and_sent_to_a_topic_that_is_encrypted():
    resources = deployed(Alerts="true", AlertEmail="on-call@example.com")
    bucket = of_type(resources, "AWS::S3::Bucket")["LakeBucket"]
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    (rule,) = of_type(resources, "AWS::Events::Rule").values()
    assert rule["EventPattern"] == {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {
            "bucket": {"name": [{"Ref": "LakeBucket"}]},
            "object": {"key": [{"prefix": f"lake/{LOGS}/{ALERTS}/"}]},
        },
    }
    assert of_type(resources, "AWS::SNS::Topic")["AlertTopic"]["KmsMasterKeyId"] == "alias/aws/sns"
    assert resources["AlertSubscription"]["Properties"]["Endpoint"] == "on-call@example.com"


def test_what_cannot_be_delivered_or_fails_for_good_is_kept_two_weeks():
    resources = deployed(Alerts="true")
    queue = {"Fn::GetAtt": ["UnsentAlertsQueue", "Arn"]}
    (rule,) = of_type(resources, "AWS::Events::Rule").values()
    assert rule["Targets"][0]["DeadLetterConfig"] == {"Arn": queue}
    (invoked,) = [
        each
        for each in of_type(resources, "AWS::Lambda::EventInvokeConfig").values()
        if each["FunctionName"] == {"Ref": "AlertsFunction"}
    ]
    assert invoked["DestinationConfig"]["OnFailure"]["Destination"] == queue
    kept = of_type(resources, "AWS::SQS::Queue")["UnsentAlertsQueue"]
    assert kept == {"MessageRetentionPeriod": 14 * 24 * 3600, "SqsManagedSseEnabled": True}


def test_a_topic_of_ones_own_takes_the_place_of_the_stacks():
    arn = "arn:aws:sns:eu-west-1:123456789012:mine.fifo"
    resources = deployed(Alerts="true", AlertTopicArn=arn)
    assert "AlertTopic" not in resources
    function = of_type(resources, "AWS::Lambda::Function")["AlertsFunction"]
    assert function["Environment"]["Variables"]["HEADRACE_ALERT_TOPIC"] == arn
    (send,) = [
        s
        for s in resources["AlertsRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        if s["Sid"] == "Send"
    ]
    assert send["Resource"] == {"Fn::Sub": "arn:${AWS::Partition}:sns:eu-west-1:123456789012:mine.fifo"}


def test_the_catalogs_database_is_named_after_the_environment_if_not_otherwise():
    def name(**parameters):
        return of_type(deployed(**parameters), "AWS::Glue::Database")["CatalogDatabase"]["DatabaseInput"]["Name"]

    assert name() == "headrace_dev"
    assert name(Environment="eu-test-1") == "headrace_eu_test_1"
    assert name(CatalogDatabaseName="lake") == "lake"


# --- Traces --------------------------------------------------------------------------------------------------------


def test_traces_are_sent_and_allowed_together():
    traced = deployed(Tracing="Active", Alerts="true")
    for resources, mode in ((PLAIN, "PassThrough"), (traced, "Active")):
        modes = [function["TracingConfig"]["Mode"] for function in of_type(resources, "AWS::Lambda::Function").values()]
        assert {str(worked) for worked in modes} == {mode}
        assert ("TracePolicy" in resources) == (mode == "Active")
    assert traced["TracePolicy"]["Properties"]["Roles"] == FUNCTION_ROLES


# --- Pollers and network ---------------------------------------------------------------------------------------------


def pollers(**parameters):
    mappings = of_type(deployed(**parameters), "AWS::Lambda::EventSourceMapping").values()
    return [mapping.get("ProvisionedPollerConfig") for mapping in mappings]


def test_provisioned_pollers_are_shared_in_a_named_group_only():
    assert pollers() == [None] * 4
    assert pollers(PollerGroupName="pollers") == [None] * 4
    own = {"MinimumPollers": 1, "MaximumPollers": 10}
    assert pollers(PollerMode="provisioned") == [own] * 4
    shared = own | {"PollerGroupName": "pollers"}
    assert pollers(PollerMode="provisioned", PollerGroupName="pollers") == [shared] * 4


def test_the_sweeper_is_in_the_vpc_that_the_platform_names_or_in_none():
    inside = of_type(PLAIN, "AWS::Lambda::Function")["SweeperFunction"]["VpcConfig"]
    assert inside == {
        "SubnetIds": validate_application.SSM_ANSWERS["SweeperSubnetIds"].split(","),
        "SecurityGroupIds": [validate_application.SSM_ANSWERS["SweeperSecurityGroupIds"]],
    }
    outside = of_type(deployed(SweeperInVpc="false"), "AWS::Lambda::Function")["SweeperFunction"]
    assert "VpcConfig" not in outside


GAPS_TAKEN = ["allow", "forbid", "clicks=forbid", "clicks=forbid,web.logs_v-1=allow"]
GAPS_REFUSED = ["", "Allow", "clicks", "clicks=", "clicks=never", "clicks=forbid,", "a/b=forbid", "forbid,clicks=allow"]


@pytest.mark.parametrize("gaps", GAPS_TAKEN + GAPS_REFUSED)
def test_gaps_are_what_the_functions_take(gaps):
    assert bool(re.fullmatch(TEMPLATE["Parameters"]["Gaps"]["AllowedPattern"], gaps)) is (gaps in GAPS_TAKEN)
    if gaps in GAPS_TAKEN:
        assert Settings.from_environment({"HEADRACE_GAPS": gaps}).gaps


def test_every_function_gets_the_gaps():
    functions = of_type(deployed(Gaps="clicks=forbid"), "AWS::Lambda::Function").values()
    assert [f["Environment"]["Variables"]["HEADRACE_GAPS"] for f in functions] == ["clicks=forbid"] * 5


LOG_FORMATS_TAKEN = ["", "logs=json", 'logs=access:%h "%r" %>s;web=auto']
LOG_FORMATS_REFUSED = ["logs", "logs=", "logs=JSON", "a/b=json", "logs=access:"]


@pytest.mark.parametrize("formats", LOG_FORMATS_TAKEN + LOG_FORMATS_REFUSED)
def test_log_formats_are_what_the_functions_take(formats):
    allowed = TEMPLATE["Parameters"]["LogFormats"]["AllowedPattern"]
    assert bool(re.fullmatch(allowed, formats)) is (formats in LOG_FORMATS_TAKEN)
    if formats in LOG_FORMATS_TAKEN:
        assert Settings.from_environment({"HEADRACE_LOG_FORMATS": formats}) is not None


def test_every_function_gets_the_log_formats():
    functions = of_type(deployed(LogFormats="logs=json"), "AWS::Lambda::Function").values()
    assert [f["Environment"]["Variables"]["HEADRACE_LOG_FORMATS"] for f in functions] == ["logs=json"] * 5


def test_with_every_option_there_is_no_finding():
    alerts = {"Alerts": "true", "AlertTopicArn": "arn:aws:sns:us-east-1:123456789012:mine"}
    options = {"KmsKeyArn": KEY, "Tracing": "Active", "PollerMode": "provisioned", "PollerGroupName": "pollers"}
    assert (
        validate_application.template_findings(TEMPLATE, options | alerts | {"AlarmEmail": "on-call@example.com"}) == []
    )
