"""The topics of a Kafka cluster that letters go back to: sends them, and looks for them.

A letter is sent as it was: payload, key and headers as they were, null where they were null, and one more header with
its identity. Its Kafka timestamp is now: with its own, a topic's retention might delete it at once. Its key decides
the partition, as it does for Java's clients. docs/runbook.md has the grants that this takes.
"""

import functools
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as Position

from headrace.kafka import KafkaAuth, consumer_settings
from headrace_cli.dead.letters import REDRIVE_HEADER, Letter
from headrace_cli.dead.redrive import Deliveries, Search
from headrace_cli.dead.redrive_log import Sent
from headrace_cli.dead.topic_search import TopicSearch
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.kafka.producer import DELIVERY_TIMEOUT_S, producer_settings

GROUP = "reader-headrace-redrive"
"""librdkafka wants a group to read at all; nothing is ever committed for it. The platform's readers may use it."""
CONNECT_TIMEOUT_S = 10.0
INTERRUPT_FLUSH_S = 5.0
"""After Ctrl-C, what is already queued gets so long."""
SEARCH_TIMEOUT_S = 600.0
SILENCE_TIMEOUT_S = 30.0
"""A search that hears nothing for so long gives up."""

_POLL_S = 0.1
_BATCH_RECORDS = 1_000
_READ_AHEAD_RECORDS = 10_000
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})
# What a broker answers before it writes anything, and what never left this process. Any other error, a time-out above
# all, may have come after an attempt that was written.
_NOT_WRITTEN = _TOO_LARGE | {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError._PURGE_QUEUE,  # noqa: SLF001 - its public name
}


class KafkaTopics:
    """The topics of one cluster. Not thread-safe. Use as a context."""

    def __init__(
        self,
        bootstrap_servers: str,
        auth: KafkaAuth = "plaintext",
        *,
        stop: Callable[[], bool] = lambda: False,
        delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
    ) -> None:
        """Connect.

        Args:
            bootstrap_servers: `HOST:PORT`, or several with commas.
            auth: how to log in.
            stop: whether to come to an end soon; asked while sending and searching.
            delivery_timeout_s: how long the broker may take for a letter.

        Raises:
            OptionError: the address cannot be used.
            CommandError: no answer.
            ConfigurationError: `iam` without AWS region or credentials.
        """
        self._servers = bootstrap_servers
        self._auth = auth
        self._stop = stop
        self._delivery_timeout_s = delivery_timeout_s
        self._last_error = "no answer"
        self._producer: Producer | None = None
        self._consumer = self._connected()
        self.cluster: str = self._metadata().cluster_id or "unknown"
        """The cluster's own id."""

    def ends(self, topic: str) -> dict[int, int]:
        """See `Topics.ends`."""
        return {partition: self._watermarks(topic, partition)[1] for partition in self._partitions(topic)}

    def send(self, topic: str, letters: Sequence[Letter]) -> Deliveries:
        """See `Topics.send`."""
        producer = self._opened_producer()
        deliveries = Deliveries()
        for letter in letters:
            if self._stop():
                deliveries.not_sent[str(letter.record)] = "interrupted"
            else:
                self._queue(producer, topic, letter, deliveries)
        self._flush(producer)
        return deliveries

    def search(self, topic: str, starts: dict[int, int], letters: frozenset[str]) -> Search:
        """See `Topics.search`. What is missing is only known to be missing if every offset still has a record."""
        reading = TopicSearch(topic, letters)
        for partition in self._partitions(topic):
            low, high = self._watermarks(topic, partition)
            reading.expect(partition, starts.get(partition, 0), low, high)
        try:
            self._consumer.assign([Position(topic, partition, at) for partition, at in reading.starts.items()])
            self._read(reading)
        finally:
            self._consumer.unassign()
        return reading.result()

    def close(self) -> None:
        """Close the connections; nothing is left in flight."""
        self._consumer.close()
        if self._producer is not None:
            self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self) -> Consumer:
        settings = consumer_settings(self._servers, self._auth) | {
            "group.id": GROUP,
            "isolation.level": "read_uncommitted",
            "queued.min.messages": _READ_AHEAD_RECORDS,
            "error_cb": self._remember,
        }
        try:
            return Consumer(settings)
        except KafkaException as error:
            raise OptionError(f"cannot use Kafka at {self._servers!r}: {error.args[0].str()}") from error

    def _opened_producer(self) -> Producer:
        if self._producer is None:
            settings = producer_settings(self._servers, self._auth, self._delivery_timeout_s) | {
                "batch.num.messages": 1,  # a broker refuses a batch as a whole: each letter stands for itself
                "error_cb": self._remember,
            }
            self._producer = Producer(settings)
        return self._producer

    def _queue(self, producer: Producer, topic: str, letter: Letter, deliveries: Deliveries) -> None:
        identity = str(letter.record)
        headers: list[tuple[str, str | bytes | None]] = [*letter.headers, (REDRIVE_HEADER, identity.encode())]
        answered = functools.partial(take_answer, deliveries, identity)
        try:
            producer.produce(topic, letter.value, letter.key, headers=headers, on_delivery=answered)
        except BufferError:
            deliveries.not_sent[identity] = "the producer's queue is full: run it again"
        except KafkaException as error:
            deliveries.not_sent[identity] = _reason(error.args[0], len(letter.value or b""))

    def _flush(self, producer: Producer) -> None:
        """Wait until each letter has its answer; what has none in time is given up, and is not sent any more."""
        deadline_s = time.monotonic() + self._delivery_timeout_s + CONNECT_TIMEOUT_S
        while producer.flush(_POLL_S) and time.monotonic() < deadline_s:
            if self._stop():
                deadline_s = min(deadline_s, time.monotonic() + INTERRUPT_FLUSH_S)
        if len(producer):
            producer.purge()
            producer.flush(CONNECT_TIMEOUT_S)

    def _read(self, reading: TopicSearch) -> None:
        deadline_s = time.monotonic() + SEARCH_TIMEOUT_S
        heard_s = time.monotonic()
        while not reading.done and time.monotonic() < min(deadline_s, heard_s + SILENCE_TIMEOUT_S):
            if self._stop():
                return
            messages = self._consumer.consume(_BATCH_RECORDS, _POLL_S)
            if messages:
                heard_s = time.monotonic()
            for message in messages:
                reading.take(message)

    def _partitions(self, topic: str) -> list[int]:
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        while True:
            found = self._metadata(topic).topics[topic]
            if found.error is None and found.partitions:
                return sorted(found.partitions)
            # A topic that was made just now has no leader yet, or is not known everywhere.
            if time.monotonic() > deadline_s or _is_absent(found.error):
                reason = found.error.str() if found.error else "it has no partitions"
                raise CommandError(f"Kafka at {self._servers} has no usable topic {topic!r} ({reason})")
            time.sleep(_POLL_S)

    def _metadata(self, topic: str | None = None) -> Any:
        try:
            # With IAM the first token is asked for here; without, this costs nothing.
            self._consumer.poll(0)
            return self._consumer.list_topics(topic, timeout=CONNECT_TIMEOUT_S)
        except KafkaException as error:
            raise self._no_answer(error) from error

    def _watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(Position(topic, partition), timeout=CONNECT_TIMEOUT_S)
        except KafkaException as error:
            raise self._no_answer(error) from error
        return low, high

    def _no_answer(self, error: KafkaException) -> CommandError:
        self._consumer.poll(0)  # hands the reason to `_remember`
        return CommandError(
            f"no answer from Kafka at {self._servers} in {CONNECT_TIMEOUT_S:g} s: {error.args[0].str()}"
            f" (last: {self._last_error}); is the address right and the broker running?"
        )

    def _remember(self, error: KafkaError) -> None:
        self._last_error = error.str()


def take_answer(deliveries: Deliveries, identity: str, error: KafkaError | None, message: Message) -> None:
    """Write down what the broker answered of one letter."""
    if error is not None:
        told = deliveries.not_sent if error.code() in _NOT_WRITTEN else deliveries.unknown
        told[identity] = _reason(error, len(message.value() or b""))
        return
    partition, offset = message.partition(), message.offset()
    if partition is None or offset is None:
        # A broker that crashed may know that it has a batch, which was sent again, and not where.
        deliveries.unknown[identity] = "the topic has it, but after a failure the broker does not tell where"
    else:
        deliveries.sent.append(Sent(identity, partition, offset))


def _reason(error: KafkaError, size: int) -> str:
    if error.code() in _TOO_LARGE:
        return f"with {size} bytes it is larger than the topic takes: raise its max.message.bytes (8 MiB at most)"
    return str(error.str())


def _is_absent(error: KafkaError | None) -> bool:
    return error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART
