"""Landing with a JSON parser per record and pyarrow's `Table.from_pylist`, which also checks the types.

It makes the rows that our function makes of good records and does less: no unknown fields are looked for, a bad
record would fail the batch, and there is no checkpoint or staging.
"""

from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from hourly import PLACE, TIMESTAMP, HourlyFiles

HEADER = pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.binary())])
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
        ("_rescued", pa.string()),
        *PLACE,
        ("_offset", pa.int64()),
        ("_timestamp_ms", pa.int64()),
        ("_key", pa.binary()),
        ("_headers", pa.list_(pa.field("element", HEADER, nullable=False))),
    ]
)


class Landing:
    """The contestant, with one parser or another."""

    def __init__(self, parse: Callable[[bytes], Any]) -> None:
        self._parse = parse
        self._files = HourlyFiles()

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        for records in event["records"].values():
            rows = [self._row(record) for record in records]
            self._files.write("clicks", pa.Table.from_pylist(rows, CLICKS), [row["timestamp"] for row in rows])

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
