"""What one pipeline computes from a partition, from payloads to rows: codec, event time, watermark, operators.

    records ─► codec ─► event time, watermark before each ─► operators ─► rows, late records
                 └─► poison                                      └─► state (snapshot)

Pure: no I/O, no clock, no environment.
"""

import hashlib
from collections.abc import Sequence
from operator import attrgetter, sub
from typing import Any, NamedTuple

import msgspec
from arro3.core import Array, DataType, Field

from headrace import lake, watermark
from headrace.codec import Codec, Decoded, Value
from headrace.errors import CheckpointCorrupt, ConfigurationError, PoisonError
from headrace.lake import LakeTable, Rows
from headrace.operators import Batch, LateRecord, Operator, Restored, Running, Texts
from headrace.records import Record, TopicPartition
from headrace.state import OpenRows, Part

_timestamp_ms = attrgetter("timestamp_ms")
_VALUE = Field("value", DataType.binary(), nullable=True)
_ANYWHERE = TopicPartition("-", 0)
DEAD_LETTERS = LakeTable(
    lake.DEAD_LETTERS,
    (
        Field("reason", DataType.string(), nullable=False),
        Field("detail", DataType.string(), nullable=False),
        _VALUE,
        *lake.RECORD_FIELDS,
    ),
    complete=True,
)
"""Records that can never be processed, with everything that was sent."""
LATE = LakeTable(
    lake.LATE,
    (
        Field("operator", DataType.string(), nullable=False),
        Field("event_time", lake.TIMESTAMP, nullable=False),
        Field("window_start", lake.TIMESTAMP, nullable=False),
        Field("window_end", lake.TIMESTAMP, nullable=False),
        Field("windows", DataType.int32(), nullable=False),
        Field("watermark", lake.TIMESTAMP, nullable=False),
        Field("late_by_ms", DataType.int64(), nullable=False),
        _VALUE,
        *lake.RECORD_FIELDS,
    ),
    complete=True,
)
"""Records that missed windows, which had closed before them: once per operator, from the start of the first missed
window to the end of the last. `windows` is how many they were, `late_by_ms` how far the watermark had gone beyond the
closing of the last one. A hopping or sliding window that was still open has counted the record all the same."""


class Topology(msgspec.Struct, frozen=True):
    """The configuration of one pipeline's logic."""

    codec: Codec
    operators: tuple[Operator, ...]
    event_time: str | None = None
    """The timestamp field that says when the event happened; None, or null in a record: Kafka's timestamp."""
    out_of_orderness_ms: int = 0
    """How far behind the latest event time a record may be without being late."""
    allowed_lateness_ms: int = 0
    """How long a window stays open after the watermark passed its end."""
    max_skew_ms: int = 300_000
    """How far an event time may be ahead of Kafka's timestamp. Beyond it the record is a dead letter, so that one
    bad clock does not close everybody's windows; on a CreateTime topic this compares the producer with itself."""

    def __post_init__(self) -> None:
        """Refuse what could not work on any partition, when the function's module is imported.

        Raises:
            SchemaError: an operator or `event_time` names a field that the codec does not have.
            ConfigurationError: in a sentence.
        """
        for what in ("out_of_orderness_ms", "allowed_lateness_ms", "max_skew_ms"):
            if getattr(self, what) < 0:
                raise ConfigurationError(f"a topology's {what} must not be negative, not {getattr(self, what)}")
        tables = [*lake.OWN_TABLES, *(getattr(operator, "table", operator) for operator in self.operators)]
        if twice := [table for number, table in enumerate(tables) if table in tables[:number]]:
            raise ConfigurationError(f"table {twice[0]!r} has another use in the same topology")
        self.build(_ANYWHERE, None)

    def fingerprint(self) -> str:
        """A digest of everything that the stored state and its meaning depend on."""
        settings = (self.event_time, self.out_of_orderness_ms, self.allowed_lateness_ms, self.max_skew_ms)
        fields = [(field.name, field.declared) for field in self.codec.schema.fields]
        described = (type(self.codec).__name__, fields, _described(self.operators), settings)
        return hashlib.sha256(msgspec.json.encode(described)).hexdigest()[:16]

    def build(self, place: TopicPartition, watermark_ms: int | None, chain: Sequence[bytes] = ()) -> "Logic":
        """The logic at work on one partition.

        Args:
            place: the partition.
            watermark_ms: at the last commit; None before the first event.
            chain: what was saved of the state: a base and the deltas after it, oldest first.

        Raises:
            CheckpointCorrupt: what was saved cannot be read.
            SchemaError, ConfigurationError: an operator cannot work on the codec's values.
        """
        return Logic(self, place, watermark_ms, chain)


class Saved(NamedTuple):
    """State to be stored."""

    content: bytes
    is_base: bool
    """Whether it stands alone; else it is a delta, to be stored after what the logic was built from."""


class Logic:
    """One partition's turns without their effects: apply or tick, read the results, save; then the next turn."""

    def __init__(
        self, topology: Topology, place: TopicPartition, watermark_ms: int | None, chain: Sequence[bytes]
    ) -> None:
        self.topology = topology
        """What it was built from."""
        self.fingerprint = topology.fingerprint()
        """Of the topology."""
        self._clock = _EventClock(topology)
        self._texts = Texts()
        self._watermark_ms = watermark.BEFORE_ALL_MS if watermark_ms is None else watermark_ms
        self._place = place
        name = f"the snapshot of {place}"
        try:
            saved = [_parts(content, len(topology.operators)) for content in chain]
            self._running = [
                self._built(operator, parts)
                for operator, parts in zip(topology.operators, _by_operator(saved, topology), strict=True)
            ]
        except (msgspec.MsgspecError, ValueError, TypeError, IndexError) as error:
            raise CheckpointCorrupt(f"{name} cannot be read: {error}", name) from error
        rows = [sum(part.rows for part in parts if part) for parts in saved]
        self._in_base, self._in_deltas = (rows[0], sum(rows[1:])) if rows else (0, 0)
        self._next_turn()

    @property
    def open_rows(self) -> int:
        """How much is open: rows of state, which memory grows with."""
        return sum(map(len, self._states()))

    def apply(self, records: Sequence[Record]) -> None:
        """Take the records in, in offset order."""
        decoded = self.topology.codec.decode(records)
        times_ms = self._clock.times_ms(decoded)
        watermarks_ms = watermark.before_each(times_ms, self._watermark_ms, self.topology.out_of_orderness_ms)
        batch = Batch(decoded.records, decoded.values, times_ms, watermarks_ms, self._texts)
        late = [record for running in self._running for record in running.apply(batch)]
        self.applied, self.dead, self.late = len(batch.records), len(decoded.poison), len(late)
        self._advance(watermarks_ms[-1])
        if decoded.poison:
            self.rows.append(_dead_letter_rows(decoded.poison))
        if late:
            self.rows.append(_late_rows(late))

    def tick(self) -> bool:
        """Close every open window by moving the watermark; whether there was one."""
        open_until_ms = self.open_until_ms
        if open_until_ms is None:
            return False
        self._advance(max(self._watermark_ms, open_until_ms))
        return True

    @property
    def watermark_ms(self) -> int | None:
        """The watermark now; None before the first event."""
        return None if self._watermark_ms == watermark.BEFORE_ALL_MS else self._watermark_ms

    @property
    def open_until_ms(self) -> int | None:
        """The watermark that would close every open window; None when none is open."""
        return max((end for r in self._running if (end := r.open_until_ms()) is not None), default=None)

    def save(self, *, may_extend: bool) -> Saved | None:
        """The state as it is now; None when nothing is open.

        A delta, while all deltas together have no more rows than the base: whoever starts from the chain then reads
        at most twice what is open, and a row is written about twice.

        Args:
            may_extend: whether what was saved before, and is in the chain, can have a delta after it.
        """
        if not self.open_rows:
            self._in_base, self._in_deltas = 0, 0
            return None
        if may_extend:
            changes = [state.changes() for state in self._states()]
            in_deltas = self._in_deltas + sum(len(new) + len(changed) for new, changed in changes)
            if in_deltas <= self._in_base:
                self._in_deltas = in_deltas
                return self._saved([s.delta(c) for s, c in zip(self._states(), changes, strict=True)], is_base=False)
        self._compact()
        self._in_base, self._in_deltas = self.open_rows, 0
        return self._saved([state.base() for state in self._states()], is_base=True)

    def committed(self) -> None:
        """What was saved is in the checkpoint: ready for the next turn."""
        for state in self._states():
            state.written()
        self._next_turn()

    def _states(self) -> list[OpenRows]:
        return [state for running in self._running if (state := running.state) is not None]

    def _built(self, operator: Operator, parts: Sequence[Part]) -> Running:
        restored = Restored(self._watermark_ms, parts)
        return operator.build(self.topology.codec, self._place, self.topology.allowed_lateness_ms, restored)

    def _compact(self) -> None:
        """Give back the room of a time when more was open."""
        for place, running in enumerate(self._running):
            if running.state is not None and running.state.is_sparse:
                self._running[place] = self._built(self.topology.operators[place], [running.state.compact()])

    def _next_turn(self) -> None:
        self.rows: list[Rows] = []
        """What became final, or was given out early."""
        self.applied = 0
        """Records that went through the operators."""
        self.dead = 0
        """Records that became dead letters."""
        self.late = 0
        """Rows of the late output."""

    def _saved(self, parts: list[Part], *, is_base: bool) -> Saved:
        with_state = iter(parts)
        of_all = [None if running.state is None else next(with_state) for running in self._running]
        return Saved(msgspec.msgpack.encode(of_all), is_base)

    def _advance(self, watermark_ms: int) -> None:
        self._watermark_ms = watermark_ms
        for running in self._running:
            self.rows += running.close(watermark_ms)


class _EventClock:
    """When each record happened, and which records' clocks cannot be believed."""

    def __init__(self, topology: Topology) -> None:
        self._field = topology.event_time
        self._max_skew_ms = topology.max_skew_ms
        self._ticks_per_ms = _ticks_per_ms(topology)

    def times_ms(self, decoded: Decoded) -> list[int]:
        """Event times of the readable records; those that are not to be believed are moved to the poison."""
        times_ms = self._read(decoded.records, decoded.values)
        if self._all_believable(times_ms, list(map(_timestamp_ms, decoded.records))):
            return times_ms
        return self._sort_out(decoded, times_ms)

    def _all_believable(self, times_ms: list[int], arrivals_ms: list[int]) -> bool:
        """Whether nothing needs a second look: stricter than `_believable`, and without a call per record."""
        if not times_ms:
            return True
        first_arrival_ms, newest_ms = min(arrivals_ms), max(times_ms)
        return (
            first_arrival_ms >= 0
            and min(times_ms) >= lake.MIN_TIME_MS
            and newest_ms <= lake.MAX_TIME_MS
            and (
                newest_ms - first_arrival_ms <= self._max_skew_ms
                or max(map(sub, times_ms, arrivals_ms)) <= self._max_skew_ms
            )
        )

    def _read(self, records: Sequence[Record], values: Sequence[Value]) -> list[int]:
        if self._field is None:
            return [record.timestamp_ms for record in records]
        ticks = list(map(attrgetter(self._field), values))
        if None in ticks:
            return [
                record.timestamp_ms if tick is None else tick // self._ticks_per_ms
                for record, tick in zip(records, ticks, strict=True)
            ]
        return ticks if self._ticks_per_ms == 1 else [tick // self._ticks_per_ms for tick in ticks]

    def _believable(self, time_ms: int, record: Record) -> bool:
        # Kafka's own timestamp is -1 when the producer's message format had none.
        limit_ms = record.timestamp_ms + self._max_skew_ms if record.timestamp_ms >= 0 else lake.MAX_TIME_MS
        return lake.MIN_TIME_MS <= time_ms <= min(limit_ms, lake.MAX_TIME_MS)

    def _sort_out(self, decoded: Decoded, times_ms: list[int]) -> list[int]:
        kept = []
        for record, value, time_ms in zip(decoded.records, decoded.values, times_ms, strict=True):
            if self._believable(time_ms, record):
                kept.append((record, value, time_ms))
            else:
                decoded.poison.append((record, self._disbelief(time_ms, record)))
        decoded.records[:] = [record for record, _, _ in kept]
        decoded.values[:] = [value for _, value, _ in kept]
        return [time_ms for _, _, time_ms in kept]

    def _disbelief(self, time_ms: int, record: Record) -> PoisonError:
        if not lake.MIN_TIME_MS <= time_ms <= lake.MAX_TIME_MS:
            return PoisonError("time_out_of_range", f"event time {time_ms} ms is outside of the years 1 to 9999")
        return PoisonError(
            "from_the_future",
            f"event time {time_ms} ms is more than {self._max_skew_ms} ms after Kafka's {record.timestamp_ms} ms",
        )


def _described(configuration: Any) -> Any:
    """Frozen configuration as plain data with its class names; not `repr`, which is the libraries' to change."""
    if isinstance(configuration, msgspec.Struct):
        members = {name: _described(getattr(configuration, name)) for name in configuration.__struct_fields__}
        return [type(configuration).__name__, members]
    if isinstance(configuration, dict):
        return {name: _described(item) for name, item in configuration.items()}
    return [_described(item) for item in configuration] if isinstance(configuration, tuple) else configuration


def _ticks_per_ms(topology: Topology) -> int:
    if topology.event_time is None:
        return 1
    (field,) = topology.codec.schema.project((topology.event_time,)).fields
    if field.ticks_per_ms is None:
        raise ConfigurationError(f"event time field {field.name!r} is not a timestamp-millis or timestamp-micros")
    return field.ticks_per_ms


_Parts = list[Part | None]


def _parts(content: bytes, number: int) -> _Parts:
    parts = msgspec.msgpack.decode(content, type=_Parts)
    if len(parts) != number:
        raise CheckpointCorrupt(f"the snapshot has {len(parts)} operators, not {number}", "the snapshot")
    return parts


def _by_operator(saved: Sequence[_Parts], topology: Topology) -> list[list[Part]]:
    return [[part for parts in saved if (part := parts[n]) is not None] for n in range(len(topology.operators))]


def _dead_letter_rows(poison: Sequence[tuple[Record, PoisonError]]) -> Rows:
    records = [record for record, _ in poison]
    columns = [
        Array([error.reason for _, error in poison], DataType.string()),
        Array([error.detail for _, error in poison], DataType.string()),
        Array([record.value for record in records], DataType.binary()),
        *lake.record_columns(records),
    ]
    return Rows(DEAD_LETTERS, [_bucket_ms(record.timestamp_ms) for record in records], columns)


def _late_rows(late: Sequence[LateRecord]) -> Rows:
    records = [item.record for item in late]
    columns = [
        Array([item.operator for item in late], DataType.string()),
        lake.column([item.time_ms for item in late], lake.TIMESTAMP),
        lake.column([item.start_ms for item in late], lake.TIMESTAMP),
        lake.column([item.end_ms for item in late], lake.TIMESTAMP),
        Array([item.windows for item in late], DataType.int32()),
        lake.column([item.watermark_ms for item in late], lake.TIMESTAMP),
        Array([item.late_by_ms for item in late], DataType.int64()),
        Array([record.value for record in records], DataType.binary()),
        *lake.record_columns(records),
    ]
    return Rows(LATE, [item.time_ms for item in late], columns)


def _bucket_ms(timestamp_ms: int) -> int:
    """Kafka's timestamp, kept within the hours that have a name: a dead letter must always find its place."""
    return min(max(timestamp_ms, lake.MIN_TIME_MS), lake.MAX_TIME_MS)
