"""The launcher of Apache Kafka and its command line: starts, stops, and says what is wrong in one line."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from confluent_kafka import Producer

from headrace_cli import maven
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.kafka.distribution import KAFKA_VERSION, apache_kafka
from headrace_cli.kafka.server import KafkaServer, new_cluster_id

HEADRACE = [sys.executable, "-c", "from headrace_cli.main import main; main()"]


def headrace(*arguments):
    return subprocess.run([*HEADRACE, "kafka", *arguments], capture_output=True, text=True, timeout=90, check=False)


def one_line(answer):
    assert answer.stderr.count("\n") == 1, answer.stderr
    return answer.stderr.strip()


def executable(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def processes_naming(folder):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            arguments = path.read_text(errors="replace")
            if str(folder) in arguments and "kafka.Kafka" in arguments:
                found.append(int(path.parent.name))
    return found


@pytest.fixture
def folder(tmp_path):
    """A cluster's folder; whatever a failed test left running there is killed."""
    folder = tmp_path / "cluster"
    yield folder
    if (folder / "cluster.json").is_file():
        KafkaServer(folder).kill()
    assert processes_naming(folder) == []


@pytest.mark.usefixtures("tools")
def test_detached_it_runs_until_stop_whoever_calls_that(folder):
    started = headrace("start", "--dir", str(folder), "--detach", "--topic", "clicks:3", "--topic", "logs")
    assert started.returncode == 0, started.stderr
    address = started.stdout.strip()

    cluster = Producer({"bootstrap.servers": address, "log_level": 2}).list_topics(timeout=10)
    assert {name: len(topic.partitions) for name, topic in cluster.topics.items()} == {"clicks": 3, "logs": 1}
    status = headrace("status", "--dir", str(folder), "--json")
    told = json.loads(status.stdout)
    assert (status.returncode, told["running"], told["bootstrap_servers"]) == (0, True, address)
    assert [broker["pid"] for broker in told["brokers"]] == processes_naming(folder)
    again = headrace("start", "--dir", str(folder))
    assert again.returncode == 1
    assert f"headrace kafka stop --dir {folder}" in one_line(again)

    assert headrace("stop", "--dir", str(folder)).returncode == 0
    assert processes_naming(folder) == []
    status = headrace("status", "--dir", str(folder), "--json")
    assert (status.returncode, json.loads(status.stdout)["running"]) == (1, False)


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(("number", "exit_status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_or_a_termination_leaves_nothing_running(folder, number, exit_status):
    """Sent as soon as the broker's process is there: in the middle of the start."""
    command = subprocess.Popen([*HEADRACE, "kafka", "start", "--dir", str(folder)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not processes_naming(folder):
        assert time.monotonic() < deadline
        assert command.poll() is None, command.stderr.read()
        time.sleep(0.05)
    command.send_signal(number)
    _, complaint = command.communicate(timeout=30)
    assert command.returncode == exit_status, complaint
    assert processes_naming(folder) == []


def test_a_pid_that_is_somebody_elses_by_now_is_not_ours(folder):
    server = KafkaServer(folder)
    server._save()
    pid_file = folder / "broker-1" / "pid"
    pid_file.parent.mkdir()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        pid_file.write_text(str(stranger.pid))
        assert KafkaServer(folder).running is False
        KafkaServer(folder).stop()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.usefixtures("tools")
def test_a_port_in_use_is_named(folder):
    server = KafkaServer(folder)
    with (
        socket.create_server(("127.0.0.1", server.brokers[0].node.port)),
        pytest.raises(CommandError, match=f"port {server.brokers[0].node.port} is in use"),
    ):
        server.start()
    assert server.running is False


@pytest.mark.usefixtures("tools")
def test_a_broker_that_ends_during_the_start_says_why(folder):
    server = KafkaServer(folder)
    data = folder / "broker-1" / "data"
    data.mkdir(parents=True)
    (data / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=another\n")
    with pytest.raises(CommandError, match=r"Kafka broker 1 ended: .*node.?id"):
        server.start()
    assert server.running is False


def test_a_folder_keeps_its_ports_and_refuses_another_size_or_version(folder):
    first = KafkaServer(folder, 3)
    first._save()
    assert KafkaServer(folder).bootstrap_servers == first.bootstrap_servers
    assert len({*first.bootstrap_servers.split(",")}) == 3
    with pytest.raises(OptionError, match=r"holds Kafka .* with 3 broker"):
        KafkaServer(folder, 1)
    with pytest.raises(OptionError, match="holds Kafka"):
        KafkaServer(folder, version="3.9.9")


def test_a_topic_may_be_made_twice_but_not_with_other_partitions(server, new_topic):
    topic = new_topic(3)
    server.create_topic(topic, 3)
    with pytest.raises(CommandError, match=r"exists with 3 partition\(s\), not 2"):
        server.create_topic(topic, 2)
    with pytest.raises(CommandError, match="does not make topic"):
        server.create_topic("refused", 1, {"no.such.setting": "1"})


def test_topics_are_not_made_by_asking_for_them(producer):
    assert producer.list_topics("nobody-made-me", timeout=10).topics["nobody-made-me"].error is not None
    assert "nobody-made-me" not in producer.list_topics(timeout=10).topics


@pytest.mark.parametrize("tool", ["java", "mvn"])
def test_a_missing_tool_is_one_line_with_the_way_out(tmp_path, monkeypatch, tool):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert tool in maven.missing_tools()
    with pytest.raises(CommandError, match=rf"^{tool} is not on this machine: install .*apt-get install"):
        maven.java() if tool == "java" else maven.jars(apache_kafka(KAFKA_VERSION), str)
    assert list((tmp_path / "cache" / "headrace" / "kafka").glob("*")) == []


@pytest.mark.parametrize(
    ("script", "complaint"),
    [("echo 'openjdk version \"11.0.2\"' >&2", "is Java 11"), ("echo 'No Java' >&2; exit 1", "does not work")],
)
def test_a_java_that_cannot_run_kafka_is_refused(tmp_path, monkeypatch, script, complaint):
    executable(tmp_path, "java", f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match=f"{complaint}: install a Java runtime, version 17"):
        maven.java()


def test_what_maven_says_reaches_the_user_and_nothing_half_fetched_is_kept(tmp_path, monkeypatch):
    executable(tmp_path, "mvn", "#!/bin/sh\necho '[ERROR] Could not find artifact kafka_2.13'\nexit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(CommandError, match=r"^Maven cannot fetch Apache Kafka 9\.9\.9: Could not find artifact"):
        maven.jars(apache_kafka("9.9.9"), str)
    assert list((tmp_path / "cache" / "headrace" / "kafka").iterdir()) == []


def test_fetched_jars_are_used_again(server):
    told = []
    folder = maven.jars(apache_kafka(server.version), told.append)
    assert told == []
    assert (folder / f"kafka_2.13-{server.version}.jar").is_file()


@pytest.mark.parametrize("command", [["stop"], ["status"]])
def test_a_folder_without_kafka_is_one_line(tmp_path, command):
    answer = headrace(*command, "--dir", str(tmp_path))
    assert answer.returncode == 2
    assert "holds no Kafka: headrace kafka start" in one_line(answer)


@pytest.mark.parametrize("topic", ["a b", "a:0", "a:x", "a:1001", ":3"])
def test_a_topic_that_cannot_be_is_refused_before_anything_starts(folder, topic):
    answer = headrace("start", "--dir", str(folder), "--topic", topic)
    assert answer.returncode == 2
    assert "--topic" in one_line(answer)
    assert not folder.exists()


@pytest.mark.parametrize("command", ["start", "stop", "status"])
def test_help_has_examples(command):
    answer = headrace(command, "--help")
    assert answer.returncode == 0
    assert f"headrace kafka {command}" in answer.stdout.partition("Examples:")[2]


def test_a_clusters_id_never_looks_like_an_option():
    """Kafka's storage tool takes one that begins with a dash for its next option: one start in 64 failed."""
    ids = {new_cluster_id() for _ in range(2_000)}
    assert len(ids) == 2_000
    assert not any(found.startswith("-") for found in ids)
