"""The platform's stacks: what they refuse, what they let in, who may do what, and that the pictures are up to date."""

import functools
import json
import re
import tomllib

import pytest
import validate_application
import validate_graph as graph
import validate_provisioning as provisioning
import validate_snapshots
from validate_combinations import DIMENSIONS
from validate_resolve import refusals

ROOT = provisioning.plain(graph.ROOT)
COMBINATIONS = {combination.name: combination for combination in provisioning.combinations()}
SNAPSHOTS = validate_application.ROOT / "tests" / "template" / "snapshots"
CONFIG = tomllib.loads((provisioning.PROVISIONING / "samconfig.toml").read_text())

STANDARD = {"ClusterKind": "Standard"}
SERVERLESS = {"ClusterKind": "Serverless"}
EXPRESS = {"ClusterKind": "Express", "BrokerType": "express.m7g.large"}
EXISTING = DIMENSIONS["network"]["existing+endpoints"]
AUTHORITY = DIMENSIONS["login"]["tls"]


@pytest.fixture(scope="module")
def stacks():
    """Return a function that works out a combination by its choices or its extra's name."""

    @functools.cache
    def make(*names):
        return provisioning.stacks_of(COMBINATIONS[names])

    return make


def resources(stack, kind):
    return {name: r["Properties"] for name, r in stack["Resources"].items() if r["Type"] == kind}


def as_list(value):
    return value if isinstance(value, list) else [value]


# --- Bad input: a sentence, before anything is created ---------------------------------------------------------------


BAD_INPUT = [
    (EXPRESS | {"Zones": "2", "Brokers": "4"}, "Express brokers need 3 zones"),
    (EXPRESS | {"BrokerType": "kafka.m7g.large"}, "BrokerType must be an express.* type for an Express cluster"),
    (EXPRESS | {"ReplicationFactor": "2"}, "Express brokers keep 3 replicas of which 2 are in sync"),
    (EXPRESS | {"KafkaVersion": "4.1.x.kraft"}, "KafkaVersion must be 3.8.x, 3.9.x or 3.9.x.kraft for an Express"),
    (EXPRESS | {"StorageMode": "TIERED", "TopicConfigs": "json"}, "Tiered storage is for Standard clusters"),
    (EXPRESS | {"VolumeThroughputMiBs": "250"}, "Provisioned throughput is for Standard clusters"),
    (STANDARD | {"BrokerType": "express.m7g.large"}, "BrokerType must be a kafka.* type for a Standard cluster"),
    (
        {"StorageMode": "TIERED", "TopicConfigs": "json", "BrokerType": "kafka.t3.small"},
        "kafka.t3.small has no tiered storage",
    ),
    (
        {"BrokerType": "kafka.t3.small", "MultiVpc": "true", "MultiVpcCidr": "10.0.0.0/16"},
        "kafka.t3.small has no managed VPC connections",
    ),
    ({"TrustedPrincipalArns": "arn:aws:iam::123456789012:role/a,"}, "TrustedPrincipalArns must be empty or up to 20"),
    ({"StorageMode": "TIERED"}, "A topic is tiered by a setting of its own"),
    ({"StorageMode": "TIERED", "TopicConfigs": "json", "KafkaVersion": "2.8.1"}, "KafkaVersion is outside"),
    ({"BrokerType": "kafka.t3.small", "KafkaVersion": "4.0.x.kraft"}, "Kafka 4 on nothing below large brokers"),
    (SERVERLESS | {"ScramAuthentication": "true"}, "knows IAM only, so ScramAuthentication must be false"),
    (SERVERLESS | AUTHORITY, "knows IAM only, so CertificateAuthorityArns must be empty"),
    (SERVERLESS | {"PlaintextAccess": "true"}, "knows IAM only, so PlaintextAccess must be false"),
    (SERVERLESS | {"MultiVpc": "true", "MultiVpcCidr": "10.0.0.0/16"}, "MultiVpc must be false"),
    (SERVERLESS | {"ClientAccountIds": "210987654321"}, "ClientAccountIds must be empty"),
    (
        {"Zones": "2", "Brokers": "2", "MinInsyncReplicas": "1"},
        "A topic cannot have more replicas than there are brokers",
    ),
    ({"ReplicationFactor": "2"}, "MinInsyncReplicas must be below ReplicationFactor"),
    ({"Brokers": "4"}, "Brokers must be a multiple of Zones"),
    ({"Zones": "2"}, "Brokers must be a multiple of Zones"),
    ({"VolumeThroughputMiBs": "250"}, "VolumeThroughputMiBs needs kafka.m5.4xlarge"),
    ({"VolumeThroughputMiBs": "625", "BrokerType": "kafka.m5.4xlarge"}, "VolumeThroughputMiBs needs"),
    ({"VolumeThroughputMiBs": "260", "BrokerType": "kafka.m5.8xlarge"}, "VolumeThroughputMiBs is outside"),
    ({"MultiVpc": "true"}, "MultiVpcCidr must say where"),
    ({"MultiVpc": "true", "MultiVpcCidr": "10.0.0.0/16", "PlaintextAccess": "true"}, "PlaintextAccess must be false"),
    ({"MultiVpc": "true", "MultiVpcCidr": "10.0.0.0/8"}, "MultiVpcCidr must be empty or an IPv4 range of /16"),
    ({"VpcId": "vpc-0123456789abcdef0"}, "SubnetIds must name the existing VPC's private subnets"),
    (EXISTING | {"Egress": "nat"}, "NAT gateways are made in a new VPC only"),
    (EXISTING | {"RouteTableIds": ""}, "Gateway endpoints in an existing VPC need its RouteTableIds"),
    (EXISTING | {"VpcId": ""}, "SubnetIds and RouteTableIds belong to an existing VPC"),
    (EXISTING | {"AvailabilityZones": "us-east-1a,us-east-1b"}, "AvailabilityZones must be empty"),
    ({"Egress": "existing"}, "A new VPC has no way out of its own"),
    ({"CreateClient": "true"}, "ClientBundleBucket must name the bucket"),
    ({"Environment": "a-name-that-is-too-long"}, "Environment must be 1 to 16"),
    ({"ReaderGroupPrefix": "r" * 65}, "ReaderGroupPrefix must be 1 to 64"),
    ({"VpcCidr": "10.0.0.0/28"}, "VpcCidr must be a private IPv4 range"),
    ({"TrustedPrincipalArns": "*"}, "TrustedPrincipalArns must be empty or up to 20"),
    ({"ReplicationFactor": "4"}, "ReplicationFactor is outside its constraints"),
    ({"Topicz": "1"}, "Topicz: no such parameter"),
]


@pytest.mark.parametrize(("parameters", "sentence"), BAD_INPUT)
def test_bad_input_is_refused_with_a_sentence(parameters, sentence):
    said = refusals(ROOT, parameters)
    assert any(sentence in line for line in said), said


@pytest.mark.parametrize("name", COMBINATIONS, ids=" ".join)
def test_no_good_combination_is_refused(name):
    assert refusals(ROOT, COMBINATIONS[name].parameters) == []


def test_every_sentence_of_every_rule_is_said_about_one_of_these():
    said = {line for parameters, _ in BAD_INPUT for line in refusals(ROOT, parameters)}
    sentences = [a["AssertDescription"] for rule in ROOT["Rules"].values() for a in rule["Assertions"]]
    assert [sentence for sentence in sentences if " ".join(sentence.split()) not in said] == []


# --- Parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stack", [graph.ROOT, *provisioning.STACKS])
def test_every_parameter_is_described_and_bounded(stack):
    for name, parameter in provisioning.source(stack).get("Parameters", {}).items():
        assert {"Type", "Description"} <= set(parameter), name
        if stack == graph.ROOT:
            assert "Default" in parameter, name
        if parameter["Type"] == "Number":
            assert "AllowedValues" in parameter or {"MinValue", "MaxValue"} <= set(parameter), name
        elif parameter["Type"] == "String":
            assert "AllowedValues" in parameter or parameter["AllowedPattern"].startswith("^"), name
            assert "AllowedValues" in parameter or parameter["AllowedPattern"].endswith("$"), name


@pytest.mark.parametrize("name", [n for n, p in ROOT["Parameters"].items() if "AllowedPattern" in p])
def test_every_pattern_says_what_it_wants(name):
    assert ROOT["Parameters"][name]["ConstraintDescription"].startswith("must be ")


@pytest.mark.parametrize("stack", [graph.ROOT, *provisioning.STACKS])
def test_every_parameter_is_used(stack):
    template = provisioning.source(stack)
    body = json.dumps({key: value for key, value in template.items() if key not in {"Parameters", "Rules"}})
    declared = template.get("Parameters", {})
    assert [name for name in declared if f'"Ref": "{name}"' not in body and f"${{{name}}}" not in body] == []


@pytest.mark.parametrize("environment", ["default", "dev", "prod"])
def test_what_samconfig_deploys_is_not_refused(environment):
    overrides = CONFIG[environment]["deploy"]["parameters"]["parameter_overrides"]
    assert refusals(ROOT, dict(pair.split("=", 1) for pair in overrides)) == []


def test_a_forgotten_environment_is_dev():
    assert CONFIG["default"] == CONFIG["dev"]
    assert CONFIG["prod"]["deploy"]["parameters"]["confirm_changeset"] is True


# --- Network ---------------------------------------------------------------------------------------------------------

ENDPOINTS = {
    ("endpoints", "on-demand"): {"s3", "dynamodb", "lambda", "sts"},
    ("endpoints", "provisioned"): {"s3", "dynamodb"},
    ("nat", "on-demand"): {"s3", "dynamodb"},
    ("nat", "provisioned"): {"s3", "dynamodb"},
    ("existing+endpoints", "on-demand"): {"s3", "dynamodb", "lambda", "sts"},
    ("existing+endpoints", "provisioned"): {"s3", "dynamodb"},
    ("existing", "on-demand"): set(),
    ("existing", "provisioned"): set(),
}


def services(network):
    names = (
        properties["ServiceName"]["Fn::Sub"] for properties in resources(network, "AWS::EC2::VPCEndpoint").values()
    )
    return {name.rpartition(".")[2] for name in names}


@pytest.mark.parametrize(("network", "pollers"), ENDPOINTS)
def test_only_the_endpoints_that_somebody_needs_are_made(stacks, network, pollers):
    assert services(stacks("standard", "iam", network, pollers)["network"]) == ENDPOINTS[network, pollers]


def test_mappings_with_a_password_reach_it(stacks):
    assert "secretsmanager" in services(stacks("standard", "scram", "endpoints", "on-demand")["network"])


def test_the_client_is_reached_by_session_manager_alone(stacks):
    with_client = stacks("client, provisioned pollers")
    assert services(with_client["network"]) == {"s3", "dynamodb", "ssm", "ssmmessages"}
    (instance,) = resources(with_client["client"], "AWS::EC2::Instance").values()
    assert "KeyName" not in instance
    assert instance["NetworkInterfaces"][0]["AssociatePublicIpAddress"] is False
    assert instance["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}


@pytest.mark.parametrize("name", COMBINATIONS, ids=" ".join)
def test_nothing_is_let_in_from_everywhere(stacks, name):
    network = stacks(*name)["network"]
    inline = [
        r for g in resources(network, "AWS::EC2::SecurityGroup").values() for r in g.get("SecurityGroupIngress", [])
    ]
    rules = [*inline, *resources(network, "AWS::EC2::SecurityGroupIngress").values()]
    assert not [rule for rule in rules if rule.get("CidrIp") == "0.0.0.0/0" or rule["IpProtocol"] == "-1"]


def test_a_new_vpc_has_dns_on(stacks):
    (vpc,) = resources(stacks("standard", "iam", "endpoints", "on-demand")["network"], "AWS::EC2::VPC").values()
    assert (vpc["EnableDnsSupport"], vpc["EnableDnsHostnames"]) == (True, True)


def test_an_existing_network_is_used_only_as_checked(stacks):
    network = stacks("standard", "iam", "existing+endpoints", "on-demand")["network"]
    (checked,) = resources(network, "Custom::ExistingNetwork").values()
    assert checked["VpcId"] == EXISTING["VpcId"]
    others = {name: r for name, r in network["Resources"].items() if name != "ExistingNetwork"}
    assert EXISTING["VpcId"] not in json.dumps(others)
    assert "subnet-0123" not in json.dumps(others)


# --- Cluster ---------------------------------------------------------------------------------------------------------


def cluster(stacks, *names):
    ((_, properties),) = resources(stacks(*names)["cluster"], "AWS::MSK::Cluster").items()
    return properties


def server_properties(stack):
    ((_, properties),) = resources(stack, "AWS::MSK::Configuration").items()
    return dict(line.split("=", 1) for line in properties["ServerProperties"].splitlines())


def test_a_standard_clusters_configuration_is_what_the_parameters_say(stacks):
    assert server_properties(stacks("standard", "iam", "endpoints", "on-demand")["cluster"]) == {
        "auto.create.topics.enable": "false",
        "default.replication.factor": "3",
        "log.message.timestamp.type": "LogAppendTime",
        "log.retention.ms": "604800000",
        "min.insync.replicas": "2",
        "unclean.leader.election.enable": "false",
    }


def test_an_express_cluster_gets_only_what_msk_leaves_open(stacks):
    names = "auto.create.topics.enable", "log.message.timestamp.type", "log.retention.ms"
    assert tuple(server_properties(stacks("express", "iam", "endpoints", "on-demand")["cluster"])) == names
    properties = cluster(stacks, "express", "iam", "endpoints", "on-demand")
    assert "StorageInfo" not in properties["BrokerNodeGroupInfo"]
    assert "StorageMode" not in properties


@pytest.mark.parametrize(
    ("login", "scram", "tls", "open_", "transit"),
    [
        ("iam", False, False, False, "TLS"),
        ("scram", True, False, False, "TLS"),
        ("tls", False, True, False, "TLS"),
        ("plaintext", False, False, True, "TLS_PLAINTEXT"),
    ],
)
@pytest.mark.parametrize("kind", ["standard", "express"])
def test_iam_is_always_on_and_nothing_else_unless_chosen(stacks, kind, login, scram, tls, open_, transit):
    properties = cluster(stacks, kind, login, "endpoints", "on-demand")
    logins = properties["ClientAuthentication"]
    assert logins["Sasl"] == {"Iam": {"Enabled": True}, "Scram": {"Enabled": scram}}
    assert logins["Tls"]["Enabled"] is tls
    assert logins["Unauthenticated"] == {"Enabled": open_}
    assert properties["EncryptionInfo"]["EncryptionInTransit"] == {"InCluster": True, "ClientBroker": transit}


def test_a_kafka_password_is_a_secret_as_msk_wants_it(stacks):
    stack = stacks("standard", "scram", "endpoints", "on-demand")["cluster"]
    (secret,) = resources(stack, "AWS::SecretsManager::Secret").values()
    assert secret["Name"]["Fn::Sub"][0].startswith("AmazonMSK_")
    assert secret["KmsKeyId"] == {"Ref": "ScramKey"}
    (association,) = resources(stack, "AWS::MSK::BatchScramSecret").values()
    assert association["SecretArnList"] == [{"Ref": "ScramSecret"}]


def test_the_options_of_a_cluster_arrive(stacks):
    tiered = cluster(stacks, "tiered, own key, fast disk")
    assert tiered["StorageMode"] == "TIERED"
    ebs = tiered["BrokerNodeGroupInfo"]["StorageInfo"]["EBSStorageInfo"]
    assert ebs["ProvisionedThroughput"] == {"Enabled": True, "VolumeThroughput": 500}
    assert tiered["EncryptionInfo"]["EncryptionAtRest"]["DataVolumeKMSKeyId"].startswith("arn:aws:kms:")
    watched = cluster(stacks, "watched")
    assert watched["OpenMonitoring"]["Prometheus"]["JmxExporter"] == {"EnabledInBroker": True}
    assert watched["LoggingInfo"]["BrokerLogs"] == {
        "CloudWatchLogs": {"Enabled": False},
        "S3": {"Enabled": True, "Bucket": "headrace-broker-logs", "Prefix": "headrace-dev"},
    }
    others = cluster(stacks, "other accounts")
    assert others["BrokerNodeGroupInfo"]["ConnectivityInfo"]["VpcConnectivity"] == {
        "ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}
    }


@pytest.mark.parametrize("kind", ["serverless", "standard", "express"])
def test_a_cluster_and_its_topics_outlive_their_stack_once_they_were_made(stacks, kind):
    made = stacks(kind, "iam", "endpoints", "on-demand")
    kept = [
        resource
        for stack in made.values()
        for resource in stack["Resources"].values()
        if resource["Type"] in {"AWS::MSK::Cluster", "AWS::MSK::ServerlessCluster", "AWS::MSK::Topic"}
    ]
    assert kept
    assert all(r["DeletionPolicy"] == "RetainExceptOnCreate" and r["UpdateReplacePolicy"] == "Retain" for r in kept)


# --- Roles -----------------------------------------------------------------------------------------------------------

TOPIC = provisioning.SAMPLES["TopicArns"]
CLUSTER_ARN = provisioning.SAMPLES["ClusterArn"]


def grants(stack, name):
    """Action to resources, of a managed policy or a role's inline policies."""
    properties = stack["Resources"][name]["Properties"]
    documents = [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    documents += [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    found = {}
    for statement in (s for d in documents for s in d["Statement"]):
        for action in as_list(statement["Action"]):
            found.setdefault(action, []).extend(as_list(statement["Resource"]))
    return found


def roles(stacks, *names):
    return stacks(*(names or ("standard", "iam", "endpoints", "on-demand")))["roles"]


def test_a_producer_writes_to_the_topics_and_nothing_else(stacks):
    granted = grants(roles(stacks), "ProducerPolicy")
    assert granted.pop("kafka-cluster:WriteData") == granted.pop("kafka-cluster:DescribeTopic") == [TOPIC]
    assert granted.pop("kafka-cluster:Connect") == [CLUSTER_ARN]
    assert granted.pop("kafka-cluster:WriteDataIdempotently") == [CLUSTER_ARN]
    ids = [CLUSTER_ARN.replace(":cluster/", ":transactional-id/") + "/producer-*"]
    assert granted == {f"kafka-cluster:{verb}TransactionalId": ids for verb in ("Describe", "Alter")}


def test_a_reader_reads_the_topics_in_groups_of_its_own(stacks):
    granted = grants(roles(stacks), "ConsumerPolicy")
    assert granted.pop("kafka-cluster:ReadData") == granted.pop("kafka-cluster:DescribeTopic") == [TOPIC]
    assert granted.pop("kafka-cluster:Connect") == [CLUSTER_ARN]
    groups = [CLUSTER_ARN.replace(":cluster/", ":group/") + "/reader-*"]
    assert granted == {"kafka-cluster:DescribeGroup": groups, "kafka-cluster:AlterGroup": groups}


@pytest.mark.parametrize(
    ("names", "may"), [((), False), (("administrator deletes",), True)], ids=["by default", "when told"]
)
def test_an_administrator_deletes_topics_only_when_told(stacks, names, may):
    granted = grants(roles(stacks, *names), "AdminPolicy")
    assert ("kafka-cluster:DeleteTopic" in granted) is may
    assert granted["kafka-cluster:CreateTopic"] == [TOPIC]


def test_msk_connect_alone_takes_its_role_and_only_for_this_account(stacks):
    role = roles(stacks)["Resources"]["ConnectRole"]["Properties"]
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "kafkaconnect.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}


def test_other_accounts_read_and_write_the_topics_in_groups_of_their_own(stacks):
    (policy,) = resources(roles(stacks, "other accounts"), "AWS::MSK::ClusterPolicy").values()
    statements = policy["Policy"]["Statement"]
    assert all(s["Principal"] == {"AWS": ["210987654321", "345678901234"]} for s in statements)
    groups = [r for s in statements for r in as_list(s["Resource"]) if ":group/" in r]
    assert groups == [CLUSTER_ARN.replace(":cluster/", ":group/") + "/external-*"]


def test_no_other_policy_covers_the_applications_groups(stacks):
    text = json.dumps(roles(stacks, "other accounts"))
    groups = set(re.findall(r":group/[^\"]+", text))
    prefix = validate_application.load_template()["Parameters"]["ConsumerGroupPrefix"]["Default"]
    assert not [group for group in groups if group.rpartition("/")[2].removesuffix("*").startswith(prefix)]
    assert not [group for group in groups if prefix.startswith(group.rpartition("/")[2].removesuffix("*"))]


@pytest.mark.parametrize("stack", provisioning.STACKS)
def test_no_action_is_a_wildcard_but_on_a_keys_own_account(stack):
    actions = re.findall(r'"([a-z0-9-]+:[A-Za-z]*\*)"', json.dumps(provisioning.source(stack)["Resources"]))
    assert actions == (["kms:*"] if stack == "cluster" else [])


UNSCOPED = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
}
"""Actions for which AWS knows no resource, or whose resource has no name yet."""


def test_only_actions_without_a_resource_are_granted_on_everything(stacks):
    everything = set()
    for names in (("serverless, topics deleted",), ("client",)):
        for stack in stacks(*names).values():
            for name in [*resources(stack, "AWS::IAM::Role"), *resources(stack, "AWS::IAM::ManagedPolicy")]:
                everything |= {action for action, on in grants(stack, name).items() if "*" in on}
    assert everything == UNSCOPED


@pytest.mark.parametrize(
    ("names", "may"),
    [(("serverless", "iam", "endpoints", "on-demand"), False), (("serverless, topics deleted",), True)],
)
def test_the_topic_admin_deletes_only_when_told(stacks, names, may):
    assert ("kafka-cluster:DeleteTopic" in grants(stacks(*names)["topics"], "TopicAdminRole")) is may


# --- Topics ----------------------------------------------------------------------------------------------------------


def test_serverless_topics_and_the_others_come_from_the_same_list(stacks):
    by_function = resources(stacks("serverless", "iam", "endpoints", "on-demand")["topics"], "Custom::KafkaTopics")
    by_api = resources(stacks("standard", "iam", "endpoints", "on-demand")["topics"], "AWS::MSK::Topic")
    listed = {topic["Name"]: topic["Partitions"] for topic in by_function["KafkaTopics"]["Topics"]}
    assert listed == {topic["TopicName"]: topic["PartitionCount"] for topic in by_api.values()}
    assert all("Configs" not in topic for topic in by_api.values())


def test_a_topics_settings_are_written_as_told(stacks):
    tiered = resources(stacks("tiered, own key, fast disk")["topics"], "AWS::MSK::Topic")["ClicksTopic"]
    lines = tiered["Configs"]["Fn::Base64"].split("\n")
    assert lines == [
        "retention.ms=604800000",
        "message.timestamp.type=LogAppendTime",
        "remote.storage.enable=true",
        "local.retention.ms=86400000",
    ]
    as_json = resources(stacks("topics' settings as JSON")["topics"], "AWS::MSK::Topic")["LogsTopic"]
    assert json.loads(as_json["Configs"]["Fn::Base64"]) == {
        "retention.ms": "259200000",
        "message.timestamp.type": "LogAppendTime",
    }


def test_cloudformation_waits_for_a_functions_answer_longer_than_the_function_runs(stacks):
    for stack in stacks("serverless", "iam", "existing", "on-demand").values():
        functions = {n: f["Timeout"] for n, f in resources(stack, "AWS::Lambda::Function").items()}
        waits = [
            r["Properties"]["ServiceTimeout"] for r in stack["Resources"].values() if r["Type"].startswith("Custom::")
        ]
        assert all(wait > 60 for wait in waits)
        if "TopicAdminFunction" in functions:
            assert waits == [360]
            assert functions["TopicAdminFunction"] < 360


# --- Between the platform and the application ------------------------------------------------------------------------


def test_the_application_reads_what_the_platform_writes(stacks):
    written = graph.written_ssm_names(stacks("standard", "iam", "endpoints", "on-demand"))
    assert graph.read_ssm_names(validate_application.load_template()) == written


def test_the_names_follow_the_environment():
    names = [r["Properties"]["Name"] for r in ROOT["Resources"].values() if r["Type"] == "AWS::SSM::Parameter"]
    assert len(names) == 4
    assert all(name["Fn::Sub"].startswith("/headrace/${Environment}/") for name in names)


# --- Graphs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures():
    return validate_snapshots.pictures()


def test_the_pictures_are_up_to_date(pictures):
    committed = {path.name: path.read_text() for path in SNAPSHOTS.glob("*.txt")}
    command = "python scripts/validate_snapshots.py tests/template/snapshots"
    assert committed == pictures, f"look at the difference; if it is right: {command}"


@pytest.mark.parametrize("names", [n for n in COMBINATIONS if len(n) > 1][::7], ids=" ".join)
def test_the_graph_of_a_combination_can_be_read_back_from_the_pictures(stacks, pictures, names):
    real = set()
    for stack, template in stacks(*names).items():
        for name, resource in template["Resources"].items():
            real.add(f"{stack} {name} {resource['Type']}")
            real |= {f"{stack} {name} -> {edge}" for edge in graph.edges(resource)}
    assert validate_snapshots.lines_of(pictures, names) == real


@pytest.mark.parametrize("names", COMBINATIONS, ids=" ".join)
def test_the_walk_finds_nothing(stacks, names):
    assert provisioning.walk(COMBINATIONS[names], stacks(*names)) == []


def test_every_dimension_of_the_matrix_is_there():
    names = [name for name in COMBINATIONS if len(name) > 1]
    assert len(names) == 8 + 3 * 32
    for index, choices in enumerate(DIMENSIONS.values()):
        assert {name[index] for name in names} == set(choices)
