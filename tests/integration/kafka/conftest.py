"""One real Apache Kafka for all tests of this folder, and functions that write down what they get."""

import base64
import os
import time
from itertools import count

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient

from headrace_cli.kafka.distribution import missing_tools
from headrace_cli.kafka.server import KafkaServer
from kafka_esm import Backoff, Emulator, Function, InProcessInvoker, Mapping

_numbers = count()


def _require_tools():
    """Need Java and Maven: a user's machine without them skips these tests, a CI without them fails."""
    if missing := missing_tools():
        reason = f"Apache Kafka needs {' and '.join(missing)}, not on this machine"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture
def tools():
    """For a test that starts a broker of its own."""
    _require_tools()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    _require_tools()
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def new_topic(server):
    """Return a function that makes a topic nobody else uses."""

    def make(partitions=1, **configs):
        name = f"topic.{next(_numbers)}_a-b"
        server.create_topic(name, partitions, {key.replace("_", "."): value for key, value in configs.items()})
        return name

    return make


@pytest.fixture
def producer(server):
    producer = Producer({"bootstrap.servers": server.bootstrap_servers, "linger.ms": 5, "log_level": 2})
    yield producer
    producer.close()


@pytest.fixture
def produce(producer):
    """Return a function that sends numbered values to each of these partitions, and waits for the broker."""

    def send(topic, numbers, partitions=(0,)):
        for number in numbers:
            for partition in partitions:
                producer.produce(topic, str(number).encode(), partition=partition)
        assert producer.flush(10) == 0

    return send


@pytest.fixture
def delete_before(server):
    """Return a function that deletes what partition 0 has before an offset."""
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers, "log_level": 2})

    def delete(topic, offset):
        for answer in admin.delete_records([KafkaPartition(topic, 0, offset)]).values():
            assert answer.result(10).low_watermark == offset

    return delete


class Recorder:
    """A handler that writes down what it succeeded with, and fails when told."""

    def __init__(self, *failures):
        self.events = []
        self.applied = {}
        self._failures = list(failures)

    def __call__(self, event, _context):
        self.events.append(event)
        if failure := self._failures.pop(0) if self._failures else None:
            raise failure
        for records in event["records"].values():
            for record in records:
                self.applied.setdefault(record["partition"], []).append(record["offset"])

    @property
    def values(self):
        """Payloads in the order of delivery."""
        records = [record for event in self.events for batch in event["records"].values() for record in batch]
        return [base64.b64decode(record["value"]) for record in records]


@pytest.fixture
def mapping(tmp_path):
    """Return a function that makes the mapping of a topic: always the same group for a topic."""

    def make(topic, number="", batch_size=50):
        function = Function("F", "app.handler", tmp_path)
        return Mapping(f"F{number}", function, topic, f"group-{topic}", batch_size=batch_size, batching_window_ms=0)

    return make


@pytest.fixture
def emulate(server):
    """Return a function that makes an emulator for one handler behind all these mappings."""

    def make(handler, *mappings, **options):
        return Emulator(
            mappings,
            server.bootstrap_servers,
            lambda mapping: InProcessInvoker(mapping.function, handler=handler),
            backoff=Backoff(first_ms=1, longest_ms=20),
            **options,
        )

    return make


@pytest.fixture
def committed(server):
    """Return a function that asks the broker for the group's offsets; None where there is none."""

    def ask(mapping, partitions=(0,)):
        settings = {"bootstrap.servers": server.bootstrap_servers, "group.id": mapping.consumer_group, "log_level": 2}
        consumer = Consumer(settings)
        try:
            places = [KafkaPartition(mapping.topic, number) for number in partitions]
            offsets = [answer.offset for answer in consumer.committed(places, timeout=10)]
        finally:
            consumer.close()
        return [offset if offset >= 0 else None for offset in offsets]

    return ask


def eventually(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
