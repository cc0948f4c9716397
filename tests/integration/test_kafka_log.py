"""What is left to read, asked of librdkafka's mock cluster (a real socket, no Java)."""

import base64
import socket
import time
from urllib.parse import parse_qs, urlparse

import pytest
from confluent_kafka import Producer

from headrace import kafka
from headrace.errors import ConfigurationError, InfrastructureError, TopicRecreated
from headrace.kafka import KafkaLog, consumer_settings
from headrace.records import TopicPartition

CLICKS = TopicPartition("web.clicks_v-1", 2)


@pytest.fixture(scope="module")
def producer():
    return Producer({"test.mock.num.brokers": 1, "log_level": 0})


@pytest.fixture(scope="module")
def servers(producer):
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    for _ in range(3):
        producer.produce(CLICKS.topic, b"click", partition=CLICKS.partition)
    assert producer.flush(10) == 0
    return f"{broker.host}:{broker.port}"


@pytest.fixture
def log(servers):
    with KafkaLog(servers, "plaintext", timeout_s=5) as log:
        yield log


@pytest.mark.parametrize(("next_offset", "backlog"), [(0, True), (2, True), (3, False)])
def test_there_is_a_backlog_while_a_record_is_left(log, next_offset, backlog):
    assert log.has_backlog(CLICKS, next_offset) is backlog


def test_the_logs_own_ends_are_its_first_offset_and_the_next_one(log):
    assert log.ends(CLICKS) == (0, 3)
    assert log.ends(CLICKS._replace(partition=0)) == (0, 0)


def test_the_partitions_of_a_topic_are_the_clusters(log):
    assert log.partitions(CLICKS.topic) == [0, 1, 2, 3]


def test_the_partitions_of_a_topic_that_nobody_can_tell_are_no_guess():
    with KafkaLog("127.0.0.1:1", "plaintext", timeout_s=0.5) as log, pytest.raises(InfrastructureError, match="answer"):
        log.partitions(CLICKS.topic)


@pytest.mark.parametrize("next_offset", [4, 1_000])
def test_a_log_that_ends_before_the_offset_is_another_log(log, next_offset):
    with pytest.raises(TopicRecreated, match=rf"ends at offset 3, before {next_offset}.*headrace generation new"):
        log.has_backlog(CLICKS, next_offset)


def test_an_empty_partition_has_no_backlog(log):
    assert log.has_backlog(CLICKS._replace(partition=0), 0) is False


def test_a_new_record_is_a_backlog_again(log, producer):
    place = TopicPartition("growing", 0)
    producer.produce(place.topic, b"1", partition=0)
    producer.flush(10)
    assert log.has_backlog(place, 1) is False
    producer.produce(place.topic, b"2", partition=0)
    producer.flush(10)
    assert log.has_backlog(place, 1) is True


def test_many_questions_need_one_connection_and_little_time(log):
    started = time.monotonic()
    assert [log.has_backlog(CLICKS, n % 4) for n in range(40)] == [True, True, True, False] * 10
    assert time.monotonic() - started < 5


def test_an_old_connection_is_replaced(log, monkeypatch):
    assert log.has_backlog(CLICKS, 0)
    first = dict(log._consumers)
    assert log.has_backlog(CLICKS, 0)
    assert log._consumers == first
    monkeypatch.setattr(kafka, "CONNECTION_S", 0.0)
    assert log.has_backlog(CLICKS, 0)
    assert not set(log._consumers.values()) & set(first.values())


@pytest.mark.parametrize("place", [TopicPartition("nobody-made-me", 0), CLICKS._replace(partition=99)], ids=str)
def test_a_partition_that_is_not_there_is_named(log, place):
    with pytest.raises(ConfigurationError, match=f"has no partition {place}"):
        log.has_backlog(place, 0)


def test_an_unreachable_broker_is_a_retriable_error_with_the_reason_in_bounded_time():
    started = time.monotonic()
    with (
        KafkaLog("127.0.0.1:1", "plaintext", timeout_s=0.5) as log,
        pytest.raises(InfrastructureError, match=r"Kafka at 127\.0\.0\.1:1 does not answer for .*Connection refused"),
    ):
        log.has_backlog(CLICKS, 0)
    assert time.monotonic() - started < 5


def test_a_broker_that_accepts_and_says_nothing_is_a_retriable_error_in_bounded_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with (
            KafkaLog(f"127.0.0.1:{silent.getsockname()[1]}", "plaintext", timeout_s=0.5) as log,
            pytest.raises(InfrastructureError, match="does not answer"),
        ):
            log.has_backlog(CLICKS, 0)
        assert time.monotonic() - started < 5


def test_opening_without_servers_costs_nothing_until_somebody_asks():
    """A dry run of the sweeper has no cluster, and no partition to ask about."""
    with (
        KafkaLog("", "iam") as log,
        pytest.raises(ConfigurationError, match="HEADRACE_BOOTSTRAP_SERVERS"),
    ):
        log.has_backlog(CLICKS, 0)


def test_the_iam_token_is_signed_for_the_region_and_its_expiry_is_in_seconds(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    settings = consumer_settings("broker:9098", "iam")
    assert (settings["security.protocol"], settings["sasl.mechanisms"]) == ("SASL_SSL", "OAUTHBEARER")
    token, expiry_s = settings["oauth_cb"]("")
    url = urlparse(base64.urlsafe_b64decode(token + "=="))
    assert url.hostname == b"kafka.eu-west-1.amazonaws.com"
    assert parse_qs(url.query)[b"Action"] == [b"kafka-cluster:Connect"]
    assert time.time() < expiry_s <= time.time() + 901


def test_iam_without_credentials_or_region_is_a_named_error(monkeypatch):
    with pytest.raises(ConfigurationError, match="found no AWS credentials"):
        consumer_settings("broker:9098", "iam")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match="AWS_DEFAULT_REGION is not set"):
        consumer_settings("broker:9098", "iam")


def test_nothing_is_ever_committed():
    settings = consumer_settings("broker:9092", "plaintext")
    assert settings["enable.auto.commit"] is False
    assert settings["enable.auto.offset.store"] is False
    assert "oauth_cb" not in settings
