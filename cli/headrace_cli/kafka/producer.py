"""Sends records to a topic and does not return before the broker has every one of them.

A record arrives once and in order: librdkafka's idempotent producer (acks from all replicas, retries that
neither duplicate nor overtake). With MSK's IAM login that takes `kafka-cluster:WriteDataIdempotently` on the
cluster. Keys go to the partitions that Java's clients choose. The Kafka timestamp is this machine's clock and
not the record's own time: a topic with a retention would delete a replayed month at once.
"""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from headrace.kafka import KafkaAuth, consumer_settings
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.sources.source import SourceRecord

Headers = tuple[tuple[str, bytes | None], ...]
"""A record's headers, in order; a name may repeat."""
OnDelivery = Callable[[int, int, int, bytes | None, bytes | None, Headers], None]
"""Told of each record that the broker has: partition, offset, Kafka timestamp (ms), key, value, headers."""
Pace = Callable[[], bool]
"""Whether to go on. Asked before the first record and after each `PACE_BYTES`, when nothing is in flight and
`on_delivery` knows of everything sent; asked again every `PACE_INTERVAL_S` until it says yes."""

CONNECT_TIMEOUT_S = 10.0
DELIVERY_TIMEOUT_S = 30.0
"""A record that the broker has not taken by then is an error."""
INTERRUPT_FLUSH_S = 5.0
"""After Ctrl-C, what is already queued gets so long."""
MAX_RECORD_BYTES = 8 * 1024 * 1024
"""The most that MSK lets a topic take (`max.message.bytes`); a topic's own limit is usually 1 MiB."""
PACE_BYTES = 256 * 1024
PACE_INTERVAL_S = 0.02

_QUEUE_RECORDS = 50_000
_QUEUE_KBYTES = 32 * 1024
_LINGER_MS = 5
_POLL_EVERY = 1000
_POLL_S = 0.1
_LOG_CRITICAL = 2
# What librdkafka's mock cluster answers for every record, while it keeps the time that was sent.
_MOCK_APPEND_MS = 1234
_LOGIN_SETTINGS = ("security.protocol", "sasl.mechanisms", "oauth_cb")


class Produced(NamedTuple):
    """What was sent."""

    records: int
    """Records that the broker has."""
    bytes: int
    """Their payloads' size, without keys and headers."""
    seconds: float
    too_large: int
    """Records left out because the broker or the client refuses their size."""


def produce(
    source: Iterable[SourceRecord],
    bootstrap_servers: str,
    topic: str,
    *,
    on_delivery: OnDelivery | None = None,
    pace: Pace | None = None,
    auth: KafkaAuth = "plaintext",
    skip_too_large: bool = False,
    delivery_timeout_s: float = DELIVERY_TIMEOUT_S,
) -> Produced:
    """Send every record; memory is bounded by librdkafka's queue (32 MiB).

    Args:
        source: the records, in order.
        bootstrap_servers: `HOST:PORT`, or several with commas.
        topic: where to; it must exist unless the broker makes topics by itself.
        on_delivery: told of each record once the broker has it, in this thread.
        pace: holds the sending back, for a broker that forgets what is not read soon.
        auth: how to log in.
        skip_too_large: leave records out that are too large for the topic, and count them.
        delivery_timeout_s: a record that the broker has not taken by then is an error.

    Raises:
        CommandError: no answer from the broker, no such topic, a record too large, or one not delivered.
        ConfigurationError: `iam` without AWS region or credentials.
    """
    started_s = time.monotonic()
    sending = _Sending(
        bootstrap_servers,
        topic,
        auth,
        on_delivery,
        skip_too_large=skip_too_large,
        delivery_timeout_s=delivery_timeout_s,
    )
    sending.check_topic()
    try:
        for record in source:
            sending.send(record, pace)
        sending.finish()
    except KeyboardInterrupt:
        sending.flush(INTERRUPT_FLUSH_S)
        raise
    return Produced(sending.records, sending.bytes, time.monotonic() - started_s, sending.too_large)


class _Sending:
    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        auth: KafkaAuth,
        on_delivery: OnDelivery | None,
        *,
        skip_too_large: bool,
        delivery_timeout_s: float,
    ) -> None:
        self._servers = bootstrap_servers
        self._topic = topic
        self._on_delivery = on_delivery
        self._skip_too_large = skip_too_large
        self._delivery_timeout_s = delivery_timeout_s
        self._failure: CommandError | None = None
        self._last_error = "no answer"
        self._number = 0
        self._bytes_since_pace = PACE_BYTES
        self.records = self.bytes = self.too_large = 0
        try:
            settings = producer_settings(bootstrap_servers, auth, delivery_timeout_s)
            self._producer = Producer(settings | {"error_cb": self._remember})
        except KafkaException as error:
            raise OptionError(f"cannot use Kafka at {bootstrap_servers!r}: {error.args[0].str()}") from error
        # With IAM the first token is asked for here; without, this costs nothing.
        self._producer.poll(0)

    def check_topic(self) -> None:
        """Fail now and in one line if the broker does not answer or the topic does not exist."""
        deadline_s = time.monotonic() + CONNECT_TIMEOUT_S
        while (error := self._topic_error(deadline_s - time.monotonic())) is not None:
            # A topic that the broker is just making by itself has no leader yet, or is not known everywhere.
            if time.monotonic() >= deadline_s - _POLL_S:
                raise CommandError(
                    f"Kafka at {self._servers} has no usable topic {self._topic!r} ({error.str()}): create it first"
                )
            time.sleep(_POLL_S)

    def _topic_error(self, timeout_s: float) -> KafkaError | None:
        try:
            cluster = self._producer.list_topics(self._topic, timeout=max(timeout_s, _POLL_S))
        except KafkaException as error:
            self._producer.poll(0)  # hands the reason to `_remember`
            raise CommandError(
                f"no answer from Kafka at {self._servers} in {CONNECT_TIMEOUT_S:g} s: {error.args[0].str()}"
                f" (last: {self._last_error}); is the address right and the broker running?"
            ) from error
        found: KafkaError | None = cluster.topics[self._topic].error
        return found

    def send(self, record: SourceRecord, pace: Pace | None) -> None:
        """Queue one record; waits while the queue is full or `pace` says so."""
        if pace is not None and self._bytes_since_pace >= PACE_BYTES:
            self._hold_back(pace)
        self._number += 1
        size = len(record.value or b"")
        self._bytes_since_pace += size
        if size > MAX_RECORD_BYTES:
            self._refuse_size(self._number, size)
        else:
            self._queue(record)
        if self._number % _POLL_EVERY == 0:
            self._producer.poll(0)
        self._raise_failure()

    def _queue(self, record: SourceRecord) -> None:
        sent_ms = time.time_ns() // 1_000_000 if record.sent_ms is None else record.sent_ms
        delivered = functools.partial(self._delivered, self._number, sent_ms, record.headers)
        headers: list[tuple[str, str | bytes | None]] | None = [*record.headers] or None
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    headers=headers,
                    timestamp=sent_ms,
                    on_delivery=delivered,
                )
            except BufferError:
                self._producer.poll(_POLL_S)
                self._raise_failure()
            except KafkaException as error:
                # librdkafka counts key, headers and framing too: it may refuse what the check above let pass.
                self._not_delivered(self._number, error.args[0], len(record.value or b""))
                return
            else:
                return

    def _hold_back(self, pace: Pace) -> None:
        self.finish()
        while not pace():
            self._producer.poll(0)
            time.sleep(PACE_INTERVAL_S)
        self._bytes_since_pace = 0

    def finish(self) -> None:
        """Wait until every record is delivered or has failed; bounded by the delivery timeout."""
        self.flush(self._delivery_timeout_s + CONNECT_TIMEOUT_S)
        self._raise_failure()
        if len(self._producer):
            raise CommandError(f"Kafka at {self._servers} left {len(self._producer)} records unanswered")

    def flush(self, timeout_s: float) -> None:
        """Wait for what is queued, in short steps so that Ctrl-C is heard."""
        deadline_s = time.monotonic() + timeout_s
        while self._producer.flush(_POLL_S) and time.monotonic() < deadline_s and self._failure is None:
            pass

    def _delivered(
        self, number: int, sent_ms: int, headers: Headers, error: KafkaError | None, message: Message
    ) -> None:
        value = message.value()
        if error is not None:
            self._not_delivered(number, error, len(value or b""))
            return
        self.records += 1
        self.bytes += len(value or b"")
        if self._on_delivery is None:
            return
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None:
            self._place_unknown(number)
        else:
            # A broker with LogAppendTime answers with its own time.
            answered_ms = message.timestamp()[1]
            timestamp_ms = sent_ms if answered_ms == _MOCK_APPEND_MS else answered_ms
            self._on_delivery(partition, offset, timestamp_ms, message.key(), value, headers)

    def _place_unknown(self, number: int) -> None:
        """A broker that crashed may know that it has a batch, which was sent again, and not where."""
        if self._failure is None:
            self._failure = CommandError(
                f"record {number} is in {self._topic}, but after a failure the broker does not tell its offset: start"
                " over with another topic"
            )

    def _not_delivered(self, number: int, error: KafkaError, size: int) -> None:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refuse_size(number, size)
        elif self._failure is None:
            self._failure = CommandError(
                f"record {number} could not be delivered to {self._topic}: {error.str()} (last: {self._last_error})"
            )

    def _refuse_size(self, number: int, size: int) -> None:
        if self._skip_too_large:
            self.too_large += 1
        elif self._failure is None:
            self._failure = CommandError(
                f"record {number} has {size} bytes, more than topic {self._topic} takes: raise the topic's"
                " max.message.bytes (8 MiB at most) or pass --skip-too-large"
            )

    def _remember(self, error: KafkaError) -> None:
        self._last_error = error.str()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._producer.purge()
            raise self._failure


def producer_settings(
    bootstrap_servers: str, auth: KafkaAuth, delivery_timeout_s: float = DELIVERY_TIMEOUT_S
) -> dict[str, Any]:
    """Settings of librdkafka for sending each record once and in order, in bounded time.

    Raises:
        ConfigurationError: `iam` without AWS region or credentials.
    """
    login = consumer_settings(bootstrap_servers, auth)
    return {name: login[name] for name in _LOGIN_SETTINGS if name in login} | {
        "bootstrap.servers": bootstrap_servers,
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "message.max.bytes": MAX_RECORD_BYTES,
        "message.timeout.ms": int(delivery_timeout_s * 1000),
        "linger.ms": _LINGER_MS,
        "queue.buffering.max.messages": _QUEUE_RECORDS,
        "queue.buffering.max.kbytes": _QUEUE_KBYTES,
        "log_level": _LOG_CRITICAL,  # the rest reaches `error_cb`; by default it goes raw to stderr
    }
