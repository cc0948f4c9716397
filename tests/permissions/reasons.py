"""Why a role grants what no recorded call needs. A grant that is neither needed nor listed here fails a test."""

from typing import NamedTuple

from permissions.grants import Grant
from permissions.policy import arn_matches
from permissions.scenarios import ALERTS, CATALOG, CONSUMERS, ICEBERG, SWEEPER

ALL = (*CONSUMERS, SWEEPER, CATALOG, ICEBERG, ALERTS)


class Reason(NamedTuple):
    """Some grants that no call of a function's own code needs, and who needs them."""

    functions: tuple[str, ...]
    actions: tuple[str, ...]
    why: str
    resource: str = "*"
    sid: str | None = None
    """The one statement it is about, when others grant the same."""

    def covers(self, grant: Grant) -> bool:
        """Whether it is about the grant."""
        return (
            grant.function in self.functions
            and grant.action in self.actions
            and self.sid in {None, grant.sid}
            and (self.resource == "*" or arn_matches(self.resource, grant.resource))
        )


REASONS = (
    Reason(
        ALL,
        ("kms:Decrypt",),
        "with a customer's key, Lambda decrypts the function's variables in its role's name",
        sid="OwnVariables",
    ),
    Reason(
        ALL,
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        "with traces on, Lambda's X-Ray daemon sends them with the function's role",
    ),
    Reason(
        ALL,
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        "Lambda writes what the function prints, with the function's role",
    ),
    Reason(
        (ALERTS,),
        ("sqs:SendMessage",),
        "Lambda keeps what failed for good, with the function's role",
    ),
    Reason(
        CONSUMERS,
        ("kafka:DescribeCluster", "kafka:DescribeClusterV2", "kafka:GetBootstrapBrokers"),
        "the event source mapping finds the cluster, its network and its brokers; which of the two descriptions it asks"
        " for is not documented for every kind of cluster",
    ),
    Reason(
        CONSUMERS,
        (
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSubnets",
            "ec2:DescribeVpcs",
        ),
        "the mapping's pollers get network interfaces in the cluster's subnets",
    ),
    Reason(
        CONSUMERS,
        (
            "kafka-cluster:Connect",
            "kafka-cluster:DescribeTopic",
            "kafka-cluster:ReadData",
            "kafka-cluster:DescribeGroup",
            "kafka-cluster:AlterGroup",
        ),
        "the mapping's pollers read the topic and commit to the group; brokers check it, not AWS's APIs",
    ),
    Reason(
        (SWEEPER,),
        (
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:UnassignPrivateIpAddresses",
        ),
        "Lambda attaches the function to the VPC of the brokers",
    ),
    Reason(
        (ICEBERG,),
        ("s3:AbortMultipartUpload",),
        "pyarrow gives up what it began to write when a rewriting fails",
    ),
    Reason(
        (SWEEPER,),
        (
            "kafka-cluster:Connect",
            "kafka-cluster:DescribeTopic",
            "kafka-cluster:ReadData",
            "kafka-cluster:DescribeGroup",
        ),
        "asks for end offsets and fetches what is left; brokers check it, not AWS's APIs",
    ),
)
