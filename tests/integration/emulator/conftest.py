"""A broker in this process, a producer for it, and functions that write down what they get."""

import threading
import time
from dataclasses import replace
from itertools import count

import pytest
from confluent_kafka import Producer

from kafka_esm import Backoff, EmbeddedBroker, Emulator, Function, InProcessInvoker, Mapping

_numbers = count()


@pytest.fixture(scope="session")
def broker():
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def topic():
    return f"topic-{next(_numbers)}"


@pytest.fixture
def produce(broker, topic):
    """Return a function that sends `count` numbered values to each of these partitions, round robin."""
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 5})

    def send(numbers, partitions=(0, 1, 2, 3)):
        for number in numbers:
            for partition in partitions:
                producer.produce(topic, str(number).encode(), partition=partition, headers=[("h", b"\xff")])
            producer.poll(0)
        assert producer.flush(10) == 0

    yield send
    producer.close()


class Recorder:
    """A handler that keeps every event, and fails when told."""

    def __init__(self, *failures):
        self.events = []
        self.applied = {}
        self._failures = list(failures)

    def __call__(self, event, _context):
        self.events.append(event)
        failure = self._failures.pop(0) if self._failures else None
        if failure:
            raise failure
        for partition, records in event["records"].items():
            self.applied.setdefault(partition, []).extend(record["offset"] for record in records)
        return {"applied": sum(map(len, event["records"].values()))}


class Gate(Recorder):
    """A recorder that waits in its first call until it is opened."""

    def __init__(self):
        super().__init__()
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, event, context):
        self.entered.set()
        assert self.opened.wait(10)
        return super().__call__(event, context)


@pytest.fixture
def mapping(topic, tmp_path):
    function = Function("F", "app.handler", tmp_path)
    return Mapping("FE", function, topic, f"group-{topic}", batch_size=50, batching_window_ms=0, event_source_arn="a")


@pytest.fixture
def emulate(broker):
    """Return a function that makes an emulator for mappings and their handlers."""

    def make(*pairs, **options):
        handlers = {mapping.name: handler for mapping, handler in pairs}
        options.setdefault("backoff", Backoff(first_ms=1, longest_ms=20))
        return Emulator(
            [mapping for mapping, _ in pairs],
            broker.bootstrap_servers,
            lambda mapping: InProcessInvoker(mapping.function, handler=handlers[mapping.name]),
            **options,
        )

    return make


def renamed(mapping, name, **fields):
    return replace(mapping, name=name, consumer_group=f"{mapping.consumer_group}-{name}", **fields)


def eventually(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)
