"""The record and its place in Kafka: what every other module talks about."""

import binascii
from collections.abc import Sequence
from itertools import repeat
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
    AWS's Java library writes them; of an event in bytes its piece of JSON (`msgspec.Raw`), which costs a tenth of
    making objects of it. Looked at only when asked: most records' headers never are."""
    key_schema: SchemaMetadata | None = None
    """Registry facts about the key."""
    value_schema: SchemaMetadata | None = None
    """Registry facts about the value."""

    @property
    def topic_partition(self) -> TopicPartition:
        """Where the record lives."""
        return TopicPartition(self.topic, self.partition)

    @property
    def headers(self) -> "Headers":
        """Header names and bytes, in order; a name may repeat.

        Raises:
            EventError: the headers are not what an event source mapping sends.
        """
        raw = self.raw_headers
        if not raw:
            return ()
        try:
            if isinstance(raw, msgspec.Raw):
                raw = (msgspec.json.decode(raw) if bytes(raw) else None) or ()
            return tuple([(str(name), _header_bytes(data)) for item in raw for name, data in item.items()])
        except (AttributeError, TypeError, ValueError) as error:
            raise EventError(f"headers of {self.topic_partition} at offset {self.offset}: {error}") from None


Headers = tuple[tuple[str, bytes | None], ...]
"""A record's headers, in order; a name may repeat."""


class JsonRecord(Record, frozen=True, gc=False, eq=False):
    """A record of an event in bytes; equal to one of an event in objects, if their headers are."""

    raw_headers: msgspec.Raw = msgspec.Raw()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and _content(self) == _content(other)

    __hash__ = None  # type: ignore[assignment] # as a record with headers in a list has none


def different_headers(records: Sequence[Record]) -> tuple[list[Headers], list[int]]:
    """The different headers of these records, and for each record which of them it has.

    They are told apart by their JSON: producers often send the same with every record, and making bytes of them costs
    much more than comparing texts.

    Raises:
        EventError: as `Record.headers`.
    """
    raws = [record.raw_headers for record in records]
    in_json = all(map(isinstance, raws, repeat(msgspec.Raw)))
    if in_json and raws and raws.count(raws[0]) == len(raws):  # compared where they are
        return [records[0].headers], [0] * len(raws)
    texts: list[bytes] = list(map(bytes if in_json else msgspec.json.encode, raws))
    of_text = dict(zip(texts, records, strict=True))
    number = {text: number for number, text in enumerate(of_text)}
    return [record.headers for record in of_text.values()], list(map(number.__getitem__, texts))


def _content(record: Record) -> tuple[Any, ...]:
    others = (getattr(record, name) for name in record.__struct_fields__ if name != "raw_headers")
    return *others, record.headers


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
