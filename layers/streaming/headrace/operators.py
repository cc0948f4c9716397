"""What an operator is: a frozen configuration that `build` turns into running logic, and landing, the simplest one.

Running logic takes a batch at a time. Where a batch is cut changes nothing: lateness is decided by the watermark
before each record, and whatever a watermark closes is the same whether it is noticed at the next record of its key or
after the batch. A window closes when `watermark >= end + allowed lateness`; it is given out once, final.
"""

from operator import attrgetter
from typing import Any, Protocol

import msgspec
from arro3.core import DataType, Field

from headrace import lake
from headrace.codec import RESCUED, Codec, Value
from headrace.errors import ConfigurationError
from headrace.lake import LakeTable, Rows
from headrace.records import Record, TopicPartition


class Batch(msgspec.Struct):
    """Decoded records in offset order, by column."""

    records: list[Record]
    values: list[Value]
    times_ms: list[int]
    """Event times."""
    watermarks_ms: list[int]
    """The watermark before each record; one more than there are records, the last is after all of them."""

    def column(self, name: str) -> list[Any]:
        """One field of all values."""
        return list(map(attrgetter(name), self.values))


class LateRecord(msgspec.Struct, frozen=True):
    """A record whose window had closed before it in offset order."""

    operator: str
    record: Record
    time_ms: int
    start_ms: int
    end_ms: int
    watermark_ms: int


class Running(Protocol):
    """One operator at work on one partition."""

    def apply(self, batch: Batch) -> list[LateRecord]:
        """Take the records in; answers those that came too late."""
        ...

    def close(self, watermark_ms: int) -> Rows | None:
        """The rows that are final at this watermark and were not given out before."""
        ...

    def open_until_ms(self) -> int | None:
        """The watermark that would close everything; None when nothing is open."""
        ...

    def snapshot(self) -> Any:
        """What is open, as plain data; None when nothing is."""
        ...


class Operator(Protocol):
    """The configuration of an operator."""

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, state: msgspec.Raw | None) -> Running:
        """The operator at work, from its snapshot."""
        ...


class Land(msgspec.Struct, frozen=True):
    """Every record a row: the codec's fields, what was rescued, and where it came from."""

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, state: msgspec.Raw | None) -> Running:
        """See `Operator.build`; landing keeps no state.

        Raises:
            ConfigurationError: the topic is called like a table that every pipeline has.
        """
        if place.topic in lake.OWN_TABLES:
            raise ConfigurationError(f"topic {place.topic!r} cannot be landed: a table of its name has another use")
        return _RunningLand(codec, place.topic)


class _RunningLand:
    def __init__(self, codec: Codec, topic: str) -> None:
        self._schema = codec.schema
        rescued = (Field(RESCUED, DataType.string(), nullable=True),) if codec.rescues else ()
        self._names = [*(field.name for field in codec.schema.fields), *([RESCUED] if rescued else [])]
        fields = (*codec.schema.arrow_fields(), *rescued, *lake.RECORD_FIELDS)
        self._table = LakeTable(topic, fields, complete=True)
        self._batch: Batch | None = None

    def apply(self, batch: Batch) -> list[LateRecord]:
        self._batch = batch
        return []

    def close(self, watermark_ms: int) -> Rows | None:
        batch, self._batch = self._batch, None
        if batch is None or not batch.records:
            return None
        columns = [
            lake.column(batch.column(name), field.type)
            for name, field in zip(self._names, self._table.fields, strict=False)
        ]
        return Rows(self._table, batch.times_ms, [*columns, *lake.record_columns(batch.records)])

    def open_until_ms(self) -> int | None:
        return None

    def snapshot(self) -> Any:
        return None
