"""The record and its place in Kafka: what every other module talks about."""

import binascii
from typing import Any, NamedTuple

import msgspec

from headrace.errors import EventError


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


class SchemaMetadata(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What the event source mapping says of a payload that it checked against a registry."""

    data_format: str | None = None
    """`AVRO`, `JSON` or `PROTOBUF`: the registered format, even when the mapping converted to JSON."""
    schema_id: str | None = None
    """The registry's identifier of the writer's schema."""


class Record(
    msgspec.Struct,
    frozen=True,
    gc=False,
    rename={
        "timestamp_ms": "timestamp",
        "timestamp_type": "timestampType",
        "raw_headers": "headers",
        "key_schema": "keySchemaMetadata",
        "value_schema": "valueSchemaMetadata",
    },
):
    """One Kafka record as an event source mapping delivers it (base64 already decoded).

    A struct, not a dataclass, because msgspec fills it in C straight from the event: the one object per
    record that the hot path pays for. `gc=False` is safe: a record never refers back to itself.
    """

    topic: str
    """The topic's name."""
    partition: int
    """The partition's number."""
    offset: int
    """The record's offset in its partition."""
    timestamp_ms: int = -1
    """Kafka's timestamp, epoch milliseconds; -1 when the broker had none."""
    timestamp_type: str | None = None
    """`CREATE_TIME` or `LOG_APPEND_TIME`."""
    key: bytes | None = None
    """The record's key; None when absent or null."""
    value: bytes | None = None
    """The payload; None for a tombstone (null or absent)."""
    raw_headers: Any = None
    """Headers as the event has them: a list of one-key maps, bytes as integers that may be signed, or in base64 as
    AWS's Java library writes them. Looked at only when asked: most records' headers never are."""
    key_schema: SchemaMetadata | None = None
    """Registry facts about the key."""
    value_schema: SchemaMetadata | None = None
    """Registry facts about the value."""

    @property
    def topic_partition(self) -> TopicPartition:
        """Where the record lives."""
        return TopicPartition(self.topic, self.partition)

    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]:
        """Header names and bytes, in order; a name may repeat.

        Raises:
            EventError: the headers are not what an event source mapping sends.
        """
        if not self.raw_headers:
            return ()
        try:
            return tuple([(str(name), _header_bytes(data)) for item in self.raw_headers for name, data in item.items()])
        except (AttributeError, TypeError, ValueError) as error:
            raise EventError(f"headers of {self.topic_partition} at offset {self.offset}: {error}") from None


def _header_bytes(data: list[int] | str | None) -> bytes | None:
    if data is None:
        return None
    if isinstance(data, str):
        return binascii.a2b_base64(data, strict_mode=True)
    if not isinstance(data, list):
        raise TypeError(f"a value is {type(data).__name__}")
    try:
        return bytes(data)
    except ValueError:  # Java bytes are signed: the event has -1 where the wire has 0xff.
        return bytes([byte & 0xFF for byte in data])
