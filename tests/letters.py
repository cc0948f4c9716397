"""Dead letters and late rows made by hand, published as a pipeline publishes them."""

from collections.abc import Sequence

from headrace import lake, own_tables
from headrace.errors import PoisonError
from headrace.objects import ObjectStoreOutbox
from headrace.operators import LateRecord
from headrace.records import Record

NOON_MS = 1_710_331_200_000
"""2024-03-13T12:00:00Z."""


def record(offset: int, *, topic: str = "clicks", partition: int = 0, at_ms: int = NOON_MS, **fields: object) -> Record:
    return Record(topic, partition, offset, at_ms, **{"key": b"user", "value": b"{", **fields})


def dead(records: Sequence[Record], reason: str = "invalid_json") -> lake.Rows:
    return own_tables.dead_letter_rows([(each, PoisonError(reason, f"as {each.offset} shows")) for each in records])


def late(records: Sequence[Record], operators: Sequence[str] = ("sessions",)) -> lake.Rows:
    start_ms, end_ms, watermark_ms = NOON_MS - 120_000, NOON_MS - 60_000, NOON_MS
    return own_tables.late_rows(
        [
            LateRecord(
                operator,
                each,
                start_ms,
                start_ms,
                end_ms,
                windows=1,
                watermark_ms=watermark_ms,
                late_by_ms=watermark_ms - end_ms,
            )
            for each in records
            for operator in operators
        ]
    )


def publish(
    objects: ObjectStoreOutbox,
    rows: lake.Rows,
    *,
    pipeline: str = "clickstream",
    generation: str = "1",
    topic: str = "clicks",
    partition: int = 0,
    version: int = 1,
) -> list[str]:
    """Write the rows as one commit of that version; the keys."""
    place = {"pipeline": pipeline, "generation": generation, "topic": topic, "partition": partition, "version": version}
    encoded = [lake.encode(part, {}) for part in lake.split(rows)]
    files = {lake.final_key(file, **place, number=n): file.content for n, file in enumerate(encoded)}
    objects.stage(files)
    return list(files)
