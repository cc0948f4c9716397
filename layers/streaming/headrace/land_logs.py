"""Landing of log lines: every event a row, with the lines that came after it in records of their own.

The last event of each stream, which is a record key, is held until nothing can be added to it:

    stream a    ERROR no card ─ at a.B.c ─ at a.B.d ─ INFO next        the first row is given out here, at `INFO next`
    stream b         INFO …                                            and this one when the watermark is 60 s further

or until it has so many lines, so many streams are held or all together are so large: the one that came first goes
first. A line that continues nothing that is held is a row of its own, of format `continuation` and Kafka's time. All of
this follows from the records in their order and the watermark before each: where a batch is cut changes no row.
"""

from collections import deque
from collections.abc import Iterator
from operator import attrgetter

import msgspec

from headrace import lake
from headrace.aggregates import Last
from headrace.codec import Codec, service_of
from headrace.errors import ConfigurationError
from headrace.lake import Rows
from headrace.log_event import LogEvent, with_lines
from headrace.operators import Batch, Bucket, LandedTable, LateRecord, Restored, Running
from headrace.records import JsonRecord, Record, TopicPartition
from headrace.state import OpenRows

_texts = attrgetter("message", "attributes", "path", "user_agent", "referrer", "stack_trace")
_EVENT = msgspec.msgpack.Decoder(LogEvent)
_KEY_COLUMNS = 7
_NEVER_MS = 1 << 63


class LandLogs(msgspec.Struct, frozen=True):
    """The configuration: `operators.Land` for codecs whose values are log events."""

    bucket: Bucket = "hour"
    """How much event time a file's rows are of."""
    hold_ms: int = 60_000
    """How far the watermark goes on, from an event or from where it was before it, until the event is given out."""
    max_streams: int = 64
    """How many events are held."""
    max_lines: int = 500
    """How many lines one of them is given, or few more: a record may have several."""
    max_characters: int = 1 << 20
    """How large all of them may be together."""

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, restored: Restored) -> Running:
        """See `Operator.build`.

        Raises:
            ConfigurationError: the topic is called like a table that every pipeline has, or a bound is not positive.
        """
        if min(self.hold_ms, self.max_streams, self.max_lines, self.max_characters) <= 0:
            raise ConfigurationError(f"the bounds of {self} must be positive")
        table = LandedTable(codec, place.topic, self.bucket, holds_rows=True)
        return _RunningLandLogs(self, table, place, restored)


class _Held(msgspec.Struct, gc=False):
    """An event that lines may still be added to."""

    record: Record
    event: LogEvent
    time_ms: int
    due_ms: int
    """The watermark at which it is given out."""
    size: int
    """Characters."""
    number_of_lines: int = 0
    """Those that were added."""
    lines: list[str] | None = None
    """Those of them that the event does not have yet."""
    row: int | None = None
    """Of the state, once it is there."""

    def joined(self) -> LogEvent:
        """The event with its lines."""
        if self.lines:
            self.event, self.lines = with_lines(self.event, "\n".join(self.lines)), None
        return self.event


class _RunningLandLogs:
    def __init__(self, declared: LandLogs, table: LandedTable, place: TopicPartition, restored: Restored) -> None:
        self._declared = declared
        self._table = table
        self.state = OpenRows(_KEY_COLUMNS, (0, 0), {"stack_trace": Last("stack_trace")}, restored.parts)
        self._held: dict[bytes | None, _Held] = {}
        """By stream, in the order in which they came."""
        self._size = 0
        self._next_due_ms = _NEVER_MS
        self._done: list[tuple[Record, LogEvent, int]] = []
        """Rows to be given out: record, event and time."""
        self._removed: list[int] = []
        """Rows of the state whose events are no longer held."""
        for held in sorted(self._stored(place), key=lambda held: held.record.offset):
            self._hold(held)

    def apply(self, batch: Batch) -> list[LateRecord]:
        waiting = deque(batch.continuations)
        hold_ms = self._declared.hold_ms
        for record, event, time_ms, watermark_ms in zip(
            batch.records, batch.values, batch.times_ms, batch.watermarks_ms, strict=False
        ):
            while waiting and waiting[0][0].offset <= record.offset:
                self._continue(*waiting.popleft(), watermark_ms)
            if watermark_ms >= self._next_due_ms:
                self._give_out_due(watermark_ms)
            if (previous := self._held.pop(record.key, None)) is not None:
                self._give_out(previous)
            # From the watermark, too: a stream whose clock is behind the others' is held as long as they are.
            due_ms = max(time_ms, watermark_ms) + hold_ms
            self._hold(_Held(record, event, time_ms, due_ms, _size(event)))
        for record, text in waiting:
            self._continue(record, text, batch.watermarks_ms[-1])
        return []

    def close(self, watermark_ms: int) -> list[Rows]:
        self._give_out_due(watermark_ms)
        self._store()
        done, self._done = self._done, []
        records, events = [record for record, _, _ in done], [event for _, event, _ in done]
        return self._table.rows(Batch(records, events, [time_ms for _, _, time_ms in done], []))

    def open_until_ms(self) -> int | None:
        return max((held.due_ms for held in self._held.values()), default=None)

    def _hold(self, held: _Held) -> None:
        self._held[held.record.key] = held
        self._size += held.size
        self._next_due_ms = min(self._next_due_ms, held.due_ms)
        self._make_room()

    def _continue(self, record: Record, text: str, watermark_ms: int) -> None:
        """Add lines to what they belong to; without it they are a row of their own."""
        if watermark_ms >= self._next_due_ms:
            self._give_out_due(watermark_ms)
        held = self._held.get(record.key)
        if held is None:
            alone = LogEvent(format="continuation", service=service_of(record), message=text)
            (time_ms,) = lake.within_years([record.timestamp_ms])
            self._done.append((record, alone, time_ms))
            return
        if held.lines is None:
            held.lines = []
        held.lines.append(text)
        held.number_of_lines += 1 + text.count("\n")
        held.size += len(text)
        self._size += len(text)
        if held.number_of_lines >= self._declared.max_lines:
            self._give_out(self._held.pop(record.key))
        self._make_room()

    def _make_room(self) -> None:
        held, declared = self._held, self._declared
        while len(held) > declared.max_streams or self._size > declared.max_characters:
            self._give_out(held.pop(next(iter(held))))

    def _give_out_due(self, watermark_ms: int) -> None:
        for stream in [stream for stream, held in self._held.items() if held.due_ms <= watermark_ms]:
            self._give_out(self._held.pop(stream))
        self._next_due_ms = min((held.due_ms for held in self._held.values()), default=_NEVER_MS)

    def _give_out(self, held: _Held) -> None:
        """One that is held no longer."""
        self._size -= held.size
        self._done.append((held.record, held.joined(), held.time_ms))
        if held.row is not None:
            self._removed.append(held.row)

    def _store(self) -> None:
        """Bring the state up to what is held."""
        self.state.remove(self._removed)
        self._removed.clear()
        changed = [held for held in self._held.values() if held.row is None or held.lines]
        lines, sizes = self.state.columns[_KEY_COLUMNS : _KEY_COLUMNS + 2]
        for held in changed:
            if held.row is None:
                held.row = self.state.new_row(_key_of(held))
            lines[held.row], sizes[held.row] = held.number_of_lines, held.size
        rows = [held.row for held in changed if held.row is not None]
        events, times_ms = [held.joined() for held in changed], [held.time_ms for held in changed]
        self.state.add(rows, Batch([held.record for held in changed], events, times_ms, []))

    def _stored(self, place: TopicPartition) -> Iterator[_Held]:
        columns = self.state.columns
        for row in self.state.numbers():
            offset, timestamp_ms, key, headers, content, time_ms, due_ms, lines, size, stack_trace = (
                column[row] for column in columns[: _KEY_COLUMNS + 3]
            )
            record = JsonRecord(*place, offset, timestamp_ms, key=key, raw_headers=msgspec.Raw(headers))
            event = msgspec.structs.replace(_EVENT.decode(content), stack_trace=stack_trace)
            yield _Held(record, event, time_ms, due_ms, size, lines, row=row)


def _size(event: LogEvent) -> int:
    return sum(map(len, filter(None, _texts(event))))


def _key_of(held: _Held) -> tuple[object, ...]:
    record, raw = held.record, held.record.raw_headers
    headers = bytes(raw) if isinstance(raw, msgspec.Raw) else msgspec.json.encode(raw)
    content = msgspec.msgpack.encode(msgspec.structs.replace(held.event, stack_trace=None))
    return record.offset, record.timestamp_ms, record.key, headers, content, held.time_ms, held.due_ms
