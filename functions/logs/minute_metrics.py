"""The minutes of services as CloudWatch metrics, told once, by whoever committed them.

A metric costs by the month and by each of its dimensions' values, so the services that a process sees after the first
twenty are one, `other`. Minutes of long ago are left out: the lake has them, and no alarm looks back.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence

from headrace.lake import Rows
from observability import OTHER, emit

MAX_SERVICES = 20
MAX_CHARS = 250
"""Of a service's name: CloudWatch bounds the values of dimensions."""
_UNPRINTABLE = re.compile(r"[^ -~]|\A:")
"""What a dimension's value cannot have."""
RECENT_MS = 3 * 3_600_000
METRIC_OF = {"events": "LogEvents", "errors": "LogErrors", "unparsed": "LogLinesUnparsed", "bytes": "LogBytes"}
"""Columns of the table, of those that it has, and what their sums are called as metrics."""


class MinuteMetrics:
    """Shown the rows of commits, it writes those of the minutes; see `Pipeline`'s `on_commit`."""

    def __init__(self, table: str, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        """Nobody was seen yet.

        Args:
            table: with a row per minute and `service`.
            clock_ms: now, epoch milliseconds.
        """
        self._table = table
        self._clock_ms = clock_ms
        self._services: set[str] = set()

    def __call__(self, rows: Sequence[Rows]) -> None:
        """Write a line for each recent minute and service."""
        oldest_ms = self._clock_ms() - RECENT_MS
        counts: dict[tuple[int, str], Counter[str]] = {}
        for part in rows:
            if part.table.name == self._table:
                self._count(part, oldest_ms, counts)
        for (minute_ms, service), count in sorted(counts.items()):
            emit(count, "logs", at_ms=minute_ms, log_service=service)

    def _count(self, part: Rows, oldest_ms: int, counts: dict[tuple[int, str], Counter[str]]) -> None:
        columns = {
            field.name: array.to_pylist()
            for field, array in zip(part.table.fields, part.columns, strict=True)
            if field.name in METRIC_OF or field.name == "service"
        }
        services = columns.pop("service")
        for row, (minute_ms, service) in enumerate(zip(part.times_ms, services, strict=True)):
            if minute_ms >= oldest_ms:
                count = counts.setdefault((minute_ms, self._bounded(service)), Counter())
                count.update({METRIC_OF[name]: column[row] or 0 for name, column in columns.items()})

    def _bounded(self, service: str | None) -> str:
        name = _UNPRINTABLE.sub("?", service or "")[:MAX_CHARS].strip() or OTHER
        if name not in self._services and len(self._services) >= MAX_SERVICES:
            return OTHER
        self._services.add(name)
        return name
