"""`headrace dead redrive` to Apache Kafka: what a real broker takes, refuses, and no longer has."""

import time

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition
from letters import NOON_MS, dead, publish, record

from headrace.objects import open_lake
from headrace_cli.dead.kafka_topics import KafkaTopics
from headrace_cli.dead.letters import Letter, RecordId
from headrace_cli.dead.redrive import UNDER_WAY_MS, Options, Redrive
from headrace_cli.dead.redrive_log import Destination, RedriveLog
from headrace_cli.main import run

from .conftest import eventually


@pytest.fixture
def topics(server):
    with KafkaTopics(server.bootstrap_servers) as topics:
        yield topics


@pytest.fixture
def objects(tmp_path):
    return open_lake(f"file:{tmp_path}")


@pytest.fixture
def read(server):
    """Return a function that reads a topic of one partition: headers, key and value."""

    def read_from(topic, count):
        consumer = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": "reader", "log_level": 2})
        try:
            consumer.assign([KafkaPartition(topic, 0, 0)])
            messages = consumer.consume(count, 20) + consumer.consume(1, 0.3)
        finally:
            consumer.close()
        return [(message.headers(), message.key(), message.value()) for message in messages]

    return read_from


def now_ms():
    return time.time_ns() // 1_000_000


def letter(offset, size=1):
    return Letter("p", "1", "dead_letters", RecordId("clicks", 0, offset, 0), "r", "", b"k", b"x" * size, ())


def test_records_arrive_as_they_were_and_in_order_and_once(server, new_topic, objects, tmp_path, read):
    topic = new_topic()
    records = [
        record(1, key=None, value=b"\xff\0", raw_headers=[{"b": [1]}, {"a": None}, {"b": []}]),
        record(2, key=b"", value=b""),
        record(3, value=None),
        *(record(offset) for offset in range(4, 50)),
    ]
    for pipeline in ("clickstream", "landing"):
        publish(objects, dead(records), pipeline=pipeline)
    command = ["dead", "redrive", str(tmp_path), "--kafka", server.bootstrap_servers, "--to", topic, "--send"]
    assert [run(command), run(command)] == [0, 0]
    assert read(topic, len(records)) == [
        ([*each.headers, ("headrace-redrive", f"clicks-0@{each.offset}/{NOON_MS}".encode())], each.key, each.value)
        for each in records
    ]


def test_a_letter_that_is_too_large_for_the_topic_keeps_no_other_back(new_topic, topics):
    """A broker refuses a batch as a whole."""
    topic = new_topic(max_message_bytes=2_000)
    letters = [letter(1), letter(2, size=3_000), *(letter(offset, size=500) for offset in range(3, 13))]
    done = topics.send(topic, letters)
    assert [sent.letter for sent in done.sent] == [str(each.record) for each in letters if each.record.offset != 2]
    assert list(done.not_sent) == [str(letters[1].record)]
    assert done.unknown == {}


class TestSettling:
    @pytest.fixture
    def cut_short(self, objects, topics):
        """Return a function that claims two letters long ago, and sends the first one only."""

        def claim(topic):
            log = RedriveLog(objects, clock_ms=lambda: now_ms() - UNDER_WAY_MS)
            names = [str(letter(1).record), str(letter(2).record)]
            log.claim(Destination(topics.cluster, topic), topics.ends(topic), names, lambda _: True)
            topics.send(topic, [letter(1)])
            return Redrive(RedriveLog(objects, clock_ms=now_ms), topics, Options(to=topic), clock_ms=now_ms)

        return claim

    def test_one_that_is_found_is_sent_and_one_that_is_not_is_free(self, new_topic, produce, topics, cut_short, read):
        topic = new_topic()
        produce(topic, range(3))
        process = cut_short(topic)
        produce(topic, range(3))
        assert process.settle() == (1, 1, 0)
        process.run([letter(1), letter(2)])
        assert (process.report.already_sent, process.report.sent) == (1, {topic: 1})
        assert len(read(topic, 8)) == 8

    def test_records_that_were_deleted_meanwhile_leave_it_unknown(self, new_topic, delete_before, cut_short):
        topic = new_topic()
        process = cut_short(topic)
        delete_before(topic, 1)
        assert process.settle() == (0, 0, 2)


def test_a_broker_that_dies_in_the_middle_costs_no_record_and_doubles_none(server, new_topic, objects, topics, read):
    topic, letters = new_topic(), [letter(offset) for offset in range(400)]
    asked = iter(range(10**6))

    def dies_at_the_200th_letter():
        if next(asked) == 200:
            eventually(lambda: topics.ends(topic)[0] > 100)  # the client sends in the background what it has
            server.kill()
        return False

    try:
        with KafkaTopics(server.bootstrap_servers, stop=dies_at_the_200th_letter, delivery_timeout_s=5) as dying:
            cut_short = Redrive(RedriveLog(objects, clock_ms=now_ms), dying, Options(to=topic), clock_ms=now_ms)
            cut_short.run(letters)
    finally:
        server.start()
    assert cut_short.report.sent[topic] > 50
    assert len(cut_short.report.lost) > 50

    def later_ms():
        return now_ms() + UNDER_WAY_MS

    with KafkaTopics(server.bootstrap_servers) as alive:
        again = Redrive(RedriveLog(objects, clock_ms=later_ms), alive, Options(to=topic), clock_ms=later_ms)
        assert again.settle().unknown == 0
        again.run(letters)
    assert again.report.complete
    identities = [headers[-1][1].decode() for headers, _, _ in read(topic, len(letters))]
    assert sorted(identities) == sorted(str(each.record) for each in letters)
