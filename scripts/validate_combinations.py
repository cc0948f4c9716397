"""The ways in which the platform is checked: every combination of four dimensions, and what those leave out."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from validate_resolve import Template, refusals

DIMENSIONS: dict[str, dict[str, dict[str, str]]] = {
    "cluster": {
        "serverless": {"ClusterKind": "Serverless"},
        "standard": {"ClusterKind": "Standard"},
        "zookeeper": {"ClusterKind": "Standard", "KafkaVersion": "3.9.x"},
        "express": {"ClusterKind": "Express", "BrokerType": "express.m7g.large"},
    },
    "login": {
        "iam": {},
        "scram": {"ScramAuthentication": "true"},
        "tls": {
            "CertificateAuthorityArns": "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/"
            "11111111-2222-3333-4444-555555555555"
        },
        "plaintext": {"PlaintextAccess": "true"},
    },
    "network": {
        "endpoints": {},
        "nat": {"Egress": "nat"},
        "existing+endpoints": {
            "VpcId": "vpc-0123456789abcdef0",
            "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1,subnet-0123456789abcdef2",
            "RouteTableIds": "rtb-0123456789abcdef0",
        },
        "existing": {
            "VpcId": "vpc-0123456789abcdef0",
            "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1,subnet-0123456789abcdef2",
            "Egress": "existing",
        },
    },
    "pollers": {"on-demand": {}, "provisioned": {"PollerMode": "provisioned"}},
}
"""By dimension and choice, the parameters that make it. IAM is always on; the other logins come on top."""

CLIENT = {"CreateClient": "true", "ClientBundleBucket": "headrace-artefacts"}
EXTRAS: dict[str, dict[str, str]] = {
    "two zones": {
        "Zones": "2",
        "Brokers": "2",
        "BrokerType": "kafka.t3.small",
        "ReplicationFactor": "2",
        "MinInsyncReplicas": "1",
    },
    "two zones, nat, named": {
        "Zones": "2",
        "Brokers": "4",
        "Egress": "nat",
        "AvailabilityZones": "us-east-1a,us-east-1b",
    },
    "client": CLIENT,
    "client, provisioned pollers": CLIENT | {"PollerMode": "provisioned"},
    "other accounts": {
        "MultiVpc": "true",
        "MultiVpcCidr": "10.40.0.0/16",
        "ClientAccountIds": "210987654321,345678901234",
    },
    "watched": {
        "OpenMonitoring": "true",
        "MonitoringLevel": "PER_TOPIC_PER_BROKER",
        "BrokerLogsBucket": "headrace-broker-logs",
        "BrokerLogsToCloudWatch": "false",
    },
    "tiered, own key, fast disk": {
        "StorageMode": "TIERED",
        "TopicConfigs": "properties",
        "BrokerType": "kafka.m7g.4xlarge",
        "VolumeThroughputMiBs": "500",
        "DataKeyArn": "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    },
    "topics' settings as JSON": {"TopicConfigs": "json"},
    "serverless, topics deleted": {"ClusterKind": "Serverless", "RemovedTopics": "delete"},
    "administrator deletes": {
        "AdminMayDelete": "true",
        "TrustedPrincipalArns": "arn:aws:iam::123456789012:role/operators",
    },
}
"""What the dimensions leave out, by name; the rest as by default."""


@dataclass(frozen=True)
class Combination:
    """One way to deploy the platform."""

    name: tuple[str, ...]
    """The choice in each dimension; of an extra its name alone."""
    parameters: Mapping[str, str]
    """What is told to the root stack."""


def combinations_of(root: Template) -> Iterator[Combination]:
    """Every combination of the dimensions that the root template does not refuse, then the extras."""
    for names in itertools.product(*DIMENSIONS.values()):
        chosen = [choices[name] for choices, name in zip(DIMENSIONS.values(), names, strict=True)]
        parameters = dict(itertools.chain.from_iterable(choice.items() for choice in chosen))
        if not refusals(root, parameters):
            yield Combination(names, parameters)
    for name, parameters in EXTRAS.items():
        yield Combination((name,), parameters)
