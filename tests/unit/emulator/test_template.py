"""What a template declares, and what is refused."""

from pathlib import Path

import pytest

from kafka_esm.errors import TemplateError
from kafka_esm.mapping import Function, LayerRef
from kafka_esm.template import SamTemplate

TEMPLATE = """
AWSTemplateFormatVersion: 2010-09-09
Transform: AWS::Serverless-2016-10-31
Parameters:
  Topic: {Type: String, Default: clicks}
  Size: {Type: Number, Default: 250}
  Stage: {Type: String, Default: dev}
  ClusterArn: {Type: "AWS::SSM::Parameter::Value<String>", Default: /platform/cluster-arn}
Mappings:
  Stages:
    dev: {Window: 2}
    prod: {Window: 30}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
Globals:
  Function:
    Runtime: python3.13
    CodeUri: functions/
    Timeout: 60
    MemorySize: 512
    Layers: [!Ref Shared]
    Environment:
      Variables: {TABLE: !Ref Table, LEVEL: INFO}
Resources:
  Table: {Type: AWS::DynamoDB::Table}
  Shared:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/shared}
  Clicks:
    Type: AWS::Serverless::Function
    Properties:
      Handler: clicks.app.handler
      Layers: ["arn:aws:lambda:us-east-1:1:layer:Powertools:1"]
      Environment:
        Variables:
          LEVEL: DEBUG
          URL: !Sub "https://${Table}.${AWS::Region}.${AWS::URLSuffix}/${!Raw}"
          FLAG: true
          N: 7
      Events:
        Stream:
          Type: MSK
          Properties:
            Stream: !Ref ClusterArn
            Topics: [!Ref Topic]
            StartingPosition: !If [IsProd, LATEST, TRIM_HORIZON]
            BatchSize: !Ref Size
            MaximumBatchingWindowInSeconds: !FindInMap [Stages, !Ref Stage, Window]
            ConsumerGroupId: !Join ["-", [clicks, !Ref Stage]]
            ProvisionedPollerConfig: {MinimumPollers: 1}
        Web: {Type: Api, Properties: {Path: /, Method: get}}
"""

FUNCTION = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  FromSsm: {Type: "AWS::SSM::Parameter::Value<String>", Default: /a/b}
  NoDefault: {Type: String}
Conditions:
  Never: !Equals [a, b]
  Unknown: !Equals [!Ref NoDefault, b]
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      CodeUri: functions/
      %(function)s
      Events:
        E:
          Type: %(type)s
          Properties: {%(properties)s}
"""
GOOD = "Stream: arn:x, Topics: [t], StartingPosition: LATEST"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "functions").mkdir()
    (tmp_path / "layers/shared/python").mkdir(parents=True)
    return tmp_path


def load(project, text, overrides=None) -> SamTemplate:
    (project / "template.yaml").write_text(text)
    return SamTemplate.load(project / "template.yaml", overrides)


def one(project, properties=GOOD, function="", kind="MSK", overrides=None):
    text = FUNCTION % {"properties": properties, "function": function, "type": kind}
    (mapping,) = load(project, text, overrides).mappings()
    return mapping


def test_a_mapping_has_every_value_resolved(project):
    (mapping,) = load(project, TEMPLATE).mappings()

    assert (mapping.name, mapping.topic, mapping.consumer_group) == ("ClicksStream", "clicks", "clicks-dev")
    assert (mapping.batch_size, mapping.batching_window_ms) == (250, 2_000)
    assert (mapping.starting_position, mapping.enabled) == ("TRIM_HORIZON", True)
    assert (mapping.event_source, mapping.payload_limit_bytes) == ("aws:kafka", 6_291_456)
    assert mapping.event_source_arn.startswith("arn:aws:kafka:us-east-1:123456789012:cluster/local/")


def test_a_function_has_the_globals_merged_the_way_sam_does(project):
    assert load(project, TEMPLATE).function("Clicks") == Function(
        logical_id="Clicks",
        handler="clicks.app.handler",
        code_uri=project / "functions",
        layers=(
            LayerRef("Shared", project / "layers/shared"),
            LayerRef("arn:aws:lambda:us-east-1:1:layer:Powertools:1", None),
        ),
        environment={
            "TABLE": "Table",
            "LEVEL": "DEBUG",
            "URL": "https://Table.us-east-1.amazonaws.com/${Raw}",
            "FLAG": "true",
            "N": "7",
        },
        timeout_seconds=60,
        memory_mb=512,
    )


def test_overrides_come_before_defaults(project):
    overrides = {"Stage": "prod", "Topic": "other", "ClusterArn": "arn:mine", "Size": "9"}
    (mapping,) = load(project, TEMPLATE, overrides).mappings()

    assert (mapping.topic, mapping.starting_position, mapping.batch_size) == ("other", "LATEST", 9)
    assert (mapping.event_source_arn, mapping.batching_window_ms) == ("arn:mine", 30_000)


def test_the_defaults_are_those_of_aws(project):
    mapping = one(project)

    assert (mapping.batch_size, mapping.batching_window_ms, mapping.enabled) == (100, 500, True)
    assert (mapping.function.timeout_seconds, mapping.function.memory_mb) == (3, 128)
    assert mapping.consumer_group == "kafka-esm-FE"


def test_a_self_managed_cluster_has_no_arn(project):
    mapping = one(
        project, "KafkaBootstrapServers: [b:9092], Topics: [t], StartingPosition: LATEST", kind="SelfManagedKafka"
    )

    assert (mapping.event_source, mapping.event_source_arn) == ("SelfManagedKafka", None)


def test_a_start_in_time_is_in_milliseconds(project):
    mapping = one(
        project, "Stream: a, Topics: [t], StartingPosition: AT_TIMESTAMP, StartingPositionTimestamp: 1700000000.5"
    )

    assert mapping.starting_timestamp_ms == 1_700_000_000_500


@pytest.mark.parametrize(
    "properties",
    [
        "BisectBatchOnFunctionError: false",
        "MaximumRetryAttempts: -1",
        "MaximumRecordAgeInSeconds: -1",
        "FunctionResponseTypes: []",
        "FilterCriteria: !Ref AWS::NoValue",
        "MetricsConfig: {Metrics: [EventCount]}, LoggingConfig: {SystemLogLevel: INFO}, Tags: {a: b}",
        'FilterCriteria: !If [Never, {Filters: []}, !Ref "AWS::NoValue"]',
    ],
)
def test_settings_without_effect_are_accepted(project, properties):
    assert one(project, f"{GOOD}, {properties}").topic == "t"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("!Ref AWS::Partition", "aws"),
        ('!Sub ["${a}-${AWS::Region}", {a: !Select [1, [x, y]]}]', "y-us-east-1"),
        ("!If [Never, a, b]", "b"),
        ('!Select [0, !Split ["/", "p/q"]]', "p"),
        ("!Ref Bucket", "Bucket"),
        ("!GetAtt Bucket.Arn", "Bucket.Arn"),
        ("!Ref FromSsm", "FromSsm"),
        ('!Join ["", ["s3://", !Ref Bucket]]', "s3://Bucket"),
        ("!ImportValue other", "Fn::ImportValue"),
        ("{Fn::Base64: x}", "Fn::Base64"),
    ],
)
def test_environment_variables_take_a_placeholder_for_what_only_the_cloud_knows(project, expression, value):
    function = f"Environment: {{Variables: {{A: {expression}}}}}"

    assert one(project, function=function).function.environment == {"A": value}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("!Not [!Condition Never]", "yes"),
        ("!And [!Condition Unknown, !Condition Never]", "no"),
        ("!Or [!Condition Unknown, !Not [!Condition Never]]", "yes"),
        ("!Equals [1, '1']", "yes"),
        ("!Equals [true, 'true']", "yes"),
    ],
)
def test_conditions_are_decided_as_far_as_they_are_known(project, condition, expected):
    text = FUNCTION.replace("Never:", f"Mine: {condition}\n  Never:")
    function = "Environment: {Variables: {A: !If [Mine, yes, no]}}".replace("yes", "'yes'").replace("no", "'no'")
    mapping = load(project, text % {"properties": GOOD, "function": function, "type": "MSK"}).mappings()[0]

    assert mapping.function.environment == {"A": expected}


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ("Stream: a, StartingPosition: LATEST", "F.Events.E.Topics None: exactly one topic is needed"),
        ("Stream: a, StartingPosition: LATEST, Topics: [a, b]", "F.Events.E.Topics ['a', 'b']: exactly one"),
        ("Stream: a, StartingPosition: LATEST, Topicz: [a]", "F.Events.E.Topicz: a Kafka event has no such"),
        ("Topics: [t], StartingPosition: LATEST", "F.Events.E.Stream is missing"),
        ("Stream: a, Topics: [t]", "F.Events.E.StartingPosition is missing: one of TRIM_HORIZON"),
        ("Stream: a, Topics: [t], StartingPosition: EARLIEST", "F.Events.E.StartingPosition EARLIEST: one of"),
        ("Stream: a, Topics: [t], StartingPosition: AT_TIMESTAMP", "E.StartingPositionTimestamp: goes with AT"),
        (f"{GOOD}, StartingPositionTimestamp: 1", "E.StartingPositionTimestamp: goes with AT_TIMESTAMP"),
        (f"{GOOD}, BatchSize: 0", "F.Events.E.BatchSize 0: a whole number from 1 to 10000 is needed"),
        (f"{GOOD}, BatchSize: 10001", "F.Events.E.BatchSize 10001: a whole number from 1 to 10000"),
        (f"{GOOD}, BatchSize: many", "F.Events.E.BatchSize many: a whole number from 1 to 10000"),
        (f"{GOOD}, MaximumBatchingWindowInSeconds: 301", "E.MaximumBatchingWindowInSeconds 301: a whole number"),
        (f"{GOOD}, MaximumBatchingWindowInSeconds: 0.5", "E.MaximumBatchingWindowInSeconds 0.5: a whole number"),
        (f"{GOOD}, Enabled: maybe", "F.Events.E.Enabled maybe: true or false is needed"),
        (f"{GOOD}, ConsumerGroupId: {'g' * 201}", "F.Events.E.ConsumerGroupId ggg"),
        (f"{GOOD}, ConsumerGroupId: !Ref FromSsm", "F.Events.E.ConsumerGroupId: parameter FromSsm is read from SSM"),
        (
            "Stream: a, StartingPosition: LATEST, Topics: [!Ref NoDefault]",
            "E.Topics: parameter NoDefault has no default",
        ),
        ("Stream: a, StartingPosition: LATEST, Topics: [!Ref Nobody]", "Ref Nobody: the template has no such"),
        (f"{GOOD}, BatchSize: !GetAtt Bucket.Size", "E.BatchSize: Bucket.Size is known only after a deployment"),
    ],
)
def test_a_wrong_event_is_refused_in_one_line_that_names_it(project, properties, message):
    with pytest.raises(TemplateError) as caught:
        one(project, properties)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FilterCriteria", "{Filters: [{Pattern: x}]}"),
        ("BisectBatchOnFunctionError", "true"),
        ("FunctionResponseTypes", "[ReportBatchItemFailures]"),
        ("MaximumRetryAttempts", "3"),
        ("MaximumRecordAgeInSeconds", "60"),
        ("DestinationConfig", "{OnFailure: {Destination: x}}"),
        ("SchemaRegistryConfig", "{SchemaRegistryURI: x}"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(project, name, value):
    with pytest.raises(TemplateError, match=rf"^F.Events.E.{name} is not implemented by this emulator"):
        one(project, f"{GOOD}, {name}: {value}")


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("Timeout: 841", "F.Timeout 841: a Kafka event source mapping accepts at most 840 seconds"),
        ("Timeout: 901", "F.Timeout 901: a whole number from 1 to 900 is needed"),
        ("Runtime: nodejs22.x", "F.Runtime nodejs22.x: only Python functions are supported"),
        ("PackageType: Image", "F: only functions with a CodeUri folder are supported"),
        ("InlineCode: x", "F: only functions with a CodeUri folder are supported"),
        ("Environment: {Variables: {A: [1]}}", "F.Environment A: not a text: [1]"),
        ("Condition: x", None),
    ],
)
def test_a_wrong_function_is_refused(project, function, message):
    if message is None:
        assert one(project, function=function)
        return
    with pytest.raises(TemplateError) as caught:
        one(project, function=function)
    assert message in str(caught.value)


def test_a_missing_code_folder_is_named(project):
    Path(project / "functions").rmdir()

    with pytest.raises(TemplateError, match=r"F.CodeUri functions/: no folder /"):
        one(project)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("just text", "no Resources: not a SAM template"),
        ("Resources: {}\nParameters: {}", None),
        (
            "Resources: {M: {Type: AWS::Lambda::EventSourceMapping, Properties: {Topics: [t]}}}",
            "M: a standalone AWS::Lambda::EventSourceMapping is not supported",
        ),
    ],
)
def test_what_is_no_template_is_refused(project, text, message):
    if message is None:
        assert load(project, text).mappings() == ()
        return
    with pytest.raises(TemplateError) as caught:
        load(project, text).mappings()
    assert message in str(caught.value)


def test_a_missing_file_and_an_unknown_override_are_named(project):
    with pytest.raises(TemplateError, match=r"nowhere.yaml: No such file"):
        SamTemplate.load(project / "nowhere.yaml")
    with pytest.raises(TemplateError, match=r"parameter override Nope: the template has no such parameter"):
        load(project, TEMPLATE, {"Nope": "1"})


def test_a_function_can_be_picked_and_must_exist(project):
    template = load(project, TEMPLATE)

    assert len(template.mappings(["Clicks"])) == 1
    with pytest.raises(TemplateError, match=r"Nope: the template has no such AWS::Serverless::Function"):
        template.mappings(["Nope"])


def test_two_mappings_must_not_share_a_group(project):
    text = FUNCTION % {"properties": f"{GOOD}, ConsumerGroupId: g", "function": "", "type": "MSK"}
    text += f"        E2: {{Type: MSK, Properties: {{{GOOD}, ConsumerGroupId: g}}}}\n"

    with pytest.raises(TemplateError, match=r"FE: ConsumerGroupId g is used by another mapping too"):
        load(project, text).mappings()


def test_a_resource_whose_condition_is_false_does_not_exist(project):
    text = FUNCTION.replace("    Type: AWS::Serverless", "    Condition: Never\n    Type: AWS::Serverless")
    assert load(project, text % {"properties": "", "function": "", "type": "MSK"}).mappings() == ()

    text = text.replace("Condition: Never\n", "Condition: Unknown\n")
    with pytest.raises(TemplateError, match=r"F.Condition: parameter NoDefault has no default: pass --parameter-ov"):
        load(project, text % {"properties": "", "function": "", "type": "MSK"}).mappings()
