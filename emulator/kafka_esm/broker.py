"""A Kafka broker inside this process: librdkafka's mock cluster, behind a real socket on loopback.

It holds about 5 MB per partition and drops what is older without a word: pace the producer by the
consumers' positions. A topic has four partitions, and comes into being when it is first produced to.
"""

import logging
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException, Producer

from kafka_esm.errors import BrokerError

_TIMEOUT_SECONDS = 10.0
_LOG = logging.getLogger("kafka_esm.librdkafka")


class EmbeddedBroker:
    """One broker that lives as long as this object is open."""

    def __init__(self) -> None:
        self._producer: Producer | None = None
        self._servers = ""

    def start(self) -> Self:
        """Start it and find out its port."""
        self._producer = Producer({"test.mock.num.brokers": 1}, logger=_LOG)
        brokers = self._list_topics().brokers.values()
        self._servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    @property
    def bootstrap_servers(self) -> str:
        """`HOST:PORT`, for any Kafka client."""
        self._open()
        return self._servers

    def create_topic(self, name: str) -> int:
        """Make a topic, if there is none of that name, and return its number of partitions."""
        # The mock cluster creates what a producer asks about. It has no CreateTopics.
        return len(self._list_topics(name).topics[name].partitions)

    def close(self) -> None:
        """Stop it; everything it held is gone."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> Producer:
        if self._producer is None:
            raise BrokerError("the embedded broker is not running: call start()")
        return self._producer

    def _list_topics(self, name: str | None = None) -> Any:
        try:
            return self._open().list_topics(name, timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise BrokerError(f"embedded broker: {error.args[0].str()}") from error
