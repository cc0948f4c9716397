"""The Lambda event of a Kafka event source mapping, decoded into records per partition.

Shape: AWS Lambda developer guide, "Using Lambda with Amazon MSK" and "… with self-managed Apache Kafka".
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from headrace.errors import EventError, FirehoseEventError
from headrace.records import JsonRecord, Record, TopicPartition

EVENT_SOURCES = ("aws:kafka", "SelfManagedKafka", "aws:SelfManagedKafka")
"""Values of `eventSource`: MSK's, self-managed Kafka's, and the latter as some of AWS's own samples write it."""

_offset = attrgetter("offset")
_FIREHOSE_MARKERS = ("deliveryStreamArn", "sourceMSKArn")


class _Envelope(msgspec.Struct, rename="camel", gc=False):
    event_source: str
    records: dict[str, list[Record]]


class _JsonEnvelope(msgspec.Struct, rename="camel", gc=False):
    event_source: str
    records: dict[str, list[JsonRecord]]


_decode_json = msgspec.json.Decoder(_JsonEnvelope).decode


def decode(event: Mapping[str, Any] | bytes) -> dict[TopicPartition, list[Record]]:
    """Group the event's records by partition, in offset order.

    A record's own topic and partition decide, not the key of the map it came under: topic names may contain
    the dash that joins the key's two halves, and AWS's own samples have keys that disagree.

    Args:
        event: what the Lambda runtime passed, parsed or as raw JSON bytes.

    Raises:
        FirehoseEventError: Firehose's event about an MSK source.
        EventError: anything else that no Kafka event source mapping sends.
    """
    envelope = _envelope(event)
    if envelope.event_source not in EVENT_SOURCES:
        raise EventError(f"eventSource is {envelope.event_source!r}, expected one of {', '.join(EVENT_SOURCES)}")
    partitions: dict[TopicPartition, list[Record]] = {}
    for records in envelope.records.values():
        _group(records, partitions)
    for records in partitions.values():
        _order(records)
    return partitions


def _envelope(event: Mapping[str, Any] | bytes) -> _Envelope | _JsonEnvelope:
    try:
        return _decode_json(event) if isinstance(event, bytes) else msgspec.convert(event, _Envelope)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _refusal(event, error) from None


def _refusal(event: Mapping[str, Any] | bytes, error: Exception) -> EventError:
    if _is_firehoses(event):
        return FirehoseEventError(
            "this is a Firehose transformation event for an MSK source, not an event source mapping's: "
            "attach the function to the topic with a Kafka event source mapping instead"
        )
    return EventError(f"not a Kafka event source mapping's event: {error}")


def _is_firehoses(event: Any) -> bool:
    if isinstance(event, bytes):
        return any(marker.encode() in event for marker in _FIREHOSE_MARKERS)
    return isinstance(event, Mapping) and any(marker in event for marker in _FIREHOSE_MARKERS)


def _group(records: Sequence[Record], partitions: dict[TopicPartition, list[Record]]) -> None:
    if not records:
        return
    topics, numbers = [record.topic for record in records], [record.partition for record in records]
    if topics.count(topics[0]) == numbers.count(numbers[0]) == len(records):  # as it should be: one place, seen in C
        partitions.setdefault(TopicPartition(topics[0], numbers[0]), []).extend(records)
        return
    for record in records:
        partitions.setdefault(record.topic_partition, []).append(record)


def _order(records: list[Record]) -> None:
    # The mapping delivers in offset order; sorting what is sorted already is one pass in C.
    records.sort(key=_offset)
