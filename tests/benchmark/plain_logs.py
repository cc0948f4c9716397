"""The logs' windows with the standard library (json, re, datetime), plain dictionaries and pyarrow.

It makes the rows that our function makes of these lines and does less: it knows four formats and one name for each
field, a bad line would fail the batch, quantiles are of lists of all values, which cannot be merged, and the state
stays in this process without checkpoint or staging.
"""

import json
import math
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
from hourly import PLACE, TIMESTAMP, HourlyFiles

MINUTE_MS = 60_000
OUT_OF_ORDERNESS_MS = 60_000
COMBINED = re.compile(r'\S+ \S+ \S+ \[([^\]]+)\] "[^"]*" (\d{3}) (\d+|-) "[^"]*" "[^"]*"')
SYSLOG = re.compile(r"<(\d+)>1 (\S+) \S+ (\S+) \S+ \S+ (?:-|\[[^\]]*\]) .*")
SYSLOG_SEVERITIES = ("FATAL", "ERROR", "ERROR", "ERROR", "WARN", "INFO", "INFO", "DEBUG")
JAVA = re.compile(r"(\S+ \S+) \[[^\]]*\] (\w+) \S+ - .*")
ERROR_LEVELS = {"ERROR", "FATAL"}
FIRST_ERROR_STATUS = 500
PERCENTS = (50, 95, 99)

WINDOW = [("window_start", TIMESTAMP), ("window_end", TIMESTAMP), ("service", pa.string())]
SEVERITY_MINUTES = pa.schema(
    [*WINDOW, ("severity", pa.string()), ("status_class", pa.string()), ("events", pa.int64()), *PLACE]
)
# What a mean over several partitions is merged from are columns, too. What quantiles are merged from is left out.
MEAN = [("error_ratio", pa.float64()), ("error_ratio__sum", pa.int64()), ("error_ratio__count", pa.int64())]
QUANTILES = pa.struct([pa.field(f"p{percent}", pa.float64(), nullable=False) for percent in PERCENTS])
SERVICE_MINUTES = pa.schema(
    [
        *[*WINDOW, ("events", pa.int64()), ("errors", pa.int64()), *MEAN, ("unparsed", pa.int64())],
        *[("bytes", pa.int64()), ("latency_ms", QUANTILES), *PLACE],
    ]
)


class Line(NamedTuple):
    """What counts of a line."""

    time_ms: int
    service: str
    severity: str
    status_class: str | None
    is_error: int
    size: int | None
    latency_ms: float | None


class ServiceMinute:
    """One service's minute."""

    def __init__(self) -> None:
        self.events = self.errors = 0
        self.size: int | None = None
        self.latencies_ms: list[float] = []

    def add(self, line: Line) -> None:
        """Count one line."""
        self.events += 1
        self.errors += line.is_error
        if line.size is not None:
            self.size = line.size + (self.size or 0)
        if line.latency_ms is not None:
            self.latencies_ms.append(line.latency_ms)


class PartitionLogs:
    """The open windows of one partition."""

    def __init__(self, topic: str, partition: int) -> None:
        self._place = (topic, partition)
        self._watermark_ms = -(2**63)
        self._severities: dict[int, Counter[tuple[str, str, str | None]]] = {}
        self._services: dict[int, dict[str, ServiceMinute]] = {}

    def add(self, line: Line) -> None:
        """Count one line."""
        start_ms = line.time_ms - line.time_ms % MINUTE_MS
        if start_ms + MINUTE_MS > self._watermark_ms:
            self._severities.setdefault(start_ms, Counter())[line.service, line.severity, line.status_class] += 1
            services = self._services.setdefault(start_ms, {})
            if line.service not in services:
                services[line.service] = ServiceMinute()
            services[line.service].add(line)
        self._watermark_ms = max(self._watermark_ms, line.time_ms - OUT_OF_ORDERNESS_MS)

    def closed_severities(self) -> list[tuple[Any, ...]]:
        """Rows of the severities' windows that are over."""
        return [
            (start_ms, start_ms + MINUTE_MS, *key, events, *self._place)
            for start_ms in self._over(self._severities)
            for key, events in self._severities.pop(start_ms).items()
        ]

    def closed_services(self) -> list[tuple[Any, ...]]:
        """Rows of the services' windows that are over."""
        return [
            (
                *(start_ms, start_ms + MINUTE_MS, service, minute.events, minute.errors, minute.errors / minute.events),
                *(minute.errors, minute.events, 0, minute.size, quantiles(minute.latencies_ms), *self._place),
            )
            for start_ms in self._over(self._services)
            for service, minute in self._services.pop(start_ms).items()
        ]

    def _over(self, windows: dict[int, Any]) -> list[int]:
        return [start_ms for start_ms in sorted(windows) if start_ms + MINUTE_MS <= self._watermark_ms]


def quantiles(values: list[float]) -> dict[str, float] | None:
    """As ours: the smallest and the largest exact, others the middle of one of 64 parts between powers of two."""
    values = sorted(values)
    found = {}
    for percent in PERCENTS if values else ():
        rank = -(-percent * len(values) // 100)
        value = float(values[rank - 1])
        if 1 < rank < len(values):
            width = math.ldexp(1, math.frexp(value)[1] - 1) / 64
            value = min(max((value // width + 0.5) * width, values[0]), values[-1])
        found[f"p{percent}"] = value
    return found or None


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
                windows.add(_parsed(record))
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


def _parsed(record: dict[str, Any]) -> Line:
    text = b64decode(record["value"]).decode()
    if text.startswith("{"):
        fields = json.loads(text)
        moment, level = datetime.fromisoformat(fields["timestamp"]), fields["level"]
        is_error = int(level in ERROR_LEVELS)
        return Line(_epoch_ms(moment), fields["service"], level, None, is_error, None, fields.get("latency_ms"))
    service = b64decode(record["key"]).decode()
    if match := COMBINED.fullmatch(text):
        time, code, size = match.groups()
        moment = datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z")
        is_error = int(int(code) >= FIRST_ERROR_STATUS)
        in_bytes = None if size == "-" else int(size)
        return Line(_epoch_ms(moment), service, "UNSPECIFIED", f"{code[0]}xx", is_error, in_bytes, None)
    if match := SYSLOG.fullmatch(text):
        severity = SYSLOG_SEVERITIES[int(match[1]) % 8]
        moment = datetime.fromisoformat(match[2])
        return Line(_epoch_ms(moment), match[3], severity, None, int(severity in ERROR_LEVELS), None, None)
    if match := JAVA.fullmatch(text):
        moment = datetime.strptime(f"{match[1]} +0000", "%Y-%m-%d %H:%M:%S,%f %z")
        return Line(_epoch_ms(moment), service, match[2], None, int(match[2] in ERROR_LEVELS), None, None)
    raise ValueError(text)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
