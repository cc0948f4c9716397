"""What Kafka itself has, read by a plain consumer, beside what it acknowledged."""

from collections.abc import Iterator
from itertools import zip_longest

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from headrace_cli.audit.records import Produced
from headrace_cli.audit.spool import Spool
from headrace_cli.errors import CommandError

SHOWN = 5
_ANSWER_S = 20.0


def lost_or_added(servers: str, topics: list[str], partitions: int, spool: Spool) -> list[str]:
    """Every place where the log is not what was acknowledged: a record missing, another one, one too many."""
    found: list[str] = []
    for topic in topics:
        for number in range(partitions):
            acknowledged = spool.records((topic, number)) if (topic, number) in spool.partitions() else iter(())
            differences = _differences(_log(servers, topic, number), acknowledged)
            found += [f"{topic}-{number}: {each}" for each in differences]
    return found


def _differences(log: Iterator[Produced], acknowledged: Iterator[Produced]) -> list[str]:
    pairs = zip_longest(log, acknowledged)
    return [f"Kafka has {has!r:.200}, acknowledged was {told!r:.200}" for has, told in pairs if has != told][:SHOWN]


def _log(servers: str, topic: str, number: int) -> Iterator[Produced]:
    settings = {"bootstrap.servers": servers, "group.id": "plain-reader", "enable.auto.commit": False, "log_level": 2}
    consumer = Consumer(settings)
    try:
        place = KafkaPartition(topic, number, 0)
        next_offset, end = consumer.get_watermark_offsets(place, timeout=_ANSWER_S)
        consumer.assign([place])
        while next_offset < end:
            message = consumer.poll(_ANSWER_S)
            if message is None or message.error():
                raise CommandError(f"{topic}-{number} cannot be read at {next_offset} of {end}")
            next_offset = message.offset() + 1
            yield Produced(
                topic,
                number,
                message.offset(),
                message.timestamp()[1],
                message.key(),
                message.value(),
                tuple(message.headers() or ()),
            )
    except KafkaException as error:
        raise CommandError(f"{topic}-{number} cannot be read: {error.args[0].str()}") from error
    finally:
        consumer.close()
