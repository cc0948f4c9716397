"""Mappings against a broker: what is delivered, what is committed, what comes again."""

import base64
import time
from dataclasses import replace

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from kafka_esm import (
    BrokerUnreachableError,
    DrainTimeoutError,
    Emulator,
    FunctionLoadError,
    InProcessInvoker,
    OffsetLostError,
    Position,
    RecordTooLargeError,
    RetriesExhaustedError,
)

from .conftest import Gate, Recorder, eventually, renamed


def committed(broker, mapping):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": mapping.consumer_group})
    try:
        partitions = [KafkaPartition(mapping.topic, number) for number in range(4)]
        return [answer.offset for answer in consumer.committed(partitions, timeout=10)]
    finally:
        consumer.close()


def in_order(count, partitions=(0, 1, 2, 3)):
    return {f"topic-{number}": list(range(count)) for number in partitions}


def by_number(applied):
    return {f"topic-{partition.rsplit('-', 1)[1]}": offsets for partition, offsets in applied.items()}


def test_everything_is_delivered_in_order_and_committed(broker, mapping, produce, emulate):
    handler, invocations = Recorder(), []
    produce(range(200))

    with emulate((mapping, handler), on_invocation=invocations.append) as emulator:
        emulator.wait_drained(10)
        assert emulator.positions() == {Position("FE", mapping.topic, number): 200 for number in range(4)}

    assert by_number(handler.applied) == in_order(200)
    assert committed(broker, mapping) == [200] * 4
    assert sum(invocation.response["applied"] for invocation in invocations) == 800
    assert max(invocation.records for invocation in invocations) == 50
    assert {invocation.outcome for invocation in invocations} == {"success"}


def test_the_event_is_the_documented_one(broker, mapping, topic, produce, emulate):
    handler = Recorder()
    produce([7], partitions=[2])

    with emulate((mapping, handler)) as emulator:
        emulator.wait_drained(10)

    (event,) = handler.events
    (record,) = event["records"].pop(f"{topic}-2")
    assert event == {
        "eventSource": "aws:kafka",
        "eventSourceArn": "a",
        "bootstrapServers": broker.bootstrap_servers,
        "records": {},
    }
    assert abs(record.pop("timestamp") - time.time() * 1000) < 60_000
    assert base64.b64decode(record.pop("value")) == b"7"
    assert record == {
        "topic": topic,
        "partition": 2,
        "offset": 0,
        "timestampType": "CREATE_TIME",
        "headers": [{"h": [-1]}],
    }


def test_a_failed_batch_is_sent_again_as_it_was_and_nothing_is_lost(broker, mapping, produce, emulate):
    handler, invocations = Recorder(ValueError("1"), ValueError("2"), None, ValueError("3")), []
    produce(range(60))

    with emulate((mapping, handler), on_invocation=invocations.append) as emulator:
        emulator.wait_drained(10)

    first, second, third, fourth, fifth, *_ = handler.events
    assert first == second == third != fourth == fifth
    assert [invocation.attempt for invocation in invocations[:5]] == [1, 2, 3, 1, 2]
    assert [invocation.outcome for invocation in invocations[:3]] == ["ValueError", "ValueError", "success"]
    assert by_number(handler.applied) == in_order(60)
    assert committed(broker, mapping) == [60] * 4


def test_nothing_is_committed_before_the_function_succeeded(broker, mapping, produce, emulate):
    handler = Gate()
    produce(range(10))

    with emulate((mapping, handler)) as emulator:
        assert handler.entered.wait(10)
        assert set(committed(broker, mapping)) == {-1001}
        assert set(emulator.positions().values()) == {0}
        handler.opened.set()
        emulator.wait_drained(10)
    assert committed(broker, mapping) == [10] * 4


def test_two_mappings_of_one_topic_each_get_everything(broker, mapping, produce, emulate):
    healthy, failing = renamed(mapping, "Healthy"), renamed(mapping, "Failing", batch_size=7)
    handlers = Recorder(), Recorder(*[ValueError("x")] * 5)
    produce(range(40))

    with emulate((healthy, handlers[0]), (failing, handlers[1])) as emulator:
        emulator.wait_drained(10)

    for handler, one in zip(handlers, (healthy, failing), strict=True):
        assert by_number(handler.applied) == in_order(40)
        assert committed(broker, one) == [40] * 4


def test_a_restart_resumes_after_what_was_committed(mapping, produce, emulate):
    before, after = Recorder(), Recorder()
    produce(range(30))
    with emulate((mapping, before)) as emulator:
        emulator.wait_drained(10)
    produce(range(30, 50))

    with emulate((replace(mapping, starting_position="LATEST"), after)) as emulator:
        emulator.wait_drained(10)

    assert by_number(before.applied) == in_order(30)
    assert by_number(after.applied) == {name: offsets[30:] for name, offsets in in_order(50).items()}


def test_a_batch_cut_off_by_a_stop_is_delivered_by_the_next_run(mapping, produce, emulate):
    produce(range(20))
    failing = Recorder(*[ValueError("x")] * 10_000)
    emulator = emulate((mapping, failing)).start()
    eventually(lambda: len(failing.events) > 2)
    emulator.stop()
    handler = Recorder()

    with emulate((mapping, handler)) as emulator:
        emulator.wait_drained(10)

    assert failing.applied == {}
    assert by_number(handler.applied) == in_order(20)


def test_latest_starts_behind_what_was_there(mapping, produce, emulate):
    handler = Recorder()
    produce(range(5))

    with emulate((replace(mapping, starting_position="LATEST"), handler)) as emulator:
        emulator.wait_drained(10)
        produce(range(5, 8))
        emulator.wait_drained(10)

    assert by_number(handler.applied) == {name: offsets[5:] for name, offsets in in_order(8).items()}


def test_a_topic_that_does_not_exist_yet_is_waited_for(mapping, topic, produce, emulate):
    handler, notices = Recorder(), []

    with emulate((replace(mapping, starting_position="LATEST"), handler), on_event=notices.append) as emulator:
        with pytest.raises(DrainTimeoutError, match=rf"FE: topic {topic} does not exist yet"):
            emulator.wait_drained(0.5)
        produce(range(3))
        emulator.wait_drained(10)

    assert by_number(handler.applied) == in_order(3)
    assert [notice.text for notice in notices] == [
        f"waits: topic {topic} does not exist yet",
        "reads " + ", ".join(f"{topic}-{number}" for number in range(4)),
    ]


def test_records_deleted_before_they_were_delivered_are_an_error_not_a_gap(mapping, topic, broker, produce, emulate):
    produce([1], partitions=[0])
    with emulate((mapping, Recorder())) as emulator:
        emulator.wait_drained(10)
    producer = _producer(broker)
    for _ in range(8):
        producer.produce(topic, b"x" * 1_000_000, partition=0)  # the embedded broker keeps 5 MB of them
    producer.close()

    handler = Recorder()
    with (
        pytest.raises(OffsetLostError, match=rf"{topic}-0: the next offset is 1, but the topic starts at") as caught,
        emulate((mapping, handler)) as emulator,
    ):
        emulator.wait_drained(10)

    assert caught.value.low > caught.value.offset == 1
    assert handler.events == []


def test_batches_stay_under_the_payload_limit(mapping, topic, broker, emulate):
    handler, invocations = Recorder(), []
    producer = _producer(broker)
    for partition in range(4):
        for _ in range(3):
            producer.produce(topic, b"x" * 1_000_000, partition=partition)
    producer.close()

    with emulate((mapping, handler), on_invocation=invocations.append) as emulator:
        emulator.wait_drained(20)

    assert by_number(handler.applied) == in_order(3)
    assert max(invocation.payload_bytes for invocation in invocations) <= 6_291_456
    assert max(invocation.records for invocation in invocations) == 4  # 1.33 MB each in base64


def test_a_record_that_can_never_fit_stops_the_mapping_by_name(mapping, topic, produce, emulate):
    produce([1, 2], partitions=[0])
    small = replace(mapping, payload_limit_bytes=200, batch_size=1)

    with (
        pytest.raises(RecordTooLargeError, match=rf"{topic}-0 offset 0: its event has"),
        emulate((small, Recorder())) as emulator,
    ):
        emulator.wait_drained(10)


def test_a_limit_of_attempts_raises_with_the_error_of_the_function(mapping, produce, emulate):
    produce([1], partitions=[0])
    handler = Recorder(*[ValueError("broken")] * 3)

    with (
        pytest.raises(RetriesExhaustedError, match=r"FE: the function failed 3 times on one batch") as caught,
        emulate((mapping, handler), max_attempts=3) as emulator,
    ):
        emulator.wait_drained(10)
    assert (caught.value.error.error_type, caught.value.error.message) == ("ValueError", "broken")


def test_a_mapping_that_fails_does_not_stop_the_others(mapping, produce, emulate):
    failing, healthy = renamed(mapping, "Failing"), renamed(mapping, "Healthy")
    handler = Recorder()
    produce(range(10))

    with emulate((failing, Recorder(ValueError("x"))), (healthy, handler), max_attempts=1) as emulator:
        with pytest.raises(RetriesExhaustedError, match=r"^Failing: "):
            emulator.wait_drained(10)
        eventually(lambda: by_number(handler.applied) == in_order(10))


def test_what_is_not_drained_is_named_with_its_reason(mapping, produce, emulate):
    produce([1], partitions=[0])
    handler = Recorder(*[ValueError("broken")] * 10_000)

    with emulate((mapping, handler)) as emulator:
        eventually(lambda: len(handler.events) > 1)
        with pytest.raises(DrainTimeoutError, match=r"FE: retries a batch of 1 records after .* ValueError: broken"):
            emulator.wait_drained(0.1)


def test_a_disabled_mapping_does_not_run(mapping, emulate):
    with emulate((replace(mapping, enabled=False), Recorder())) as emulator:
        emulator.wait_drained(1)
        assert emulator.positions() == {}


def test_a_function_that_cannot_be_loaded_stops_the_start(broker, mapping):
    emulator = Emulator([mapping], broker.bootstrap_servers, lambda mapping: InProcessInvoker(mapping.function))

    with pytest.raises(FunctionLoadError, match=r"F: handler app.handler: No module named 'app'"):
        emulator.start()


def test_an_unreachable_broker_is_one_clear_error(mapping):
    started = time.monotonic()
    emulator = Emulator([mapping], "127.0.0.1:1", lambda m: InProcessInvoker(m.function, handler=Recorder()))

    with pytest.raises(BrokerUnreachableError, match=r"no Kafka broker answers at 127.0.0.1:1"), emulator:
        emulator.wait_drained(20)
    assert time.monotonic() - started < 11


def _producer(broker):
    from confluent_kafka import Producer  # noqa: PLC0415 - beside its only use

    return Producer({"bootstrap.servers": broker.bootstrap_servers, "message.max.bytes": 2_000_000})
