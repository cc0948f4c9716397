"""The emulator against real Kafka: what is delivered, in which order, and what the group has then."""

import base64
import time
from dataclasses import replace

from .conftest import Recorder

PARTITIONS = (0, 1, 2)


def test_two_topics_arrive_in_order_and_are_committed(new_topic, produce, mapping, emulate, committed):
    topics = [new_topic(3), new_topic(3)]
    handlers = {topic: Recorder() for topic in topics}
    mappings = [mapping(topic, number) for number, topic in enumerate(topics)]
    for topic in topics:
        produce(topic, range(120), PARTITIONS)

    def dispatch(event, context):
        (topic,) = {record["topic"] for records in event["records"].values() for record in records}
        return handlers[topic](event, context)

    with emulate(dispatch, *mappings) as emulator:
        emulator.wait_drained(20)

    for handler, one in zip(handlers.values(), mappings, strict=True):
        assert handler.applied == {partition: list(range(120)) for partition in PARTITIONS}
        assert committed(one, PARTITIONS) == [120] * 3


def test_a_record_is_delivered_with_all_that_kafka_keeps(new_topic, producer, mapping, emulate):
    """Null keys, empty keys, tombstones, empty values, header bytes from 0x80, a name twice, a null header."""
    topic, handler = new_topic(), Recorder()
    headers = [("trace", b"\x00\x7f\x80\xff"), ("trace", b"again"), ("none", None), ("empty", b"")]
    producer.produce(topic, b"\xff\xfe", key=b"\x80key", headers=headers, timestamp=1_700_000_000_123)
    producer.produce(topic, None, key=b"gone")
    producer.produce(topic, b"", key=b"")
    producer.produce(topic, b"no key")
    assert producer.flush(10) == 0

    with emulate(handler, replace(mapping(topic), batching_window_ms=500)) as emulator:
        emulator.wait_drained(20)

    (event,) = handler.events
    ((name, (full, tombstone, empty, keyless)),) = event["records"].items()
    assert name == f"{topic}-0"
    assert full == {
        "topic": topic,
        "partition": 0,
        "offset": 0,
        "timestamp": 1_700_000_000_123,
        "timestampType": "CREATE_TIME",
        "key": base64.b64encode(b"\x80key").decode(),
        "value": base64.b64encode(b"\xff\xfe").decode(),
        "headers": [{"trace": [0, 127, -128, -1]}, {"trace": [*b"again"]}, {"none": []}, {"empty": []}],
    }
    assert "value" not in tombstone
    assert base64.b64decode(tombstone["key"]) == b"gone"
    assert (empty["key"], empty["value"]) == ("", "")
    assert "key" not in keyless


def test_the_brokers_clock_is_named_as_such(new_topic, producer, mapping, emulate):
    topic, handler = new_topic(message_timestamp_type="LogAppendTime"), Recorder()
    producer.produce(topic, b"old", timestamp=1_000)
    assert producer.flush(10) == 0

    with emulate(handler, mapping(topic)) as emulator:
        emulator.wait_drained(20)

    (record,) = handler.events[0]["records"][f"{topic}-0"]
    assert record["timestampType"] == "LOG_APPEND_TIME"
    assert abs(record["timestamp"] - time.time() * 1000) < 60_000


def test_a_failed_batch_comes_again_and_nothing_is_committed_before(new_topic, produce, mapping, emulate, committed):
    topic = new_topic(3)
    one, seen_while_failing = mapping(topic, batch_size=30), []
    produce(topic, range(20), PARTITIONS)

    class Failing(Recorder):
        def __call__(self, event, context):
            seen_while_failing.append(committed(one, PARTITIONS))
            return super().__call__(event, context)

    handler = Failing(RuntimeError("first"), RuntimeError("second"))
    with emulate(handler, one) as emulator:
        emulator.wait_drained(20)

    first, second, third, *rest = handler.events
    assert first == second == third
    assert rest  # one batch, or more if the machine is slow
    assert third not in rest
    assert seen_while_failing[:3] == [[None] * 3] * 3
    assert handler.applied == {partition: list(range(20)) for partition in PARTITIONS}
    assert committed(one, PARTITIONS) == [20] * 3


def test_a_new_emulator_continues_at_the_groups_offsets(new_topic, produce, mapping, emulate):
    topic, first, second = new_topic(3), Recorder(), Recorder()
    produce(topic, range(10), PARTITIONS)
    with emulate(first, mapping(topic)) as emulator:
        emulator.wait_drained(20)
    produce(topic, range(10, 15), PARTITIONS)

    with emulate(second, mapping(topic)) as emulator:
        emulator.wait_drained(20)

    assert second.applied == {partition: list(range(10, 15)) for partition in PARTITIONS}
