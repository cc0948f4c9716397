"""A mapping's Kafka consumer: reads every partition of one topic, commits for one group.

Partitions are assigned explicitly. A group subscription would make a restarted mapping wait for the
session of its predecessor to run out, and one mapping reads all partitions anyway.

The consumer belongs to one thread.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
)
from confluent_kafka import TopicPartition as KafkaPartition

from kafka_esm.errors import BrokerError, BrokerUnreachableError, OffsetLostError
from kafka_esm.event import Record, TopicPartition

_LOG = logging.getLogger("kafka_esm.librdkafka")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False  # one line per connection attempt; the errors that matter are raised

_TIMEOUT_SECONDS = 5.0
_PREFETCH_KILOBYTES = 16 * 1024
_UNREACHABLE = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._TRANSPORT}  # noqa: SLF001 - public
# A broker that has just started, or made its first group, looks for the groups it coordinates.
_COORDINATOR_ABSENT = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError._WAIT_COORD,  # noqa: SLF001 - public
}
_COORDINATOR_PAUSE_SECONDS = 0.1
_OUT_OF_RANGE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 - public


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition starts when its group has no committed offset."""

    position: str
    """TRIM_HORIZON, LATEST or AT_TIMESTAMP."""
    timestamp_ms: int | None = None
    """For AT_TIMESTAMP."""


class TopicConsumer:
    """Reads one topic for one group, from the committed offsets on."""

    def __init__(self, bootstrap_servers: str, topic: str, group: str, start: Start) -> None:
        self._servers = bootstrap_servers
        self._topic = topic
        self._start = start
        self._positions: dict[int, int] = {}
        self._read_until: dict[int, int] = {}
        self._topic_was_missing = False
        self.met_broker = False
        """Whether a broker ever answered: if not, the address may be wrong."""
        self._consumer: Consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                # An assumption: AWS does not say what its pollers do with records of a transaction.
                "isolation.level": "read_committed",
                # No session is kept, but so long a commit waits for a broker that is away.
                "session.timeout.ms": 6_000,
                "fetch.wait.max.ms": 100,
                # A single queue for all partitions: this bounds the memory of the mapping.
                "queued.max.messages.kbytes": _PREFETCH_KILOBYTES,
                "fetch.message.max.bytes": 2 * 1024 * 1024,
                "topic.metadata.refresh.interval.ms": 5_000,
            },
            logger=_LOG,
        )

    @property
    def positions(self) -> Mapping[int, int]:
        """Per partition, the offset the group continues at: committed, or where it started."""
        return dict(self._positions)

    def discover(self) -> list[TopicPartition]:
        """Assign partitions that are new, and return them; none while the topic does not exist.

        Partitions that appear after the first look start at their beginning: all they hold was produced
        while the mapping was running.
        """
        new = sorted(set(self._partitions()) - set(self._positions))
        if not new:
            self._topic_was_missing |= not self._positions
            return []
        is_late = self._topic_was_missing or bool(self._positions)
        starts = self._starting_offsets(new, Start("TRIM_HORIZON") if is_late else self._start)
        self._call(
            self._consumer.incremental_assign,
            [KafkaPartition(self._topic, number, offset) for number, offset in starts.items()],
        )
        self._positions.update(starts)
        return [TopicPartition(self._topic, number) for number in new]

    def read(self, count: int, timeout_seconds: float) -> list[Record]:
        """Return up to `count` records, waiting only for the first.

        Raises:
            OffsetLostError: the next offset is no longer in the topic.
            BrokerError: the broker answered with an error that does not pass by itself.
        """
        first = self._call(self._consumer.poll, timeout_seconds)
        if first is None:
            return []
        rest = self._call(self._consumer.consume, count - 1, 0) if count > 1 else []
        return [record for message in [first, *rest] if (record := self._record(message)) is not None]

    def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Commit to the group, and wait for the broker's answer.

        What is committed never goes back: offsets below it, of records that came again, are left out.
        """
        ahead = {source: end for source, end in next_offsets.items() if end > self._positions[source.partition]}
        if not ahead:
            return
        offsets = [KafkaPartition(*source, offset) for source, offset in ahead.items()]
        for answer in self._call(self._consumer.commit, offsets=offsets, asynchronous=False):
            if answer.error is not None:
                raise BrokerError(f"{answer.topic}-{answer.partition}: {answer.error.str()}: commit failed")
        self._positions.update({source.partition: offset for source, offset in ahead.items()})

    def rewind(self) -> None:
        """Go back to `positions`: what was read and not committed is read again. Asks no broker."""
        self._read_until.clear()
        places = [KafkaPartition(self._topic, number, offset) for number, offset in self._positions.items()]
        self._call(self._consumer.assign, places)

    def lag(self) -> dict[int, int]:
        """Return how many offsets each partition is behind the broker's high watermark, asked now.

        The end of a partition may be a transaction marker, which is never delivered: what was read
        counts as well as what was committed. It says nothing about records read but not committed.

        Raises:
            OffsetLostError: a partition ends before the group's offset: nobody will ever be there.
        """
        return {number: self._lag(number, position) for number, position in self._positions.items()}

    def close(self) -> None:
        """Leave; nothing is committed here."""
        self._consumer.close()

    def _partitions(self) -> list[int]:
        metadata = self._call(self._consumer.list_topics, self._topic, timeout=_TIMEOUT_SECONDS)
        self.met_broker = True
        topic = metadata.topics.get(self._topic)
        if topic is None or topic.error is not None:
            return []
        return list(topic.partitions)

    def _starting_offsets(self, numbers: list[int], start: Start) -> dict[int, int]:
        committed = self._call(self._consumer.committed, self._asked(numbers), timeout=_TIMEOUT_SECONDS)
        for answer in committed:
            # Taken for "never committed" it would start the group again from its beginning.
            if answer.error is not None:
                raise BrokerError(f"{answer.topic}-{answer.partition}: {answer.error.str()}: no committed offset")
        known = {answer.partition: answer.offset for answer in committed if answer.offset >= 0}
        unknown = [number for number in numbers if number not in known]
        return dict(sorted({**known, **self._first_offsets(unknown, start)}.items()))

    def _first_offsets(self, numbers: list[int], start: Start) -> dict[int, int]:
        if start.position == "AT_TIMESTAMP":
            return self._offsets_at(numbers, start.timestamp_ms or 0)
        bounds = {number: self._watermarks(number) for number in numbers}
        return {number: high if start.position == "LATEST" else low for number, (low, high) in bounds.items()}

    def _offsets_at(self, numbers: list[int], timestamp_ms: int) -> dict[int, int]:
        asked = [KafkaPartition(self._topic, number, timestamp_ms) for number in numbers]
        answers = self._call(self._consumer.offsets_for_times, asked, timeout=_TIMEOUT_SECONDS) if asked else []
        # No record is that young: the partition starts at its end.
        return {
            answer.partition: answer.offset if answer.offset >= 0 else self._high(answer.partition)
            for answer in answers
        }

    def _asked(self, numbers: list[int]) -> list[KafkaPartition]:
        return [KafkaPartition(self._topic, number, OFFSET_INVALID) for number in numbers]

    def _lag(self, number: int, position: int) -> int:
        high = self._high(number)
        if high < position:
            raise self._lost(number, position)
        return max(0, high - self._reached(number))

    def _high(self, number: int) -> int:
        return self._watermarks(number)[1]

    def _reached(self, number: int) -> int:
        return max(self._positions[number], self._read_until.get(number, 0))

    def _watermarks(self, number: int) -> tuple[int, int]:
        bounds: tuple[int, int] = self._call(
            self._consumer.get_watermark_offsets,
            KafkaPartition(self._topic, number),
            timeout=_TIMEOUT_SECONDS,
        )
        return bounds

    def _record(self, message: Any) -> Record | None:
        if message.error() is not None:
            self._note_error(message)
            return None
        kind, timestamp_ms = message.timestamp()
        return Record(
            topic=message.topic(),
            partition=message.partition(),
            offset=message.offset(),
            timestamp_ms=timestamp_ms,
            timestamp_type="LOG_APPEND_TIME" if kind == TIMESTAMP_LOG_APPEND_TIME else "CREATE_TIME",
            key=message.key(),
            value=message.value(),
            headers=tuple(message.headers() or ()),
        )

    def _note_error(self, message: Any) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - public
            self._read_until[message.partition()] = message.offset()
        elif error.code() in _OUT_OF_RANGE:
            raise self._lost(message.partition(), message.offset())
        elif error.fatal() or not (error.retriable() or error.code() in _UNREACHABLE):
            raise BrokerError(f"{self._topic}: {error.str()}")

    def _lost(self, partition: int, offset: int) -> OffsetLostError:
        return OffsetLostError(self._topic, partition, offset, *self._watermarks(partition))

    def _call(self, method: Any, *arguments: Any, **options: Any) -> Any:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while True:
            try:
                return method(*arguments, **options)
            except KafkaException as problem:
                error = problem.args[0]
                if error.code() in _UNREACHABLE:
                    raise BrokerUnreachableError(self._servers, error.str()) from problem
                if error.code() not in _COORDINATOR_ABSENT or time.monotonic() > deadline:
                    raise BrokerError(f"{self._topic}: {error.str()}") from problem
            time.sleep(_COORDINATOR_PAUSE_SECONDS)
