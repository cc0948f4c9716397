"""Topics that no longer begin at offset 0."""

import pytest

from headrace.kafka import KafkaLog
from headrace.records import TopicPartition
from kafka_esm import OffsetLostError

from .conftest import Recorder


def test_a_new_group_starts_at_the_earliest_record_there_is(
    *, new_topic, produce, delete_before, mapping, emulate, committed
):
    topic, handler = new_topic(), Recorder()
    produce(topic, range(10))
    delete_before(topic, 4)

    with emulate(handler, mapping(topic)) as emulator:
        emulator.wait_drained(20)

    assert handler.applied == {0: list(range(4, 10))}
    assert committed(mapping(topic)) == [10]


def test_records_deleted_before_they_were_delivered_are_a_named_error(
    new_topic, produce, delete_before, mapping, emulate
):
    topic, handler = new_topic(), Recorder()
    produce(topic, range(3))
    with emulate(handler, mapping(topic)) as emulator:
        emulator.wait_drained(20)
    produce(topic, range(3, 10))
    delete_before(topic, 5)

    with pytest.raises(OffsetLostError) as lost, emulate(handler, mapping(topic)) as emulator:
        emulator.wait_drained(20)

    assert (lost.value.offset, lost.value.low) == (3, 5)
    assert handler.applied == {0: [0, 1, 2]}


def test_what_was_deleted_is_no_backlog(server, new_topic, produce, delete_before):
    topic = new_topic()
    place = TopicPartition(topic, 0)
    produce(topic, range(6))
    with KafkaLog(server.bootstrap_servers, "plaintext") as log:
        delete_before(topic, 4)
        assert [log.has_backlog(place, offset) for offset in (0, 4, 5, 6)] == [True, True, True, False]
        delete_before(topic, 6)
        assert [log.has_backlog(place, offset) for offset in (0, 5, 6)] == [False, False, False]
