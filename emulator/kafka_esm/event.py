"""The event a Kafka event source mapping sends to its function, byte for byte.

Each record is serialised once, when it arrives; a payload is those bytes joined. That makes the size of
a payload a sum, so that cutting a batch at the payload limit costs nothing per attempt.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PAYLOAD_LIMIT_BYTES = 6 * 1024 * 1024
"""Lambda's limit for a synchronous payload. A runtime interface emulator cuts longer ones silently."""

MSK = "aws:kafka"
SELF_MANAGED = "SelfManagedKafka"

Header = tuple[str, bytes | None]
"""A name and its bytes; the same name may occur more than once."""


class TopicPartition(NamedTuple):
    """One ordered log."""

    topic: str
    """Name of the topic; may contain dashes."""
    partition: int
    """Number of the partition, from 0."""


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record as the consumer saw it."""

    topic: str
    """Name of the topic."""
    partition: int
    """Number of the partition."""
    offset: int
    """Position in the partition."""
    timestamp_ms: int
    """Milliseconds since the epoch."""
    timestamp_type: str
    """`CREATE_TIME` (the producer's clock) or `LOG_APPEND_TIME` (the broker's)."""
    key: bytes | None
    """Absent from the event when null."""
    value: bytes | None
    """Null for a tombstone; then absent from the event."""
    headers: tuple[Header, ...] = ()
    """In the order they were produced."""


class EncodedRecord(NamedTuple):
    """A record's place and its JSON."""

    source: TopicPartition
    """The partition it came from."""
    offset: int
    """Its position there."""
    json: bytes
    """Its JSON object, as it stands in the payload."""


def encode(record: Record) -> EncodedRecord:
    """Serialise one record the way Lambda does."""
    fields: dict[str, object] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "timestampType": record.timestamp_type,
    }
    if record.key is not None:
        fields["key"] = b64encode(record.key).decode("ascii")
    if record.value is not None:
        fields["value"] = b64encode(record.value).decode("ascii")
    fields["headers"] = [{name: _signed(value)} for name, value in record.headers]
    return EncodedRecord(TopicPartition(record.topic, record.partition), record.offset, _json(fields))


def _signed(value: bytes | None) -> list[int]:
    """Java's bytes run from -128 to 127; a null header value becomes an empty array (not documented)."""
    return [byte - 256 if byte > 127 else byte for byte in value or b""]  # noqa: PLR2004 - a byte's sign bit


@dataclass(frozen=True, slots=True)
class Envelope:
    """What surrounds the records in every event of one mapping."""

    event_source: str
    """`aws:kafka` or `SelfManagedKafka`."""
    event_source_arn: str | None
    """ARN of the MSK cluster; a self-managed cluster has none."""
    bootstrap_servers: str
    """One string, comma-joined."""

    def payload(self, partitions: Mapping[TopicPartition, Sequence[EncodedRecord]]) -> bytes:
        """Return the event as JSON."""
        entries = b",".join(_entry(source, records) for source, records in partitions.items() if records)
        return b"%s%s}}" % (self.opening(), entries)

    def opening(self) -> bytes:
        """Return the JSON up to and including the bracket that opens `records`."""
        fields = {"eventSource": self.event_source}
        if self.event_source_arn is not None:
            fields["eventSourceArn"] = self.event_source_arn
        fields["bootstrapServers"] = self.bootstrap_servers
        return b'%s,"records":{' % _json(fields)[:-1]

    def empty_size(self) -> int:
        """Return the bytes of a payload without records."""
        return len(self.opening()) + len(b"}}")


def entry_size(source: TopicPartition) -> int:
    """Return the bytes a partition adds before its records: its key, colon and brackets."""
    return len(_json(f"{source.topic}-{source.partition}")) + len(b":[]")


class PayloadSize:
    """The exact size of a payload that grows record by record."""

    def __init__(self, envelope: Envelope) -> None:
        self._bytes = envelope.empty_size()
        self._sources: set[TopicPartition] = set()

    @property
    def bytes(self) -> int:
        """The size with every record added so far."""
        return self._bytes

    def with_record(self, record: EncodedRecord) -> int:
        """Return what the size would be with one more record."""
        if record.source in self._sources:
            return self._bytes + len(b",") + len(record.json)
        separator = len(b",") if self._sources else 0
        return self._bytes + separator + entry_size(record.source) + len(record.json)

    def add(self, record: EncodedRecord) -> None:
        """Count one more record."""
        self._bytes = self.with_record(record)
        self._sources.add(record.source)


def _entry(source: TopicPartition, records: Iterable[EncodedRecord]) -> bytes:
    key = _json(f"{source.topic}-{source.partition}")
    return b"%s:[%s]" % (key, b",".join(record.json for record in records))


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def _json(value: object) -> bytes:
    return _encoder.encode(value).encode()
