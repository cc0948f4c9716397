"""What CloudFormation cannot ask for: a network's fitness and a cluster's brokers."""

import time

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from topic_admin import lookup, lookup_app
from topic_admin.answer import Outcome, Refused

VPC = "vpc-0123456789abcdef0"
SUBNETS = ["subnet-0a", "subnet-0b", "subnet-0c"]


@pytest.fixture
def network():
    """Return a function that makes EC2's answers about a VPC, checked against its model."""
    client = boto3.client("ec2", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="s")
    stubber = Stubber(client)

    def make(*, support=True, host_names=True, zones=("a", "b", "c"), vpcs=(VPC, VPC, VPC)):
        for attribute, key, value in (
            ("enableDnsSupport", "EnableDnsSupport", support),
            ("enableDnsHostnames", "EnableDnsHostnames", host_names),
        ):
            asked = {"VpcId": VPC, "Attribute": attribute}
            stubber.add_response("describe_vpc_attribute", {"VpcId": VPC, key: {"Value": value}}, asked)
        subnets = [
            {"SubnetId": subnet, "VpcId": vpc, "AvailabilityZone": f"us-east-1{zone}"}
            for subnet, vpc, zone in zip(SUBNETS, vpcs, zones, strict=True)
        ]
        stubber.add_response("describe_subnets", {"Subnets": subnets}, {"SubnetIds": SUBNETS})
        stubber.activate()
        return client

    return make


def properties(zones="3", subnets=SUBNETS):
    return {"VpcId": VPC, "SubnetIds": subnets, "Zones": zones}


def test_a_fit_network_is_handed_back_as_text(network):
    outcome = lookup.existing_network(properties(), network())
    assert outcome.data == {"VpcId": VPC, "SubnetIds": "subnet-0a,subnet-0b,subnet-0c"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"support": False}, "DNS resolution off.*--enable-dns-support"),
        ({"host_names": False}, "DNS host names off.*--enable-dns-hostnames"),
        ({"zones": ("a", "b", "b")}, "Zones is 3, so SubnetIds must be 3 subnets in different zones"),
        ({"vpcs": (VPC, "vpc-1", VPC)}, "subnet-0b: not in vpc-"),
    ],
)
def test_an_unfit_network_is_refused_with_a_sentence(network, wrong, said):
    with pytest.raises(Refused, match=said):
        lookup.existing_network(properties(), network(**wrong))


def test_more_subnets_than_zones_are_refused(network):
    with pytest.raises(Refused, match="Zones is 2"):
        lookup.existing_network(properties(zones="2"), network())


class Msk:
    def __init__(self, **found):
        self.found = found

    def get_bootstrap_brokers(self, **_asked):
        return self.found


def test_every_login_has_an_attribute_even_when_it_is_off():
    found = {"BootstrapBrokerStringSaslIam": "b-1:9098", "BootstrapBrokerStringTls": "b-1:9094"}
    outcome = lookup.bootstrap_brokers({"ClusterArn": "arn"}, Msk(**found))
    assert outcome.data == {"Iam": "b-1:9098", "Scram": "", "Tls": "b-1:9094", "Plaintext": ""}


def test_a_cluster_without_iam_is_refused():
    with pytest.raises(Refused, match="no brokers for IAM"):
        lookup.bootstrap_brokers({"ClusterArn": "arn"}, Msk())


def test_msks_names_of_the_addresses_are_in_its_own_model():
    model = boto3.client("kafka", region_name="us-east-1").meta.service_model.operation_model("GetBootstrapBrokers")
    assert set(lookup.BROKER_FIELDS.values()) <= set(model.output_shape.members)


def test_there_is_nothing_to_delete(bucket, request_of, context):
    lookup_app.lambda_handler(request_of("Delete", "Custom::BootstrapBrokers"), context())
    assert [given["Status"] for given in bucket.answers] == ["SUCCESS"]


def test_an_unknown_resource_is_answered(bucket, request_of, context):
    lookup_app.lambda_handler(request_of("Create", "Custom::Other"), context())
    assert bucket.answers[0]["Status"] == "FAILED"
    assert "no such resource: Custom::Other" in bucket.answers[0]["Reason"]


def forbidden(code):
    return ClientError({"Error": {"Code": code, "Message": "not authorized"}}, "DescribeSubnets")


def test_a_role_whose_policies_are_on_their_way_is_waited_for(monkeypatch):
    monkeypatch.setattr(lookup_app, "PAUSE_S", 0.0)
    answers = [forbidden("UnauthorizedOperation"), forbidden("AccessDenied"), Outcome("it")]

    def ask():
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    assert lookup_app.patiently(ask, time.monotonic() + 10) == Outcome("it")
    assert answers == []


@pytest.mark.parametrize(("code", "left_s"), [("InvalidVpcID.NotFound", 100), ("AccessDenied", 1)])
def test_another_refusal_or_one_that_lasts_is_told(code, left_s):
    asked = []

    def ask():
        asked.append(code)
        raise forbidden(code)

    with pytest.raises(ClientError, match=code):
        lookup_app.patiently(ask, time.monotonic() + left_s)
    assert len(asked) == 1
