"""The functions that `make build` makes for this machine, as the template sets them up for a dry run."""

import time
from pathlib import Path

BUILT = Path(__file__).resolve().parents[1] / ".aws-sam" / "build-host"
OVERRIDES = {
    "DryRun": "true",
    "ClusterArn": "arn:aws:kafka:us-east-1:123456789012:cluster/local/00000000-0000-0000-0000-000000000000-1",
    "BootstrapServers": "localhost:9098",
}
LOGICAL_IDS = {
    "clickstream": "ClickstreamFunction",
    "logs": "LogsFunction",
    "landing": "LandingFunction",
    "sweeper": "SweeperFunction",
    "catalog": "CatalogFunction",
    "iceberg": "IcebergFunction",
    "alerts": "AlertsFunction",
}


def wait_for_lines(lines, wanted, number, seconds=10):
    """The runtime's output comes through a pipe: the answer may overtake it."""
    deadline = time.monotonic() + seconds
    while sum(wanted in line for line in lines) < number and time.monotonic() < deadline:
        time.sleep(0.01)


def wait_for_rows(lines, number):
    wait_for_lines(lines, '{"table"', number)
