"""The admin client against Apache Kafka itself: create, grow, configure, delete, each of them twice."""

import time

import pytest
from java_tools import require_java_tools
from topic_admin.answer import Refused
from topic_admin.kafka_topics import KafkaTopics, iam_settings
from topic_admin.topics import NotYet, Step, Topic, converge, plan

from headrace_cli.kafka.server import KafkaServer


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    require_java_tools()
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server.bootstrap_servers


def admin(servers, seconds=30.0):
    return KafkaTopics({"bootstrap.servers": servers, "log_level": 0}, time.monotonic() + seconds)


def make(servers, wanted, removed=()):
    converge(admin(servers), {topic.name: topic for topic in wanted}, removed, time.monotonic() + 30)


def test_a_list_is_made_true_changed_and_unmade(servers):
    settings = {"retention.ms": "3600000", "message.timestamp.type": "LogAppendTime"}
    clicks, logs = Topic("clicks", 2, settings), Topic("logs", 1, settings)
    make(servers, [clicks, logs])
    make(servers, [clicks, logs])
    grown = Topic("clicks", 5, settings | {"retention.ms": "7200000"})
    make(servers, [grown])
    found = admin(servers).find(["clicks", "logs", "absent"])
    assert {name: topic.partitions for name, topic in found.items()} == {"clicks": 5, "logs": 1}
    assert found["clicks"].configs["retention.ms"] == "7200000"
    assert found["clicks"].configs["message.timestamp.type"] == "LogAppendTime"
    with pytest.raises(Refused, match="clicks has 5 partitions"):
        make(servers, [clicks])
    make(servers, [grown], removed=["logs"])
    make(servers, [grown], removed=["logs"])
    assert set(admin(servers).find(["clicks", "logs"])) == {"clicks"}


def test_a_creation_whose_answer_was_lost_is_taken_for_done_at_the_next_look(servers):
    topic = Topic("twice", 1)
    make(servers, [topic])
    with pytest.raises(NotYet):
        admin(servers).take(Step("create", topic))
    assert plan({"twice": topic}, admin(servers).find(["twice"])) == []


def test_a_setting_that_kafka_does_not_know_is_refused_at_once(servers):
    with pytest.raises(Refused, match="the cluster refuses"):
        make(servers, [Topic("strange", 1, {"retention.minutes": "1"})])


def test_a_cluster_that_is_not_there_is_not_waited_for_beyond_the_deadline():
    start = time.monotonic()
    with pytest.raises(NotYet):
        admin("127.0.0.1:1", seconds=1.0).find(["clicks"])
    assert time.monotonic() - start < 5


def test_iam_logs_in_by_a_token_whose_expiry_is_in_seconds(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    settings = iam_settings("b-1:9098", "eu-west-1")
    token, expires_s = settings.pop("oauth_cb")("")
    assert token
    assert 0 < expires_s - time.time() <= 900
    assert settings == {
        "bootstrap.servers": "b-1:9098",
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "OAUTHBEARER",
    }
