"""Records, events and topologies made by hand for the tests."""

import base64
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from arro3.io import read_parquet

from headrace import schema
from headrace.aggregates import Count, First, Last, Sum
from headrace.codec import JsonCodec
from headrace.lake import LAKE
from headrace.operators import Land, Operator
from headrace.records import Record
from headrace.topology import Topology
from headrace.windowed import Windowed
from headrace.windows import SessionWindows, TumblingWindows

NOON_MS = 1_710_331_200_000
"""2024-03-13T12:00:00Z."""

HIT_AVSC = json.dumps(
    {
        "type": "record",
        "name": "Hit",
        "fields": [
            {"name": "user", "type": "string"},
            {"name": "page", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "value", "type": ["null", "double"], "default": None},
        ],
    }
)
PER_PAGE = Windowed(
    table="pages",
    window=TumblingWindows(size_ms=10),
    key=("page",),
    aggregates={"events": Count(), "value_sum": Sum("value")},
)
PER_USER = Windowed(
    table="sessions",
    window=SessionWindows(gap_ms=10),
    key=("user",),
    aggregates={"events": Count(), "first_page": First("page"), "last_page": Last("page")},
)


def topology(
    *operators: Operator, out_of_orderness_ms: int = 0, allowed_lateness_ms: int = 0, max_skew_ms: int = 10**15
) -> Topology:
    return Topology(
        codec=JsonCodec(schema.parse(HIT_AVSC)),
        operators=operators or (PER_PAGE, PER_USER, Land()),
        event_time="at",
        out_of_orderness_ms=out_of_orderness_ms,
        allowed_lateness_ms=allowed_lateness_ms,
        max_skew_ms=max_skew_ms,
    )


def hit(offset: int, at_ms: int, user: str = "ann", page: str = "/", value: float | None = None, **more: Any) -> Record:
    fields = {"user": user, "page": page, "at": at_ms, "value": value}
    return record(offset, json.dumps(fields).encode(), **more)


def record(
    offset: int,
    value: bytes | None,
    *,
    topic: str = "hits",
    partition: int = 0,
    timestamp_ms: int = 0,
    key: bytes | None = b"k",
) -> Record:
    return Record(topic, partition, offset, timestamp_ms or NOON_MS + offset, "CREATE_TIME", key=key, value=value)


def lambda_event(records: Iterable[Record]) -> dict[str, Any]:
    """The event in which an event source mapping would deliver the records."""
    partitions: dict[str, list[dict[str, Any]]] = {}
    for item in records:
        fields: dict[str, Any] = {
            "topic": item.topic,
            "partition": item.partition,
            "offset": item.offset,
            "timestamp": item.timestamp_ms,
            "timestampType": item.timestamp_type,
            "headers": item.raw_headers or [],
        }
        for name, data in (("key", item.key), ("value", item.value)):
            if data is not None:
                fields[name] = base64.b64encode(data).decode()
        partitions.setdefault(str(item.topic_partition), []).append(fields)
    return {"eventSource": "aws:kafka", "eventSourceArn": "arn", "bootstrapServers": "b:9092", "records": partitions}


def table_rows(objects: Any, *, without: Sequence[str] = ()) -> dict[str, Counter[tuple[Any, ...]]]:
    """The published rows of a memory outbox, as a multiset per table."""
    tables: dict[str, Counter[tuple[Any, ...]]] = {}
    for key in objects.keys(f"{LAKE}/"):
        rows = tables.setdefault("/".join(key.split("/")[1:3]), Counter())
        for batch in read_parquet(io.BytesIO(objects.read(key))):
            names = [name for name in batch.schema.names if name not in without]
            columns = [map(_hashable, batch.column(name).to_pylist()) for name in names]
            rows.update(zip(*columns, strict=True))
    return tables


def _hashable(value: Any) -> Any:
    return json.dumps(value, default=repr) if isinstance(value, list | dict) else value
