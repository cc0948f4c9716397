"""The catalog's handler on a local bucket and database: what it answers, and what it fails with."""

import json
from pathlib import Path

import pytest
from arro3.core import DataType
from lake_files import column, file_of

from headrace.objects import open_lake
from headrace_cli.local.aws_server import LocalAws
from kafka_esm import Function, FunctionError, InProcessInvoker

FUNCTIONS = Path(__file__).resolve().parents[3] / "functions"
NOW_MS = 1_710_324_000_000


@pytest.fixture(scope="module")
def aws():
    with LocalAws() as server:
        yield server


def invoke(server, **variables):
    environment = {
        **(server.environment if server else {}),
        "HEADRACE_CHECKPOINTS": "dynamodb:checkpoints",
        "HEADRACE_LAKE": "s3://lake",
        "HEADRACE_CATALOG": "headrace_test",
        # The log's handlers are the process's; other tests have functions of the usual names.
        "POWERTOOLS_SERVICE_NAME": "test-catalog",
        "POWERTOOLS_TRACE_DISABLED": "true",
        **variables,
    }
    function = Function("catalog", "catalog.app.lambda_handler", FUNCTIONS, (), environment, 60)
    return InProcessInvoker(function).invoke(b"{}")


@pytest.mark.filterwarnings("ignore:No application metrics to publish")
def test_a_table_that_fails_is_named_after_the_others_were_registered(aws, monkeypatch, capsys):
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    glue = aws.client("glue")
    glue.create_database(DatabaseInput={"Name": "headrace_test"})
    fields = [column("id", DataType.int32()), column("a,b", DataType.int32())]
    open_lake("s3://lake").stage(dict(file_of(table, NOW_MS, fields) for table in ("clicks", "logs")))
    glue.create_table(DatabaseName="headrace_test", TableInput={"Name": "landing_logs"})
    with pytest.raises(FunctionError, match=r"1 table\(s\) failed: landing/logs: CatalogConflict"):
        invoke(aws)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"level"' in line]
    said = {line["message"]: line for line in lines}
    assert said["catalog brought up to date"]["added"] == 1
    assert said["table not registered"]["table"] == "landing/logs"
    assert list(said["columns left out of the catalog"]["columns"]) == ["a,b"]
    glue.delete_table(DatabaseName="headrace_test", Name="landing_logs")
    answer = invoke(aws)
    assert {"tables": 2, "new_tables": 1, "added": 1, "failed": 0}.items() <= answer.items()


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"HEADRACE_LAKE": "file:/tmp/lake"}, "HEADRACE_LAKE='file:/tmp/lake': a catalog's tables are at s3://"),
        ({"HEADRACE_CATALOG": ""}, "HEADRACE_CATALOG is not set"),
        ({"HEADRACE_CATALOG": "My-Lake"}, "HEADRACE_CATALOG='My-Lake' is not 1 to 255 small letters"),
    ],
)
def test_a_setting_that_cannot_work_is_named(variables, problem):
    with pytest.raises(Exception, match=problem):
        invoke(None, **variables)
