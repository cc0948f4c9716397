"""What an operator is: a frozen configuration that `build` turns into running logic, and landing, the simplest one.

Running logic takes a batch at a time. Where a batch is cut changes nothing: lateness is decided by the watermark
before each record, and whatever a watermark closes is the same whether it is noticed at the next record of its key or
after the batch. A window closes when `watermark >= end + allowed lateness`; it is given out once, final.
"""

from collections.abc import Sequence
from operator import attrgetter, sub
from typing import Any, Literal, NamedTuple, Protocol

import msgspec
from arro3.core import DataType, Field
from msgspec.structs import astuple

from headrace import lake
from headrace.codec import RESCUED, Codec, Value
from headrace.errors import ConfigurationError
from headrace.lake import LakeTable, Rows
from headrace.records import Record, TopicPartition
from headrace.state import OpenRows, Part

MAX_TEXTS = 5000
"""Different strings of a field, beyond which looking for equal ones is given up."""


class Texts:
    """One string for equal ones, of fields with few different values.

    State that keeps the strings of each batch holds on to bits of the memory in which the next batches are decoded:
    that was measured to make decoding half as slow again. It also saves their memory.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[Any, Any]] = {}

    def shared(self, field: str, values: Sequence[Any]) -> Sequence[Any]:
        """The values, equal ones being one object."""
        known = self._known.setdefault(field, {})
        if len(known) > MAX_TEXTS or next((v for v in values if v is not None), None).__class__ is not str:
            return values
        return list(map(known.setdefault, values, values))


def copied(value: Any) -> Any:
    """A string of its own: the decoder's lies among all that goes with the batch, whose memory it would keep apart."""
    return value[:1] + value[1:] if value.__class__ is str else value


class Batch:
    """Decoded values in offset order, by column. Columns are made once, for all operators."""

    def __init__(
        self,
        records: list[Record],
        values: list[Value],
        times_ms: list[int],
        watermarks_ms: list[int],
        texts: Texts | None = None,
        continuations: Sequence[tuple[Record, str]] = (),
    ) -> None:
        """Put the columns side by side; nobody may change them afterwards.

        Args:
            records: where the values came from; one may come several times in a row.
            values: decoded.
            times_ms: event times.
            watermarks_ms: the watermark before each record; one more than there are records, the last is after all.
            texts: those that are known from batches before.
            continuations: text that goes on with the value before it, as `codec.Decoded` says.
        """
        self.continuations = continuations
        self.records, self.values, self.times_ms, self.watermarks_ms = records, values, times_ms, watermarks_ms
        self._columns: dict[str, list[Any]] = {}
        self._shared: dict[str, Sequence[Any]] = {}
        self._texts = texts or Texts()
        self._most_overdue_ms: int | None = None

    def column(self, name: str) -> list[Any]:
        """One field of all values."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = list(map(attrgetter(name), self.values))
        return column

    def shared(self, name: str) -> Sequence[Any]:
        """The same, to be kept beyond the batch: equal strings are one object, if there are few different ones."""
        column = self._shared.get(name)
        if column is None:
            column = self._shared[name] = self._texts.shared(name, self.column(name))
        return column

    def keys(self, names: Sequence[str]) -> Sequence[tuple[Any, ...]]:
        """These fields of each record, together, to be kept; of no names, one key for all."""
        return list(zip(*map(self.shared, names), strict=True)) if names else [()] * len(self.records)

    def only(self, indices: Sequence[int]) -> "Batch":
        """The records at these places, ascending."""
        return self if len(indices) == len(self.records) else self.picked(indices)

    def picked(self, indices: Sequence[int]) -> "Batch":
        """The records at these places, in their order; a place may come more than once."""
        return Batch(
            [self.records[index] for index in indices],
            [self.values[index] for index in indices],
            [self.times_ms[index] for index in indices],
            [self.watermarks_ms[index] for index in indices],
            self._texts,
        )

    @property
    def most_overdue_ms(self) -> int:
        """How far a record is behind the watermark at most; while that is within the allowed lateness, none is late."""
        if self._most_overdue_ms is None:
            self._most_overdue_ms = max(map(sub, self.watermarks_ms, self.times_ms), default=0)
        return self._most_overdue_ms


class LateRecord(msgspec.Struct, frozen=True):
    """A record that missed windows, which had closed before it in offset order."""

    operator: str
    record: Record
    time_ms: int
    start_ms: int
    """Of the first window that it missed."""
    end_ms: int
    """Of the last one."""
    windows: int
    """How many windows it missed."""
    watermark_ms: int
    """Before the record."""
    late_by_ms: int
    """How far the watermark had gone beyond the closing of the last missed window."""


class Running(Protocol):
    """One operator at work on one partition."""

    @property
    def state(self) -> OpenRows | None:
        """What is open; None of an operator that keeps nothing."""
        ...

    def apply(self, batch: Batch) -> list[LateRecord]:
        """Take the records in; answers those that came too late for a window."""
        ...

    def close(self, watermark_ms: int) -> list[Rows]:
        """The rows that have to be given out at this watermark and were not given out before."""
        ...

    def open_until_ms(self) -> int | None:
        """The watermark that would close everything; None when nothing is open."""
        ...


class Restored(NamedTuple):
    """What an operator goes on from."""

    watermark_ms: int
    """At the commit; `watermark.BEFORE_ALL_MS` before the first event."""
    parts: Sequence[Part]
    """Of its state, oldest first; none at the beginning, or when nothing was open."""


class Operator(Protocol):
    """The configuration of an operator."""

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, restored: Restored) -> Running:
        """The operator at work.

        Raises:
            ConfigurationError, SchemaError: it cannot work on values of the codec.
            CheckpointCorrupt: the parts of its state do not fit it.
        """
        ...


Bucket = Literal["hour", "day"]
"""How much event time a file's rows are of."""


class Land(msgspec.Struct, frozen=True):
    """Every value a row: the codec's fields, what was rescued, and where it came from."""

    bucket: Bucket = "hour"

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, restored: Restored) -> Running:
        """See `Operator.build`; landing keeps no state.

        Raises:
            ConfigurationError: the topic is called like a table that every pipeline has.
        """
        return _RunningLand(LandedTable(codec, place.topic, self.bucket))


class LandedTable:
    """The table of a topic's values."""

    def __init__(self, codec: Codec, topic: str, bucket: Bucket, *, holds_rows: bool = False) -> None:
        """Put its columns together.

        Args:
            codec: of the values.
            topic: the table is called like it.
            bucket: of its files.
            holds_rows: whether a row may be written by a later commit than the one that passed its record.

        Raises:
            ConfigurationError: the topic is called like a table that every pipeline has.
        """
        if topic in lake.OWN_TABLES:
            raise ConfigurationError(f"topic {topic!r} cannot be landed: a table of its name has another use")
        rescued = (Field(RESCUED, DataType.string(), nullable=True),) if codec.rescues else ()
        self._declared = (*codec.schema.arrow_fields(), *rescued)
        fields = (*codec.schema.landed_fields(), *rescued, *lake.RECORD_FIELDS)
        hours = lake.HOURS[bucket]
        self._table = LakeTable(
            topic, fields, complete=True, aliases=codec.schema.aliases, bucket_hours=hours, holds_rows=holds_rows
        )

    def rows(self, batch: Batch) -> list[Rows]:
        """The rows of a batch; nothing of an empty one."""
        if not batch.records:
            return []
        found = members(batch.values, [declared.name for declared in self._declared])
        columns = [
            lake.column(values, declared.type, nullable=declared.nullable).cast(landed.type)
            for values, declared, landed in zip(found, self._declared, self._table.fields, strict=False)
        ]
        return [Rows(self._table, batch.times_ms, [*columns, *lake.record_columns(batch.records)])]


class _RunningLand:
    state = None

    def __init__(self, table: LandedTable) -> None:
        self._table = table
        self._batch: Batch | None = None

    def apply(self, batch: Batch) -> list[LateRecord]:
        self._batch = batch
        return []

    def close(self, watermark_ms: int) -> list[Rows]:
        batch, self._batch = self._batch, None
        return [] if batch is None else self._table.rows(batch)

    def open_until_ms(self) -> int | None:
        return None


def members(values: Sequence[Value], names: Sequence[str]) -> list[Sequence[Any]]:
    """All of these fields of the values, by column.

    Structs of one type that has the fields in this order are taken apart one after the other: asking all of them for
    one field, then all for the next, takes twice the time.
    """
    types = set(map(type, values))
    fields: tuple[str, ...] = getattr(types.pop(), "__struct_fields__", ()) if len(types) == 1 else ()
    if not fields or fields != tuple(names[: len(fields)]):
        fields = ()
    columns = zip(*map(astuple, values), strict=True) if fields else ()
    return [*columns, *(list(map(attrgetter(name), values)) for name in names[len(fields) :])]
