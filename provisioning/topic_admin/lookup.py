"""What CloudFormation cannot find out by itself: an existing VPC's fitness, and a cluster's brokers."""

from collections.abc import Mapping
from typing import Any, Protocol

from topic_admin.answer import Outcome, Refused

BROKER_FIELDS = {
    "Iam": "BootstrapBrokerStringSaslIam",
    "Scram": "BootstrapBrokerStringSaslScram",
    "Tls": "BootstrapBrokerStringTls",
    "Plaintext": "BootstrapBrokerString",
}
"""The resource's attributes to MSK's names of them."""


class Ec2(Protocol):
    """The part of EC2's client that is used."""

    def describe_vpc_attribute(self, *, VpcId: str, Attribute: str) -> dict[str, Any]:  # noqa: N803 - AWS's names
        """One attribute of a VPC."""

    def describe_subnets(self, *, SubnetIds: list[str]) -> dict[str, Any]:  # noqa: N803 - AWS's names
        """Some subnets."""


class Kafka(Protocol):
    """The part of MSK's client that is used."""

    def get_bootstrap_brokers(self, *, ClusterArn: str) -> dict[str, str]:  # noqa: N803 - AWS's names
        """A cluster's addresses, by login."""


def bootstrap_brokers(properties: Mapping[str, Any], kafka: Kafka) -> Outcome:
    """The addresses of a cluster's brokers for each login; empty for a login that is off.

    Raises:
        Refused: the cluster has none for IAM, by which everything here logs in.
    """
    arn = properties["ClusterArn"]
    found = kafka.get_bootstrap_brokers(ClusterArn=arn)
    data = {name: found.get(field, "") for name, field in BROKER_FIELDS.items()}
    if not data["Iam"]:
        raise Refused(f"{arn} has no brokers for IAM")
    return Outcome(f"brokers-of-{arn}", data)


def existing_network(properties: Mapping[str, Any], ec2: Ec2) -> Outcome:
    """The VPC and its subnets, once they are known to do.

    Raises:
        Refused: DNS is not fully on, or the subnets are not this VPC's, one in each of the zones.
    """
    vpc_id, subnet_ids, zones = properties["VpcId"], list(properties["SubnetIds"]), int(properties["Zones"])
    _check_dns(vpc_id, ec2)
    subnets = ec2.describe_subnets(SubnetIds=subnet_ids)["Subnets"]
    strangers = sorted(subnet["SubnetId"] for subnet in subnets if subnet["VpcId"] != vpc_id)
    if strangers:
        raise Refused(f"{', '.join(strangers)}: not in {vpc_id}")
    found = sorted({subnet["AvailabilityZone"] for subnet in subnets})
    if len(subnet_ids) != zones or len(found) != zones:
        raise Refused(
            f"Zones is {zones}, so SubnetIds must be {zones} subnets in different zones; these {len(subnet_ids)} are in"
            f" {', '.join(found)}"
        )
    return Outcome(f"network-{vpc_id}", {"VpcId": vpc_id, "SubnetIds": ",".join(subnet_ids)})


def _check_dns(vpc_id: str, ec2: Ec2) -> None:
    for attribute, name in (("enableDnsSupport", "DNS resolution"), ("enableDnsHostnames", "DNS host names")):
        answer = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=attribute)
        if not answer[attribute[0].upper() + attribute[1:]]["Value"]:
            raise Refused(
                f"{vpc_id} has {name} off, without which neither brokers nor private endpoints are found: aws ec2"
                f" modify-vpc-attribute --vpc-id {vpc_id} --{_option(attribute)}"
            )


def _option(attribute: str) -> str:
    return {"enableDnsSupport": "enable-dns-support", "enableDnsHostnames": "enable-dns-hostnames"}[attribute]
