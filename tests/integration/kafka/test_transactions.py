"""Transactions leave offsets that are no records: markers, and what was aborted.

offset   0 1 2  3       4 5      6       7
         a b c  commit  x y      abort   d …
"""

import pytest
from confluent_kafka import Producer

from headrace.kafka import KafkaLog
from headrace.records import TopicPartition

from .conftest import Recorder, eventually


@pytest.fixture
def log(server):
    with KafkaLog(server.bootstrap_servers, "plaintext") as log:
        yield log


@pytest.fixture
def transaction(server, new_topic, log):
    """Return a function that writes values in one transaction to the topic, and commits it or not.

    Kafka answers the end of a transaction before its marker is in the log: the function waits for that.
    """
    topic = new_topic()
    producer = Producer(
        {"bootstrap.servers": server.bootstrap_servers, "transactional.id": f"of-{topic}", "log_level": 2}
    )
    producer.init_transactions(20)

    def write(values, end):
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, partition=0)
        assert producer.flush(10) == 0
        write.offsets += len(values)
        if end == "commit":
            finish(producer.commit_transaction)
        elif end == "abort":
            finish(producer.abort_transaction)

    def finish(by):
        by(10)
        write.offsets += 1
        eventually(lambda: log.ends(TopicPartition(topic, 0))[1] == write.offsets)

    write.topic, write.offsets = topic, 0
    write.abort = lambda: finish(producer.abort_transaction)
    yield write
    producer.close()


def test_only_committed_records_are_delivered_with_gaps_between_their_offsets(transaction, mapping, emulate, committed):
    """That Lambda's pollers read committed records only is our assumption: AWS does not say."""
    transaction([b"a", b"b", b"c"], "commit")
    transaction([b"x", b"y"], "abort")
    transaction([b"d"], "commit")
    one, handler = mapping(transaction.topic), Recorder()

    with emulate(handler, one) as emulator:
        emulator.wait_drained(20)

    assert handler.values == [b"a", b"b", b"c", b"d"]
    assert handler.applied == {0: [0, 1, 2, 7]}
    assert committed(one) == [8]


def test_a_new_emulator_is_drained_at_once_when_only_markers_are_left(transaction, mapping, emulate):
    transaction([b"a"], "commit")
    transaction([b"x"], "abort")
    handler = Recorder()
    for _ in range(2):
        with emulate(handler, mapping(transaction.topic)) as emulator:
            emulator.wait_drained(20)
    assert handler.values == [b"a"]


def test_markers_and_aborted_records_are_no_backlog(transaction, log):
    place = TopicPartition(transaction.topic, 0)
    transaction([b"a", b"b", b"c"], "commit")
    assert [log.has_backlog(place, offset) for offset in (0, 2, 3, 4)] == [True, True, False, False]
    transaction([b"x", b"y"], "abort")
    assert [log.has_backlog(place, offset) for offset in (2, 3, 4, 6, 7)] == [True, False, False, False, False]
    transaction([b"d"], "commit")
    assert [log.has_backlog(place, offset) for offset in (3, 7, 8)] == [True, True, False]


def test_an_open_transaction_is_a_backlog_until_it_ends(transaction, log):
    place = TopicPartition(transaction.topic, 0)
    transaction([b"a"], "commit")
    transaction([b"x"], "leave open")
    assert log.has_backlog(place, 2) is True
    transaction.abort()
    assert log.has_backlog(place, 2) is False
