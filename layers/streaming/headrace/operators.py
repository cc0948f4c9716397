"""Operators over the records of one partition: landing, tumbling windows, sessions.

An operator's configuration is frozen and dumb; `build` turns it and a snapshot into running logic, which takes a
batch at a time. Where a batch is cut changes nothing: lateness is decided by the watermark before each record, and
whatever a watermark closes is the same whether it is noticed at the next record of its key or after the batch.

A window closes when `watermark >= end + allowed lateness`; it is given out once, final.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Protocol

import msgspec
from arro3.core import DataType, Field

from headrace import lake
from headrace.aggregates import Aggregate, State
from headrace.codec import RESCUED, Codec, Value
from headrace.errors import ConfigurationError
from headrace.lake import LakeTable, Rows
from headrace.records import Record, TopicPartition
from headrace.schema import Schema
from headrace.windows import SessionWindows, TumblingWindows

Key = Any
"""The value of an operator's key field, or a tuple of the values of several: hashable scalars."""

Session = list[Any]
"""`[start, last event, state of each aggregate …]`: a plain list, so that it goes into a snapshot as it is."""
START, LAST, STATES = 0, 1, 2

_PLACE_FIELDS = (
    Field("_topic", DataType.string(), nullable=False),
    Field("_partition", DataType.int32(), nullable=False),
)


class Batch(msgspec.Struct):
    """Decoded records in offset order, by column."""

    records: list[Record]
    values: list[Value]
    times_ms: list[int]
    """Event times."""
    watermarks_ms: list[int]
    """The watermark before each record; one more than there are records, the last is after all of them."""

    def columns(self, names: Sequence[str]) -> list[list[Any]]:
        """The fields of all values, a list per name."""
        return [list(map(attrgetter(name), self.values)) for name in names]


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


class Tumbling(msgspec.Struct, frozen=True):
    """Aggregates per window and key."""

    table: str
    """Name of the table that the rows go to."""
    window: TumblingWindows
    key: tuple[str, ...]
    """Fields of the value that make the key."""
    aggregates: dict[str, Aggregate]
    """Column name to aggregate."""
    complete: bool = False
    """Whether the topic is keyed by the same fields: then no other partition has rows of this key."""

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, state: msgspec.Raw | None) -> Running:
        """See `Operator.build`."""
        rows = _WindowRows(self, ("window_start", "window_end"), codec.schema, place)
        return _RunningTumbling(self, rows, lateness_ms, state)


class Sessions(msgspec.Struct, frozen=True):
    """Aggregates per session of a key."""

    table: str
    window: SessionWindows
    key: tuple[str, ...]
    aggregates: dict[str, Aggregate]
    complete: bool = False

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, state: msgspec.Raw | None) -> Running:
        """See `Operator.build`."""
        rows = _WindowRows(self, ("session_start", "session_end"), codec.schema, place)
        return _RunningSessions(self, rows, lateness_ms, state)


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
            lake.column(values, field.type)
            for values, field in zip(batch.columns(self._names), self._table.fields, strict=False)
        ]
        return Rows(self._table, batch.times_ms, [*columns, *lake.record_columns(batch.records)])

    def open_until_ms(self) -> int | None:
        return None

    def snapshot(self) -> Any:
        return None


class _WindowRows:
    """The table of a windowed operator, and its rows from windows that closed."""

    def __init__(
        self, operator: Tumbling | Sessions, bounds: tuple[str, str], schema: Schema, place: TopicPartition
    ) -> None:
        self._key = operator.key
        self._aggregates = list(operator.aggregates.values())
        self._place = place
        fields = (
            *(Field(name, lake.TIMESTAMP, nullable=False) for name in bounds),
            *schema.project(operator.key).arrow_fields(),
            *(
                Field(name, a.result_type(schema.arrow_type(a.field) if a.field else None), nullable=True)
                for name, a in operator.aggregates.items()
            ),
            *_PLACE_FIELDS,
        )
        self.table = LakeTable(operator.table, fields, operator.complete)

    def of(self, windows: Sequence[tuple[int, int, Key, Sequence[State]]]) -> Rows | None:
        """Rows of `(start, end, key, states)`; None of none."""
        if not windows:
            return None
        starts, ends, keys, states = map(list, zip(*windows, strict=True))
        results = [
            list(map(aggregate.result, column))
            for aggregate, column in zip(self._aggregates, zip(*states, strict=True), strict=True)
        ]
        place: list[list[Any]] = [[value] * len(windows) for value in self._place]
        values = [starts, ends, *_key_columns(keys, self._key), *results, *place]
        columns = [lake.column(v, field.type) for v, field in zip(values, self.table.fields, strict=True)]
        return Rows(self.table, starts, columns)


class _RunningTumbling:
    def __init__(self, operator: Tumbling, rows: _WindowRows, lateness_ms: int, state: msgspec.Raw | None) -> None:
        self._operator = operator
        self._rows = rows
        self._size_ms = operator.window.size_ms
        self._closes_after_ms = operator.window.size_ms + lateness_ms
        self._windows = _decode_windows(state, _key_type(operator.key))
        self._initial = [aggregate.initial() for aggregate in operator.aggregates.values()]

    def apply(self, batch: Batch) -> list[LateRecord]:
        late = []
        windows, initial = self._windows, self._initial
        size_ms, closes_after_ms = self._size_ms, self._closes_after_ms
        keys = _keys(batch, self._operator.key)
        adds = _adds(self._operator.aggregates.values(), batch)
        for index, (key, time_ms, watermark_ms) in enumerate(
            zip(keys, batch.times_ms, batch.watermarks_ms, strict=False)
        ):
            start_ms = time_ms - time_ms % size_ms
            if start_ms + closes_after_ms <= watermark_ms:
                late.append(self._late(batch, index, start_ms))
                continue
            window = windows.get(start_ms)
            if window is None:
                window = windows[start_ms] = {}
            states = window.get(key)
            if states is None:
                states = window[key] = initial.copy()
            for slot, add, column in adds:
                states[slot] = add(states[slot], column[index], time_ms)
        return late

    def _late(self, batch: Batch, index: int, start_ms: int) -> LateRecord:
        return _late_record(self._operator.table, batch, index, start_ms, start_ms + self._size_ms)

    def close(self, watermark_ms: int) -> Rows | None:
        closed = [start for start in self._windows if start + self._closes_after_ms <= watermark_ms]
        return self._rows.of(
            [
                (start, start + self._size_ms, key, states)
                for start in sorted(closed)
                for key, states in self._windows.pop(start).items()
            ]
        )

    def open_until_ms(self) -> int | None:
        return max(self._windows) + self._closes_after_ms if self._windows else None

    def snapshot(self) -> Any:
        return self._windows or None


class _RunningSessions:
    """Sessions at work.

    Those of the snapshot stay asleep, as bytes, until their key is seen again or their time is over: a batch meets a
    part of them only, and decoding, walking, encoding and freeing all of them would take half of a turn's time.
    """

    def __init__(self, operator: Sessions, rows: _WindowRows, lateness_ms: int, state: msgspec.Raw | None) -> None:
        self._operator = operator
        self._rows = rows
        self._gap_ms = operator.window.gap_ms
        self._closes_after_ms = operator.window.gap_ms + lateness_ms
        self._aggregates = list(operator.aggregates.values())
        self._initial = [aggregate.initial() for aggregate in self._aggregates]
        keys, last_ms, asleep, self._awake = _decode_sessions(state, _key_type(operator.key))
        self._asleep = dict(zip(keys, asleep, strict=True))
        self._asleep_last_ms = dict(zip(keys, last_ms, strict=True))
        self._closed: list[tuple[Key, Session]] = []

    def apply(self, batch: Batch) -> list[LateRecord]:
        late = []
        gap_ms = self._gap_ms
        keys = _keys(batch, self._operator.key)
        adds = _adds(self._aggregates, batch, first_slot=STATES)
        for index, (key, time_ms, watermark_ms) in enumerate(
            zip(keys, batch.times_ms, batch.watermarks_ms, strict=False)
        ):
            session = self._session_for(key, time_ms, watermark_ms)
            if session is None:
                late.append(_late_record(self._operator.table, batch, index, time_ms, time_ms + gap_ms))
                continue
            for slot, add, column in adds:
                session[slot] = add(session[slot], column[index], time_ms)
        return late

    def _session_for(self, key: Key, time_ms: int, watermark_ms: int) -> Session | None:
        """The open session that the event belongs to, made, extended or merged for it; None if it is late."""
        sessions = self._awake.get(key) or self._woken(key)
        if sessions is None:
            return self._started(key, time_ms, watermark_ms)
        session = sessions[0]
        last_ms = session[LAST]
        if (
            len(sessions) == 1
            and session[START] <= time_ms <= last_ms + self._gap_ms
            and last_ms + self._closes_after_ms > watermark_ms
        ):
            if time_ms > last_ms:
                session[LAST] = time_ms
            return session
        return self._merged(key, sessions, time_ms, watermark_ms)

    def _woken(self, key: Key) -> list[Session] | None:
        asleep = self._asleep.pop(key, None)
        if asleep is None:
            return None
        del self._asleep_last_ms[key]
        sessions = self._awake[key] = [_decode_session(asleep)]
        return sessions

    def _started(self, key: Key, time_ms: int, watermark_ms: int) -> Session | None:
        if time_ms + self._closes_after_ms <= watermark_ms:
            return None
        session: Session = [time_ms, time_ms, *self._initial]
        self._awake.setdefault(key, []).append(session)
        return session

    def _merged(self, key: Key, sessions: list[Session], time_ms: int, watermark_ms: int) -> Session | None:
        """An event can touch two sessions at most, one on each side: open ones of a key lie over a gap apart."""
        self._retire(key, sessions, watermark_ms)
        touching = [s for s in sessions if s[START] - self._gap_ms <= time_ms <= s[LAST] + self._gap_ms]
        if not touching:
            return self._started(key, time_ms, watermark_ms)
        session, *later = sorted(touching, key=lambda s: s[START])
        for other in later:
            sessions.remove(other)
            session[LAST] = other[LAST]
            for slot, aggregate in enumerate(self._aggregates, STATES):
                session[slot] = aggregate.merge(session[slot], other[slot])
        session[START] = min(session[START], time_ms)
        session[LAST] = max(session[LAST], time_ms)
        return session

    def _retire(self, key: Key, sessions: list[Session], watermark_ms: int) -> None:
        still_open = [s for s in sessions if s[LAST] + self._closes_after_ms > watermark_ms]
        if len(still_open) < len(sessions):
            self._closed += [(key, s) for s in sessions if s[LAST] + self._closes_after_ms <= watermark_ms]
            sessions[:] = still_open
        if not sessions:
            del self._awake[key]

    def close(self, watermark_ms: int) -> Rows | None:
        newest_closed_ms = watermark_ms - self._closes_after_ms
        for key in [key for key, last_ms in self._asleep_last_ms.items() if last_ms <= newest_closed_ms]:
            self._woken(key)
        candidates = [
            (key, sessions)
            for key, sessions in self._awake.items()
            if sessions[0][LAST] <= newest_closed_ms or len(sessions) > 1
        ]
        for key, sessions in candidates:
            self._retire(key, sessions, watermark_ms)
        closed, self._closed = self._closed, []
        return self._rows.of([(s[START], s[LAST] + self._gap_ms, key, s[STATES:]) for key, s in closed])

    def open_until_ms(self) -> int | None:
        awake_ms = (session[LAST] for sessions in self._awake.values() for session in sessions)
        last_ms = max(chain(awake_ms, self._asleep_last_ms.values()), default=None)
        return None if last_ms is None else last_ms + self._closes_after_ms

    def snapshot(self) -> Any:
        if not self._awake and not self._asleep:
            return None
        single = {key: sessions[0] for key, sessions in self._awake.items() if len(sessions) == 1}
        several = {key: sessions for key, sessions in self._awake.items() if len(sessions) > 1}
        return (
            [*self._asleep, *single],
            [*self._asleep_last_ms.values(), *(session[LAST] for session in single.values())],
            [*self._asleep.values(), *single.values()],
            several,
        )


def _adds(aggregates: Iterable[Aggregate], batch: Batch, first_slot: int = 0) -> list[tuple[int, Any, list[Any]]]:
    """For each aggregate: its slot, its `add`, and what to add for each record."""
    return [
        (slot, aggregate.add, batch.columns((aggregate.field,))[0] if aggregate.field else batch.times_ms)
        for slot, aggregate in enumerate(aggregates, first_slot)
    ]


def _late_record(operator: str, batch: Batch, index: int, start_ms: int, end_ms: int) -> LateRecord:
    return LateRecord(
        operator, batch.records[index], batch.times_ms[index], start_ms, end_ms, batch.watermarks_ms[index]
    )


def _decode_windows(state: msgspec.Raw | None, key_type: Any) -> Any:
    """Window start to key to the states of the aggregates."""
    if state is None:
        return {}
    state_type: Any = dict[int, dict[key_type, list[Any]]]
    return msgspec.msgpack.decode(state, type=state_type)


_decode_session = msgspec.msgpack.Decoder(Session).decode


def _decode_sessions(state: msgspec.Raw | None, key_type: Any) -> Any:
    """Of the keys with one open session: the keys, each one's last event, its session; of other keys all sessions."""
    if state is None:
        return [], [], [], {}
    state_type: Any = tuple[list[key_type], list[int], list[msgspec.Raw], dict[key_type, list[Session]]]
    return msgspec.msgpack.decode(state, type=state_type)


def _keys(batch: Batch, names: Sequence[str]) -> list[Key]:
    """The key of each record. A single field's values are not wrapped: hashing tuples would cost as much again."""
    columns = batch.columns(names)
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def _key_columns(keys: Sequence[Key], names: Sequence[str]) -> list[list[Any]]:
    return [list(keys)] if len(names) == 1 else [list(column) for column in zip(*keys, strict=True)]


def _key_type(names: Sequence[str]) -> Any:
    """What a snapshot's keys decode to: a tuple, where there are several fields, would come back as a list."""
    return Any if len(names) == 1 else tuple[Any, ...]
