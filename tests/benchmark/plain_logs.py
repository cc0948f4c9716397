"""The logs' windows with the standard library (json, re, datetime), plain dictionaries and pyarrow.

It makes the rows that our function makes of these lines and does less: it knows two formats and one name for each
field, a bad line would fail the batch, and the state stays in this process without checkpoint or staging.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pyarrow as pa
from hourly import PLACE, TIMESTAMP, HourlyFiles

MINUTE_MS = 60_000
OUT_OF_ORDERNESS_MS = 60_000
COMBINED = re.compile(r'\S+ \S+ \S+ \[([^\]]+)\] "[^"]*" (\d{3}) \S+ "[^"]*" "[^"]*"')
ERROR_LEVELS = {"ERROR", "FATAL"}
FIRST_ERROR_STATUS = 500

WINDOW = [("window_start", TIMESTAMP), ("window_end", TIMESTAMP), ("service", pa.string())]
SEVERITY_MINUTES = pa.schema([*WINDOW, ("severity", pa.string()), ("events", pa.int64()), *PLACE])
# What a mean over several partitions is merged from are columns, too.
MEAN = [("error_ratio", pa.float64()), ("error_ratio__sum", pa.int64()), ("error_ratio__count", pa.int64())]
SERVICE_MINUTES = pa.schema([*WINDOW, ("events", pa.int64()), ("errors", pa.int64()), *MEAN, *PLACE])

Counts = dict[int, dict[tuple[str, ...], list[int]]]
"""Window start to key to numbers."""


class PartitionLogs:
    """The open windows of one partition."""

    def __init__(self, topic: str, partition: int) -> None:
        self._place = (topic, partition)
        self._watermark_ms = -(2**63)
        self._severities: Counts = {}
        self._services: Counts = {}

    def add(self, time_ms: int, service: str, severity: str, is_error: int) -> None:
        """Count one line."""
        start_ms = time_ms - time_ms % MINUTE_MS
        if start_ms + MINUTE_MS > self._watermark_ms:
            self._severities.setdefault(start_ms, {}).setdefault((service, severity), [0])[0] += 1
            counts = self._services.setdefault(start_ms, {}).setdefault((service,), [0, 0])
            counts[0] += 1
            counts[1] += is_error
        self._watermark_ms = max(self._watermark_ms, time_ms - OUT_OF_ORDERNESS_MS)

    def closed_severities(self) -> list[tuple[Any, ...]]:
        """Rows of the severities' windows that are over."""
        return [(*row, *counts, *self._place) for row, counts in self._closed(self._severities)]

    def closed_services(self) -> list[tuple[Any, ...]]:
        """Rows of the services' windows that are over."""
        return [
            (*row, events, errors, errors / events, errors, events, *self._place)
            for row, (events, errors) in self._closed(self._services)
        ]

    def _closed(self, windows: Counts) -> Iterator[tuple[tuple[Any, ...], list[int]]]:
        for start_ms in sorted(windows):
            if start_ms + MINUTE_MS <= self._watermark_ms:
                for key, counts in windows.pop(start_ms).items():
                    yield (start_ms, start_ms + MINUTE_MS, *key), counts


class Logs:
    """The contestant."""

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, int], PartitionLogs] = {}
        self._files = HourlyFiles()

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        for records in event["records"].values():
            place = (records[0]["topic"], records[0]["partition"])
            windows = self._partitions.setdefault(place, PartitionLogs(*place))
            for record in records:
                windows.add(*_parsed(record))
            self._write("severity_minutes", SEVERITY_MINUTES, windows.closed_severities())
            self._write("service_minutes", SERVICE_MINUTES, windows.closed_services())

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every file."""
        yield from self._files.written

    def _write(self, name: str, schema: pa.Schema, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        columns = [list(column) for column in zip(*rows, strict=True)]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        self._files.write(name, pa.Table.from_arrays(arrays, schema=schema), columns[0])


def _parsed(record: dict[str, Any]) -> tuple[int, str, str, int]:
    """Time, service, severity, and 1 for an error."""
    line = b64decode(record["value"]).decode()
    if line.startswith("{"):
        fields = json.loads(line)
        moment = datetime.fromisoformat(fields["timestamp"])
        level = fields["level"]
        return _epoch_ms(moment), fields["service"], level, int(level in ERROR_LEVELS)
    match = COMBINED.fullmatch(line)
    if match is None:
        raise ValueError(line)
    time, code = match.groups()
    moment = datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z")
    service = b64decode(record["key"]).decode()
    return _epoch_ms(moment), service, f"{code[0]}xx", int(int(code) >= FIRST_ERROR_STATUS)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
