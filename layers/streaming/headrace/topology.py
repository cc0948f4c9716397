"""What one pipeline computes from a partition, from payloads to rows: codec, event time, watermark, operators.

    records ─► codec ─► event time, watermark before each ─► operators ─► rows, late records
                 └─► poison                                      └─► state (snapshot)

Pure: no I/O, no clock, no environment.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from headrace import buckets, lake, watermark
from headrace.codec import Codec
from headrace.errors import CheckpointCorrupt, ConfigurationError
from headrace.event_clock import EventClock
from headrace.land_logs import LandLogs
from headrace.operators import Batch, Land, Operator, Restored, Running, Texts
from headrace.own_tables import dead_letter_rows, late_rows
from headrace.records import Record, TopicPartition
from headrace.state import OpenRows, Part

_offset = attrgetter("offset")
_ANYWHERE = TopicPartition("-", 0)


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

    max_buckets: int = buckets.MAX_BUCKETS
    """How many buckets of event time one turn takes records of; it decides about commits, never about rows."""

    def __post_init__(self) -> None:
        """Refuse what could not work on any partition, when the function's module is imported.

        Raises:
            SchemaError: an operator or `event_time` names a field that the codec does not have.
            ConfigurationError: in a sentence.
        """
        for what in ("out_of_orderness_ms", "allowed_lateness_ms", "max_skew_ms"):
            if getattr(self, what) < 0:
                raise ConfigurationError(f"a topology's {what} must not be negative, not {getattr(self, what)}")
        shared = {table for operator in self.operators for table in getattr(operator, "shared_tables", ())}
        tables: list[Any] = [*lake.OWN_TABLES, *sorted(shared)]
        for operator in self.operators:
            tables += getattr(operator, "tables", (operator,))
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
        self._clock = EventClock(topology.codec.schema, topology.event_time, topology.max_skew_ms)
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

    def apply(self, records: Sequence[Record]) -> int:
        """Take records in, in offset order, up to the first one of a bucket too many; how many those were.

        Where a batch is cut changes nothing, so a cut bounds what one commit writes without coarser files.
        """
        decoded = self.topology.codec.decode(records)
        times_ms = self._clock.times_ms(decoded)
        taken = len(records)
        end = buckets.end(
            records,
            decoded,
            times_ms,
            limit=self.topology.max_buckets,
            bucket_hours=_bucket_hours(self.topology.operators),
        )
        if end is not None:
            taken, times_ms = bisect_left(records, end, key=_offset), times_ms[: decoded.keep(end)]
        watermarks_ms = self._watermarks_ms(times_ms)
        batch = Batch(
            decoded.records, decoded.values, times_ms, watermarks_ms, self._texts, continuations=decoded.continuations
        )
        late = [record for running in self._running for record in running.apply(batch)]
        self.dead, self.late = len(decoded.poison), len(late)
        self.applied = taken - self.dead
        self._advance(watermarks_ms[-1])
        if decoded.poison:
            self.rows.append(dead_letter_rows(decoded.poison))
        if late:
            self.rows.append(late_rows(late))
        return taken

    def _watermarks_ms(self, times_ms: list[int]) -> list[int]:
        """The watermark before each record and after all; where nothing looks at the others, only the last."""
        delay_ms = self.topology.out_of_orderness_ms
        if self._states():
            return watermark.before_each(times_ms, self._watermark_ms, delay_ms)
        return watermark.before_each([max(times_ms)] if times_ms else [], self._watermark_ms, delay_ms)[-1:]

    def tick(self, *, final: bool = False) -> bool:
        """Close open windows by moving the watermark to `open_until_ms`; whether there was one.

        Args:
            final: nobody reads any more: close all of them. That nothing comes is then no news, nor is it if another
                tick has closed the tables before.
        """
        open_until_ms = self.open_until_ms
        if open_until_ms is None:
            return False
        if not final or self._open_until_ms(waits=False) is not None:
            self._advance(max(self._watermark_ms, open_until_ms))
        if final and (waiting_until_ms := self._open_until_ms(waits=True)) is not None:
            news = len(self.rows)
            self._advance(waiting_until_ms)
            del self.rows[news:]
        return True

    @property
    def watermark_ms(self) -> int | None:
        """The watermark now; None before the first event."""
        return None if self._watermark_ms == watermark.BEFORE_ALL_MS else self._watermark_ms

    @property
    def open_until_ms(self) -> int | None:
        """The watermark that a tick sets; None when no window is open.

        It closes every open window of tables. What waits for silence is closed by a tick of its own, when nothing else
        is open: else a tick would make the next records late for windows that nobody has seen yet.
        """
        until_ms = self._open_until_ms(waits=False)
        return self._open_until_ms(waits=True) if until_ms is None else until_ms

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

    def _open_until_ms(self, *, waits: bool) -> int | None:
        """The watermark that closes all that waits for silence, or all that does not; None when none of it is open."""
        ends_ms = [
            running.open_until_ms()
            for operator, running in zip(self.topology.operators, self._running, strict=True)
            if getattr(operator, "waits_for_silence", False) is waits
        ]
        return max((end_ms for end_ms in ends_ms if end_ms is not None), default=None)

    def _built(self, operator: Operator, parts: Sequence[Part]) -> Running:
        restored = Restored(self._watermark_ms, parts)
        return operator.build(self.topology.codec, self._place, self.topology.allowed_lateness_ms, restored)

    def _compact(self) -> None:
        """Give back the room of a time when more was open."""
        for place, running in enumerate(self._running):
            if running.state is not None and running.state.is_sparse:
                self._running[place] = self._built(self.topology.operators[place], [running.state.compact()])

    def _next_turn(self) -> None:
        self.rows: list[lake.Rows] = []
        """What became final, or was given out early."""
        self.applied = 0
        """Records that are no dead letters, whether they had one event, several or none."""
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


def _described(configuration: Any) -> Any:
    """Frozen configuration as plain data with its class names; not `repr`, which is the libraries' to change."""
    if isinstance(configuration, msgspec.Struct):
        no_matter = getattr(configuration, "without_state", ())
        names = [name for name in configuration.__struct_fields__ if name not in no_matter]
        members = {name: _described(getattr(configuration, name)) for name in names}
        return [type(configuration).__name__, members]
    if isinstance(configuration, dict):
        return {name: _described(item) for name, item in configuration.items()}
    return [_described(item) for item in configuration] if isinstance(configuration, tuple) else configuration


def _bucket_hours(operators: Sequence[Operator]) -> int:
    """How much event time the smallest bucket is of all tables."""
    return min(lake.HOURS[operator.bucket] if isinstance(operator, Land | LandLogs) else 1 for operator in operators)


_Parts = list[Part | None]


def _parts(content: bytes, number: int) -> _Parts:
    parts = msgspec.msgpack.decode(content, type=_Parts)
    if len(parts) != number:
        raise CheckpointCorrupt(f"the snapshot has {len(parts)} operators, not {number}", "the snapshot")
    return parts


def _by_operator(saved: Sequence[_Parts], topology: Topology) -> list[list[Part]]:
    return [[part for parts in saved if (part := parts[n]) is not None] for n in range(len(topology.operators))]
