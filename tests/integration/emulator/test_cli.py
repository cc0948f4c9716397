"""The command: what it prints, and how it ends."""

import json
import signal
import subprocess
import sys
import time

import pytest

from kafka_esm.cli import main

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters: {Topic: {Type: String}}
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      CodeUri: code/
      Environment: {Variables: {LEVEL: INFO}}
      Events:
        E: {Type: MSK, Properties: {Stream: a, Topics: [!Ref Topic], StartingPosition: TRIM_HORIZON}}
"""
APP = """
import os
def handler(event, context):
    print("working")
    if os.environ["LEVEL"] == "FAIL":
        raise ValueError("broken")
    return {"level": os.environ["LEVEL"], "records": sum(map(len, event["records"].values()))}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def waiting(broker, topic, produce):
    """Put four records into a topic; return its name and the broker's address."""
    produce([1])
    return topic, broker.bootstrap_servers


def arguments(command, project, topic, *more):
    template = str(project / "template.yaml")
    return [command, "--template", template, "--parameter-overrides", f"Topic={topic}", *more]


@pytest.mark.parametrize("runtime", ["inprocess", pytest.param("rie", marks=pytest.mark.runtime)])
def test_a_run_until_drained_prints_one_json_line_per_invocation(runtime, waiting, project, capsys):
    topic, servers = waiting
    variables = project / "env.json"
    variables.write_text(json.dumps({"Parameters": {"LEVEL": "WARN"}, "F": {"LEVEL": "DEBUG"}}))
    more = ["--until-drained", "--json", "--runtime", runtime, "--env-vars", str(variables)]

    assert main(arguments("run", project, topic, "--kafka", servers, *more)) == 0

    output = capsys.readouterr()
    *invocations, sums = [json.loads(line) for line in output.out.splitlines()]
    assert sum(invocation["response"]["records"] for invocation in invocations) == 4
    assert {invocation["response"]["level"] for invocation in invocations} == {"DEBUG"}
    assert sums == {"records": 4, "invocations": len(invocations), "failures": 0}
    assert "working" in output.err


def test_a_failing_function_is_told_and_ends_with_1(broker, project, topic, produce, capsys):
    produce([1], partitions=[0])
    (project / "code/app.py").write_text(APP.replace('"FAIL"', '"INFO"'))
    more = ["--kafka", broker.bootstrap_servers, "--until-drained", "--max-attempts", "2"]

    assert main(arguments("run", project, topic, *more)) == 1

    output = capsys.readouterr()
    assert output.out.count("failed: ValueError: broken") == 2
    assert "kafka-esm: FE: the function failed 2 times on one batch, last with ValueError: broken\n" in output.err


def test_the_mappings_are_listed(project, capsys):
    assert main(arguments("mappings", project, "clicks")) == 0
    assert capsys.readouterr().out == (
        "FE: clicks -> F, group kafka-esm-FE, TRIM_HORIZON, up to 100 records or 500 ms\n"
    )
    assert main(arguments("mappings", project, "clicks", "--json")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["topic"], row["function"]["environment"]) == ("clicks", {"LEVEL": "INFO"})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--template", "nowhere.yaml"], "nowhere.yaml: No such file or directory"),
        (["--parameter-overrides", "x"], "--parameter-overrides x: NAME=VALUE is needed"),
        (["--function", "G"], "G: the template has no such AWS::Serverless::Function"),
        (["--env-vars", "nowhere.json"], "--env-vars nowhere.json: "),
        (["--code-dir", "nowhere"], "--code-dir nowhere: no such folder"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_one_line(project, more, message, capsys):
    assert main([*arguments("mappings", project, "t"), *more]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kafka-esm: {message}")


def test_an_unreachable_broker_ends_with_1_and_one_line(project, capsys):
    started = time.monotonic()

    assert main(arguments("run", project, "t", "--kafka", "127.0.0.1:1")) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kafka-esm: no Kafka broker answers at 127.0.0.1:1")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_it_cleanly(project, waiting, signal_number, code):
    topic, servers = waiting
    command = arguments("run", project, topic, "--kafka", servers)
    process = subprocess.Popen(
        [sys.executable, "-m", "kafka_esm", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().startswith("FE: 4 records ")
    process.send_signal(signal_number)
    output, errors = process.communicate(timeout=10)

    assert (process.returncode, output) == (code, "")
    assert "Traceback" not in errors
