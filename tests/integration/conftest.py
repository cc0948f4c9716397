"""A DynamoDB for the tests of this folder: moto's, behind its lock, and AWS's own."""

import pytest
from java_tools import require_java_tools

from headrace_cli.local.aws_server import LocalAws
from headrace_cli.local.dynamodb_local import DynamoDBLocal


@pytest.fixture(scope="module", params=["moto", "dynamodb-local"])
def dynamodb_server(request):
    """Each test of a module runs with either; the second needs Java and Maven."""
    if request.param == "dynamodb-local":
        require_java_tools()
    with LocalAws() if request.param == "moto" else DynamoDBLocal() as server:
        yield server
