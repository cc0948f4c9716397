"""What the broker still has for a partition: the sweeper asks before it closes a window, the audit compares.

Records of a transaction that is still open count as a backlog, aborted ones and transaction markers do not. AWS does
not say whether a mapping waits for transactions to end; closing windows under an open one would be wrong either way.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from headrace.errors import ConfigurationError, InfrastructureError, TopicRecreated
from headrace.records import TopicPartition

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaException

GROUP = "headrace-sweeper"
"""librdkafka wants a group to read at all; nothing is ever committed for it."""
TIMEOUT_S = 10.0
CONNECTION_S = 240.0
"""Age at which a connection is replaced; an IAM token lives for 900 s."""
POLL_S = 0.5
PAUSE_S = 0.1
FETCH_WAIT_MS = 100
QUEUE_BACKOFF_MS = 10
RECONNECT_MS = 500
LOG_CRITICAL = 2

Isolation = Literal["read_committed", "read_uncommitted"]
KafkaAuth = Literal["plaintext", "iam"]
"""How to log in: not at all, or with MSK's IAM tokens over TLS."""


class KafkaLog:
    """The logs of one cluster. Not thread-safe. Connects when first asked; closes as a context manager.

    A connection is replaced after a few minutes: a Lambda process sleeps between two sweeps, through which
    neither its sockets nor its login token need to live.
    """

    def __init__(self, bootstrap_servers: str, auth: KafkaAuth, *, timeout_s: float = TIMEOUT_S) -> None:
        self._servers = bootstrap_servers
        self._auth = auth
        self._timeout_s = timeout_s
        self._consumers: dict[Isolation, Consumer] = {}
        self._opened_at_s = 0.0
        self._last_error = "no answer"

    def has_backlog(self, topic_partition: TopicPartition, next_offset: int) -> bool:
        """Whether a record is left to read at or after the offset. Takes at most five times the timeout.

        Raises:
            ConfigurationError: the cluster has no such partition, or does not let us read it; no servers, AWS
                region or credentials are configured.
            TopicRecreated: the log ends before the offset.
            InfrastructureError: no answer in time.
        """
        low, high = self._watermarks(self._consumer("read_uncommitted"), topic_partition)
        if next_offset > high:
            raise TopicRecreated(
                f"{topic_partition} ends at offset {high}, before {next_offset}, which is next: the topic was deleted "
                "and made again, or lost records. Its windows stay open; begin again with `headrace generation new`"
            )
        start = max(next_offset, low)  # what retention deleted is not left to read
        if start >= high:
            return False
        committed = self._consumer("read_committed")
        _, stable = self._watermarks(committed, topic_partition)
        # Between the last stable offset and the high watermark lie open transactions. Offsets below need not be
        # records: compaction, aborted records, transaction markers.
        return stable < high or self._finds_record(committed, topic_partition, start)

    def ends(self, topic_partition: TopicPartition) -> tuple[int, int]:
        """The first offset that the broker still has, and the one that the next record will get.

        Raises:
            As `has_backlog`.
        """
        return self._watermarks(self._consumer("read_uncommitted"), topic_partition)

    def partitions(self, topic: str) -> list[int]:
        """The topic's partitions, as the cluster has them; none if it has no such topic.

        Raises:
            InfrastructureError: no answer in time.
        """
        from confluent_kafka import KafkaException

        consumer = self._consumer("read_uncommitted")
        try:
            found = consumer.list_topics(topic, timeout=self._timeout_s).topics[topic]
        except KafkaException as error:
            consumer.poll(0)  # hands the reason to `_remember`
            reason = f"{error.args[0].str()} (last: {self._last_error})"
            raise InfrastructureError(f"Kafka at {self._servers} does not answer for {topic}: {reason}") from error
        return sorted(found.partitions) if found.error is None else []

    def close(self) -> None:
        """Close what is open; the next question connects anew."""
        while self._consumers:
            self._consumers.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _consumer(self, isolation: Isolation) -> "Consumer":
        if time.time() - self._opened_at_s >= CONNECTION_S:
            self.close()
        if isolation not in self._consumers:
            self._consumers[isolation] = self._connected(isolation)
        return self._consumers[isolation]

    def _connected(self, isolation: Isolation) -> "Consumer":
        from confluent_kafka import Consumer, KafkaException

        if not self._consumers:
            self._last_error = "no answer"
            self._opened_at_s = time.time()
        settings = consumer_settings(self._servers, self._auth) | {
            "isolation.level": isolation,
            "error_cb": self._remember,
        }
        try:
            return Consumer(settings)
        except KafkaException as error:
            raise ConfigurationError(f"cannot use Kafka at {self._servers!r}: {error}") from error

    def _watermarks(self, consumer: "Consumer", topic_partition: TopicPartition) -> tuple[int, int]:
        from confluent_kafka import KafkaException
        from confluent_kafka import TopicPartition as Position

        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                low, high = consumer.get_watermark_offsets(
                    Position(*topic_partition), timeout=_left_s(deadline), cached=False
                )
            except KafkaException as error:
                consumer.poll(0)  # hands the reason to `_remember`
                self._raise_unless_passing(consumer, error, topic_partition, deadline)
                time.sleep(PAUSE_S)
            else:
                return low, high

    def _finds_record(self, consumer: "Consumer", topic_partition: TopicPartition, start: int) -> bool:
        from confluent_kafka import KafkaError
        from confluent_kafka import TopicPartition as Position

        consumer.assign([Position(*topic_partition, start)])
        deadline = time.monotonic() + self._timeout_s
        try:
            while time.monotonic() < deadline:
                message = consumer.poll(POLL_S)
                if message is None or (message.topic(), message.partition()) != topic_partition:
                    continue
                error = message.error()
                if error is None:
                    return True
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    return False
                self._remember(error)
        finally:
            consumer.unassign()
        raise InfrastructureError(
            f"Kafka at {self._servers} sent nothing of {topic_partition} from offset {start} in"
            f" {self._timeout_s:g} s (last: {self._last_error})"
        )

    def _remember(self, error: Any) -> None:
        self._last_error = error.str()

    def _raise_unless_passing(
        self, consumer: "Consumer", failure: "KafkaException", topic_partition: TopicPartition, deadline: float
    ) -> None:
        """Return if the partition exists and its leader may soon be known again, as after a broker's restart."""
        from confluent_kafka import KafkaError

        error, where = failure.args[0], f"Kafka at {self._servers}"
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise ConfigurationError(f"{where} does not let us read {topic_partition}: {error.str()}") from failure
        # The client says "unknown" as well of a partition whose leader is away, or whose broker is.
        unknown = {KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART}  # noqa: SLF001 - their public names
        if error.code() in unknown and self._is_absent(consumer, topic_partition):
            raise ConfigurationError(f"{where} has no partition {topic_partition}") from failure
        # A broker that has just come back is asked before it knows what it leads.
        passing = {*unknown, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE}
        if error.code() in passing and time.monotonic() < deadline:
            return
        raise InfrastructureError(
            f"{where} does not answer for {topic_partition}: {error.str()} (last: {self._last_error})"
        ) from failure

    def _is_absent(self, consumer: "Consumer", topic_partition: TopicPartition) -> bool:
        """Whether the cluster itself says that it has no such partition; no answer says nothing."""
        from confluent_kafka import KafkaError, KafkaException

        try:
            topic = consumer.list_topics(topic_partition.topic, timeout=self._timeout_s).topics[topic_partition.topic]
        except KafkaException:
            return False
        if topic.error is not None:
            return bool(topic.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART)
        return topic_partition.partition not in topic.partitions


def _left_s(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())


def consumer_settings(bootstrap_servers: str, auth: KafkaAuth) -> dict[str, Any]:
    """Settings of librdkafka for reading without a group membership and without leaving a trace.

    Raises:
        ConfigurationError: there are no servers, or, for `iam`, no AWS region or credentials.
    """
    if not bootstrap_servers:
        raise ConfigurationError("no Kafka servers are configured (HEADRACE_BOOTSTRAP_SERVERS)")
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap_servers,
        "group.id": GROUP,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",  # retention passed the offset between question and fetch
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "queued.min.messages": 1,  # one record is the whole answer: do not read ahead
        "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,  # else each new assignment waits a second
        "reconnect.backoff.ms": RECONNECT_MS,
        "log_level": LOG_CRITICAL,  # the rest reaches `error_cb`; by default it goes raw to stderr
    }
    if auth == "plaintext":
        return settings
    return settings | {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "OAUTHBEARER",
        "oauth_cb": _iam_token_source(),
    }


def _iam_token_source() -> Callable[[str], tuple[str, float]]:
    """What librdkafka calls for each token: it wants the expiry in seconds, the signer has milliseconds."""
    import botocore.session
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
    from botocore.exceptions import BotoCoreError

    session = botocore.session.get_session()
    region = session.get_config_variable("region")
    if not region:
        raise ConfigurationError("Kafka's IAM login needs an AWS region: AWS_DEFAULT_REGION is not set")

    def token(_: str) -> tuple[str, float]:
        text, expiry_ms = MSKAuthTokenProvider.generate_auth_token(region)
        return text, expiry_ms / 1000

    try:
        # Inside of librdkafka's call a failure would cost 10 s and lose its reason.
        if session.get_credentials() is None:
            raise ConfigurationError("Kafka's IAM login found no AWS credentials")
        token("")
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"Kafka's IAM login has no usable AWS credentials: {error}") from error
    return token
