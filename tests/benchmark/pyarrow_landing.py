"""Landing with a JSON parser per record and pyarrow's `Table.from_pylist`, which also checks the types.

It makes the rows that our function makes of good records and does less: no unknown fields are looked for, a bad
record would fail the batch, and there is no checkpoint or staging.
"""

import io
import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from hourly import PLACE, TIMESTAMP, HourlyFiles

HEADER = pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.binary())])
RECORD = [
    ("_rescued", pa.string()),
    *PLACE,
    ("_offset", pa.int64()),
    ("_timestamp_ms", pa.int64()),
    ("_key", pa.binary()),
    ("_headers", pa.list_(pa.field("element", HEADER, nullable=False))),
]
CLICKS = pa.schema(
    [
        ("user_id", pa.string()),
        ("page", pa.string()),
        ("event_type", pa.string()),
        ("timestamp", TIMESTAMP),
        ("session_id", pa.string()),
        ("value", pa.float64()),
        ("referrer", pa.string()),
        ("platform", pa.string()),
        *RECORD,
    ]
)


def _required(**members: pa.DataType) -> pa.StructType:
    return pa.struct([pa.field(name, kind, nullable=name == "email") for name, kind in members.items()])


_LINE = _required(sku=pa.string(), quantity=pa.int32(), price=pa.float64())
ORDERS = pa.schema(
    [
        ("order_id", pa.string()),
        ("created_at", TIMESTAMP),
        ("status", pa.string()),
        ("currency", pa.string()),
        ("amount", pa.float64()),
        ("tax", pa.float64()),
        ("express", pa.bool_()),
        ("customer", _required(id=pa.int64(), name=pa.string(), email=pa.string(), tier=pa.int32())),
        ("address", _required(street=pa.string(), city=pa.string(), zip=pa.string(), country=pa.string())),
        ("lines", pa.list_(pa.field("element", _LINE, nullable=False))),
        ("tags", pa.list_(pa.field("element", pa.string(), nullable=False))),
        ("channel", pa.string()),
        ("user_agent", pa.string()),
        ("referrer", pa.string()),
        ("session_id", pa.string()),
        ("note", pa.string()),
        *RECORD,
    ]
)
TOPICS = {"clicks": (CLICKS, "timestamp"), "orders": (ORDERS, "created_at")}
"""Schema and event time of each topic."""


def avro_parser(avsc: Path) -> Callable[[bytes], Any]:
    """A parser of bare Avro records, without logical types, as ours."""
    import fastavro  # noqa: PLC0415 - only for Avro

    schema = json.loads(avsc.read_text().replace('"logicalType"', '"was"'))
    parsed = fastavro.parse_schema(schema)
    return lambda value: fastavro.schemaless_reader(io.BytesIO(value), parsed, None)


def _in_micros(schema: pa.Schema) -> pa.Schema:
    """As ours: payloads have milliseconds, files microseconds."""
    micros = pa.timestamp("us", tz="UTC")
    return pa.schema([field.with_type(micros) if field.type == TIMESTAMP else field for field in schema])


class Landing:
    """The contestant, with one parser or another."""

    def __init__(self, parse: Callable[[bytes], Any]) -> None:
        self._parse = parse
        self._files = HourlyFiles()

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        for records in event["records"].values():
            rows = [self._row(record) for record in records]
            topic = rows[0]["_topic"]
            schema, event_time = TOPICS[topic]
            table = pa.Table.from_pylist(rows, schema).cast(_in_micros(schema))
            self._files.write(topic, table, [row[event_time] for row in rows])

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every file."""
        yield from self._files.written

    def _row(self, record: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = self._parse(b64decode(record["value"]))
        row["_topic"] = record["topic"]
        row["_partition"] = record["partition"]
        row["_offset"] = record["offset"]
        row["_timestamp_ms"] = record["timestamp"]
        row["_key"] = b64decode(record["key"])
        row["_headers"] = [
            # Negative bytes, which Java sends, would need a second look; there are none here.
            {"key": name, "value": bytes(value)}
            for header in record["headers"]
            for name, value in header.items()
        ]
        return row
