"""Faults that a person makes, put into the platform's templates one at a time; a named check catches each."""

import pytest
import validate_application
import validate_graph as graph
import validate_provisioning as provisioning
from samtranslator.yaml_helper import yaml_parse
from validate_resolve import Unresolvable, resolve

COMBINATIONS = {combination.name: combination for combination in provisioning.combinations()}
USUAL = ("standard", "scram", "endpoints", "on-demand")


def with_fault(stack, good, bad):
    """All templates, one of them with a text replaced once."""
    path = provisioning.PROVISIONING / ("template.yaml" if stack == graph.ROOT else f"{stack}.yaml")
    text = path.read_text()
    assert good in text
    templates = {name: provisioning.plain(name) for name in (graph.ROOT, *provisioning.STACKS)}
    return templates | {stack: yaml_parse(text.replace(good, bad, 1))}


GRAPH_FAULTS = {
    "a wrong port": (
        "network",
        "      ToPort: 9098\n      Description: clients, IAM",
        "      ToPort: 9099\n      Description: clients, IAM",
        "ports: the brokers let in [(9096, 9096), (9098, 9099)] from ClientSecurityGroup",
    ),
    "a port for a login that is off": (
        "network",
        "  ClusterFromClientTls:\n    Type: AWS::EC2::SecurityGroupIngress\n    Condition: Tls\n",
        "  ClusterFromClientTls:\n    Type: AWS::EC2::SecurityGroupIngress\n",
        "ports: the brokers let in [(9094, 9094), (9096, 9096), (9098, 9098)] from ClientSecurityGroup",
    ),
    "a group that is let in and should not": (
        "network",
        "      SourceSecurityGroupId: !Ref FunctionSecurityGroup\n",
        "      CidrIp: 10.0.0.0/8\n",
        "ports: the brokers let in [] from FunctionSecurityGroup",
    ),
    "a missing self-reference": (
        "network",
        "      SourceSecurityGroupId: !Ref ClusterSecurityGroup\n      IpProtocol: tcp\n      FromPort: 9098",
        "      SourceSecurityGroupId: !Ref ClientSecurityGroup\n      IpProtocol: tcp\n      FromPort: 9098",
        "self-reference: ClusterSecurityGroup does not let itself in on 9098",
    ),
    "a missing way out to itself": (
        "network",
        "      DestinationSecurityGroupId: !Ref ClusterSecurityGroup\n      IpProtocol: tcp\n      FromPort: 9096",
        "      DestinationSecurityGroupId: !Ref ClientSecurityGroup\n      IpProtocol: tcp\n      FromPort: 9096",
        "self-reference: ClusterSecurityGroup does not let itself out on 9096",
    ),
    "an SSM name read but not written": (
        graph.ROOT,
        "/headrace/${Environment}/cluster-arn",
        "/headrace/${Environment}/cluster_arn",
        "ssm: the application reads /headrace/dev/cluster-arn, which the platform does not write",
    ),
    "a circle inside a stack": (
        "cluster",
        "      Description: !Sub 'Kafka passwords of headrace ${Environment}'",
        "      Description: !Ref ScramSecret",
        "cycle: cluster.ScramKey -> cluster.ScramSecret -> cluster.ScramKey",
    ),
    "a circle between stacks": (
        graph.ROOT,
        "        VpcId: !Ref VpcId\n",
        "        VpcId: !GetAtt Cluster.Outputs.ClusterArn\n",
        "cycle: root.Cluster -> root.Network -> root.Cluster",
    ),
    "a reference to what a condition took away": (
        "network",
        "      RouteTableId: !Ref PrivateRoutes1\n",
        "      RouteTableId: !Ref PublicRoutes\n",
        "dangling: network.PrivateSubnet1Routes refers to PublicRoutes, which is not there",
    ),
    "waiting for what a condition took away": (
        "cluster",
        "  ScramKey:\n    Type: AWS::KMS::Key\n",
        "  ScramKey:\n    Type: AWS::KMS::Key\n    DependsOn: ServerlessCluster\n",
        "dangling: cluster.ScramKey refers to ServerlessCluster, which is not there",
    ),
    "an output that nobody gives": (
        "cluster",
        "  IamBrokers:\n",
        "  IamBroker:\n",
        "wiring: Topics wants Cluster.Outputs.IamBrokers, which Cluster does not give",
    ),
    "a parameter that a stack does not know": (
        graph.ROOT,
        "        ReaderGroupPrefix: !Ref ReaderGroupPrefix\n",
        "        ReadersGroupPrefix: !Ref ReaderGroupPrefix\n",
        "wiring: Roles gets ReadersGroupPrefix, which its template does not know",
    ),
    "a policy of AWS's own": (
        "roles",
        "      ManagedPolicyArns: [!Ref AdminPolicy]",
        "      ManagedPolicyArns: ['arn:aws:iam::aws:policy/AmazonMSKFullAccess']",
        "policy: roles.AdminRole has arn:aws:iam::aws:policy/AmazonMSKFullAccess",
    ),
}


@pytest.mark.parametrize("fault", GRAPH_FAULTS)
def test_a_fault_in_the_graph_is_caught_by_the_check_named_for_it(fault):
    stack, good, bad, said = GRAPH_FAULTS[fault]
    templates = with_fault(stack, good, bad)
    try:
        findings = provisioning.walk(
            COMBINATIONS[USUAL], provisioning.stacks_of(COMBINATIONS[USUAL], templates), templates
        )
    except Unresolvable as unresolvable:
        findings = [f"wiring: {unresolvable}"]
    assert any(line.startswith(said) for line in findings), findings


LINT_FAULTS = {
    "a misspelt action": (
        "roles",
        "[kafka-cluster:DescribeTopic, kafka-cluster:WriteData]",
        "[kafka-cluster:DescribeTopic, kafka-cluster:WriteDate]",
        "W3037",
        "writedate",
    ),
    "a misspelt property": (
        "cluster",
        "      EnhancedMonitoring:",
        "      EnhanceMonitoring:",
        "E3002",
        "EnhanceMonitoring",
    ),
    "an unknown value": ("cluster", "TLS_PLAINTEXT, TLS]", "TLS_PLAINTEXT, SSL]", "E3030", "SSL"),
    "an attribute of nothing": (
        "cluster",
        "Configuration.LatestRevision.Revision",
        "Configuration.Latest",
        "E1010",
        "Latest",
    ),
    "a trust without an action": (
        "roles",
        "            Action: sts:AssumeRole\n            Condition:",
        "            Condition:",
        "E3530",
        "Action",
    ),
}


@pytest.mark.parametrize("fault", LINT_FAULTS)
def test_a_fault_in_a_resource_is_caught_by_cfn_lint(fault):
    stack, good, bad, rule, said = LINT_FAULTS[fault]
    templates = with_fault(stack, good, bad)
    worked_out = provisioning.stacks_of(COMBINATIONS[USUAL], templates)[stack]
    findings = provisioning.Linter().findings(stack, worked_out)
    assert any(line.startswith(rule) and said.lower() in line.lower() for line in findings), findings


def test_a_resource_that_was_read_once_keeps_its_findings_in_the_next_combination():
    templates = with_fault("roles", "kafka-cluster:DeleteGroup", "kafka-cluster:RemoveGroup")
    linter = provisioning.Linter()
    for names in (USUAL, ("express", "iam", "nat", "on-demand")):
        worked_out = provisioning.stacks_of(COMBINATIONS[names], templates)["roles"]
        assert any("removegroup" in line.lower() for line in linter.findings("roles", worked_out)), names
    assert linter.runs == 1


def test_a_mapping_without_an_entry_is_no_combination():
    template = {
        "Parameters": {"Size": {"Type": "String", "Default": "huge"}},
        "Mappings": {"Partitions": {"clicks": {"small": 1}}},
        "Resources": {
            "T": {"Type": "X", "Properties": {"N": {"Fn::FindInMap": ["Partitions", "clicks", {"Ref": "Size"}]}}}
        },
    }
    with pytest.raises(Unresolvable, match="Partitions has nothing for clicks, huge"):
        resolve(template, {})


def test_the_applications_template_is_the_one_that_is_deployed():
    read = graph.read_ssm_names(validate_application.load_template())
    assert {"/headrace/dev/cluster-arn", "/headrace/dev/bootstrap-brokers"} <= read
