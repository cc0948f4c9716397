"""A landing pipeline on a folder, and Iceberg tables over its lake: the real parts of a laptop."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from samples import lambda_event

from headrace import schema
from headrace.codec import JsonCodec
from headrace.folder import FolderCheckpointStore
from headrace.objects import open_lake
from headrace.operators import Land
from headrace.pipeline import Pipeline
from headrace.records import Record
from headrace.topology import Topology
from headrace_iceberg.committer import Committer
from headrace_iceberg.tables import TableId, Tables, sql_catalog

HOUR_MS = 3_600_000
T0 = 1_710_324_000_000
"""2024-03-13T10:00:00Z."""
CLICK = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "user", "type": "string"},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        {"name": "value", "type": "int"},
    ],
}
CLICKS = TableId("landing", "clicks", "1")


def click(offset: int, at_ms: int | None = T0, partition: int = 0, **fields) -> Record:
    value = {"user": f"u{offset % 3}", "at": at_ms, "value": offset} | fields
    arrival_ms = T0 if at_ms is None else at_ms
    return Record("clicks", partition, offset, arrival_ms, value=json.dumps(value).encode())


class World:
    """Everything below one folder; each `process` and `committer` is a new process on it."""

    def __init__(self, root: Path) -> None:
        self.lake = f"file:{root}"
        self.objects = open_lake(self.lake)
        self.checkpoints = FolderCheckpointStore(root / "checkpoints")
        self.tables = self.open_tables(root)
        self.root = root

    def open_tables(self, root: Path) -> Tables:
        return Tables(sql_catalog(root / "iceberg.db"), "headrace", self.lake)

    def process(self, fields=CLICK, generation: str = "1", bucket: str = "hour", **stores) -> Pipeline:
        codec = JsonCodec(schema.parse(json.dumps(fields)))
        made = Topology(codec=codec, operators=(Land(bucket),), event_time="at")
        return Pipeline(
            "landing",
            lambda _topic: made,
            stores.get("checkpoints", self.checkpoints),
            stores.get("outbox", self.objects),
            generation=generation,
        )

    def land(self, records: Iterable[Record], fields=CLICK, generation: str = "1", bucket: str = "hour") -> None:
        self.process(fields, generation, bucket).handle(lambda_event(records))

    def committer(self, **options) -> Committer:
        parts = {"tables": self.tables, "objects": self.objects, "checkpoints": self.checkpoints} | options
        return Committer(**parts, application="headrace", pipeline="landing")

    def table(self, table: TableId = CLICKS):
        return self.tables.load(table)

    def rows(self, table: TableId = CLICKS) -> list[dict]:
        return self.table(table).scan().to_arrow().to_pylist()

    def offsets(self, table: TableId = CLICKS) -> Counter:
        return Counter((row["_kafka_partition"], row["_offset"]) for row in self.rows(table))


def once(records: Iterable[Record]) -> Counter:
    return Counter((record.partition, record.offset) for record in records)
