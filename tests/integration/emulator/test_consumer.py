"""The consumer by itself: where it reads on after something went wrong."""

from kafka_esm.consumer import Start, TopicConsumer
from kafka_esm.event import TopicPartition

from .conftest import eventually


def read_all(consumer, count):
    """Offsets of the next records, by partition."""
    found = {}

    def read():
        for record in consumer.read(100, 0.1):
            found.setdefault(record.partition, []).append(record.offset)
        return sum(map(len, found.values())) >= count

    eventually(read)
    return found


def test_after_rewinding_it_reads_on_after_what_is_committed_and_loses_nothing(broker, topic, produce):
    """Also what it had fetched and nobody had asked for yet, and also a partition with nothing committed."""
    produce(range(500), partitions=(0, 1))
    consumer = TopicConsumer(broker.bootstrap_servers, topic, "rewound", Start("TRIM_HORIZON"))
    try:
        consumer.discover()
        for _ in range(3):
            assert read_all(consumer, 40)
            consumer.rewind()
        assert read_all(consumer, 1_000) == {0: [*range(500)], 1: [*range(500)]}

        consumer.commit({TopicPartition(topic, 0): 450})
        consumer.rewind()
        assert consumer.lag() == {0: 50, 1: 500, 2: 0, 3: 0}
        assert read_all(consumer, 550) == {0: [*range(450, 500)], 1: [*range(500)]}
        produce(range(3), partitions=(1, 2))
        assert read_all(consumer, 6) == {1: [500, 501, 502], 2: [0, 1, 2]}
    finally:
        consumer.close()


def test_a_broker_is_met_when_it_answers_the_first_time(broker, topic):
    consumer = TopicConsumer(broker.bootstrap_servers, topic, "g", Start("TRIM_HORIZON"))
    try:
        assert consumer.met_broker is False
        consumer.discover()
        assert consumer.met_broker is True
    finally:
        consumer.close()
