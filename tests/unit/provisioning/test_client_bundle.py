"""The client instance's programs: what is in the bundle, and that its scripts do what their names say."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import client_bundle
import pytest
from samtranslator.yaml_helper import yaml_parse

from headrace_cli.kafka.distribution import KAFKA_VERSION

CLIENT = Path(client_bundle.HERE) / "client"
TOOLS = ["kafka-topics", "kafka-configs", "kafka-consumer-groups", "kafka-get-offsets", "kafka-console-consumer"]


def run(script, *arguments, **environment):
    return subprocess.run(
        [script, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def test_the_same_files_make_the_same_bundle_without_this_machines_names(tmp_path):
    folder = tmp_path / "files"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "tool").write_text("#!/bin/bash\n")
    (folder / "bin" / "link").symlink_to("tool")
    archives = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    for archive in archives:
        client_bundle.write_archive(folder, archive)
        os.utime(folder / "bin" / "tool", (1, 1))
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as opened:
        members = opened.getmembers()
    assert [member.name for member in members] == ["bin", "bin/link", "bin/tool"]
    assert {(member.uname, member.uid) for member in members} == {("", 0)}


def test_the_command_comes_without_the_local_servers():
    names = {line.split("==")[0] for line in client_bundle.command_requirements() if "==" in line}
    assert {"click", "confluent-kafka", "boto3", "aws-msk-iam-sasl-signer-python"} <= names
    assert not {"moto", "pytest"} & names


def test_the_command_starts_without_what_is_left_out():
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in client_bundle.NOT_THERE)
    program = f"import sys; {blocked}sys.argv = ['headrace', '--help']; from headrace_cli.main import main; main()"
    done = run(sys.executable, "-c", program)
    assert (done.returncode, done.stderr) == (0, "")


def test_kafkas_tools_are_as_old_as_the_demos_broker():
    versions = re.findall(r"<artifactId>kafka[^<]*</artifactId>\s*<version>([^<]*)<", (CLIENT / "pom.xml").read_text())
    assert versions == [KAFKA_VERSION] * 2


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_gets_the_brokers_and_the_login(tool, tmp_path):
    java = tmp_path / "java"
    java.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    java.chmod(0o755)
    done = run(CLIENT / "bin" / tool, "--list", HEADRACE_BROKERS="b-1:9098", PATH=f"{tmp_path}:{os.environ['PATH']}")
    arguments = done.stdout.splitlines()
    assert arguments[3:5] == ["--bootstrap-server", "b-1:9098"]
    assert arguments[-2:] == [str(CLIENT / "client.properties"), "--list"]


def test_another_name_is_refused():
    done = run(CLIENT / "bin" / "kafka-tool", HEADRACE_BROKERS="b-1:9098")
    assert done.returncode == 2
    assert "use kafka-topics" in done.stderr


def test_without_brokers_it_is_said_where_they_come_from():
    done = run(CLIENT / "bin" / "brokers")
    assert done.returncode != 0
    assert "the start script writes it" in done.stderr


def test_the_instances_start_script_is_bash():
    template = yaml_parse((CLIENT.parent / "client.yaml").read_text())
    script = template["Resources"]["Instance"]["Properties"]["UserData"]["Fn::Base64"]["Fn::Sub"]
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")
    assert "python3.13" in script
    assert "python3.13" in (CLIENT / "bin" / "headrace").read_text()
