"""A topic that was deleted and made again: offsets begin anew, and nothing may be skipped because of it."""

import time
from dataclasses import replace

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from samples import hit, table_rows, topology

from headrace.checkpoint import MemoryCheckpointStore
from headrace.errors import TopicRecreated
from headrace.kafka import KafkaLog
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.sweeper import Sweeper
from kafka_esm import KafkaEsmError, OffsetLostError, RetriesExhaustedError

from .conftest import eventually

OLD, NEW = 5, 3
"""Records of the topic before it was deleted, and after."""


class Stores:
    """A deployment's stores, and its pipeline in any generation."""

    def __init__(self):
        self.checkpoints, self.outbox = MemoryCheckpointStore(), MemoryOutbox()

    def pipeline(self, generation="1"):
        return Pipeline("p", lambda _: topology(), self.checkpoints, self.outbox, generation=generation)

    def handler(self, generation="1"):
        pipeline = self.pipeline(generation)
        return lambda event, _: dict(pipeline.handle(event))

    def checkpoint(self, generation="1"):
        (found,) = (c for c in self.checkpoints.checkpoints("headrace") if c.key.generation == generation)
        return found

    def sweep(self, server, generation="1"):
        with KafkaLog(server.bootstrap_servers, "plaintext") as log:
            sweeper = Sweeper(
                {"p": self.pipeline(generation)},
                self.checkpoints,
                log,
                application="headrace",
                generation=generation,
                idle_timeout_ms=1,
            )
            return sweeper.sweep(time.time_ns() // 1_000_000 + 1_000)


@pytest.fixture
def hits(producer):
    """Return a function that produces as many records, one visit a minute from `start` on."""

    def send(topic, count, start=0):
        for number in range(count):
            producer.produce(topic, hit(0, 60_000 * (start + number)).value, partition=0)
        assert producer.flush(10) == 0

    return send


@pytest.fixture
def make_again(server):
    """Return a function that deletes a topic and makes it again under the same name."""
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers, "log_level": 2})

    def recreate(topic):
        admin.delete_topics([topic])[topic].result(10)
        eventually(lambda: topic not in admin.list_topics(timeout=10).topics)
        server.create_topic(topic)

    return recreate


@pytest.fixture
def consumed(new_topic, hits, mapping, emulate):
    """A topic that generation 1 has read, and its stores."""
    topic, stores = new_topic(), Stores()
    hits(topic, OLD)
    with emulate(stores.handler(), mapping(topic)) as emulator:
        emulator.wait_drained(20)
    assert stores.checkpoint().next_offset == OLD
    return topic, stores


def test_its_partition_stops_and_a_new_generation_reads_it_from_the_beginning(
    consumed, hits, make_again, mapping, emulate, server
):
    topic, stores = consumed
    before, rows = stores.checkpoint(), table_rows(stores.outbox)
    make_again(topic)
    hits(topic, NEW, start=OLD)

    with (
        pytest.raises(RetriesExhaustedError, match="headrace generation new") as stopped,
        emulate(stores.handler(), mapping(topic), max_attempts=3) as emulator,
    ):
        emulator.wait_drained(20)
    assert "TopicRecreated" in str(stopped.value)
    assert stores.checkpoint() == before, "nothing was skipped"

    found = stores.sweep(server)
    assert [type(error) for error in found.failures.values()] == [TopicRecreated]
    assert (found.ticked, stores.checkpoint()) == (0, before)
    assert table_rows(stores.outbox) == rows

    second = replace(mapping(topic), consumer_group=f"group-{topic}-2")
    with emulate(stores.handler("2"), second) as emulator:
        emulator.wait_drained(20)
    assert (stores.checkpoint("2").base_offset, stores.checkpoint("2").next_offset) == (0, NEW)
    assert stores.checkpoint("2").totals["applied"] == NEW
    ended = stores.sweep(server, generation="2")
    assert (ended.ticked, ended.failures) == (2, {})
    assert sum(table_rows(stores.outbox)[f"p/{topic}"].values()) == OLD + NEW


def test_a_group_that_is_beyond_its_end_is_a_named_error_and_reads_nothing(
    consumed, hits, make_again, mapping, emulate, server
):
    """Kafka forgets a deleted topic's offsets, but a group that is at work may commit them again."""
    topic, stores = consumed
    make_again(topic)
    hits(topic, NEW, start=OLD)
    group = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": mapping(topic).consumer_group})
    try:
        group.commit(offsets=[KafkaPartition(topic, 0, OLD)], asynchronous=False)
    finally:
        group.close()
    before = stores.checkpoint()

    with pytest.raises(OffsetLostError, match="the next offset is 5, but the topic ends at 3") as lost:  # noqa: SIM117
        with emulate(stores.handler(), mapping(topic)) as emulator:
            emulator.wait_drained(20)
    assert (lost.value.offset, lost.value.low, lost.value.high) == (OLD, 0, NEW)
    assert stores.checkpoint() == before


def test_a_mapping_that_is_running_meanwhile_ends_with_a_named_error(new_topic, hits, make_again, mapping, emulate):
    topic, stores = new_topic(), Stores()
    hits(topic, OLD)
    with pytest.raises(KafkaEsmError), emulate(stores.handler(), mapping(topic), max_attempts=3) as emulator:  # noqa: PT012
        emulator.wait_drained(20)
        before = stores.checkpoint()
        make_again(topic)
        hits(topic, NEW, start=OLD)
        emulator.wait_drained(30)
    assert stores.checkpoint() == before
