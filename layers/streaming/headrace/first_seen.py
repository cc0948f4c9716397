"""The first time that a key shows up on its partition: a row for each, as soon as it is there.

    records    a  b  a     c  …  (forget_after without b)  …  b
    rows       a  b        c                                  b

A key is *silent* since its last record. It is forgotten when it was silent for `forget_after_ms`, or when there is no
room for a new one: then the key that is silent longest goes. The moment of a record is its event time, or the watermark
before it if that is later: a late record says that its key is alive now, not that it was then. All of this goes record
by record, so where a batch is cut changes nothing; the watermark only frees what is forgotten anyway.
"""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Any

import msgspec
from arro3.core import Field

from headrace import lake
from headrace.codec import Codec
from headrace.errors import ConfigurationError
from headrace.lake import LakeTable, Rows
from headrace.operators import Batch, LateRecord, Restored, Running, copied
from headrace.records import TopicPartition
from headrace.schema import Schema
from headrace.state import OpenRows
from headrace.window_rows import check_names, check_table, key_fields

FIRST_SEEN = Field("first_seen", lake.TIMESTAMP, nullable=False)
"""Event time of the record."""

Key = tuple[Any, ...]
"""The values of the key fields."""


class FirstSeen(msgspec.Struct, frozen=True):
    """A row the first time that a key shows up on a partition, or again after it was forgotten.

    What is new on one partition may be known on another: readers that want it once take the earliest row of a key. If
    the topic is keyed by the same fields there is no other partition.
    """

    table: str
    """Name of the table that the rows go to."""
    key: tuple[str, ...]
    """Fields of the value that make the key."""
    forget_after_ms: int
    """How long a key must have been silent to be new again."""
    capacity: int = 100_000
    """How many keys are remembered at most; some 56 MB of memory for so many of 200 characters."""
    samples: tuple[str, ...] = ()
    """Fields of the first record that go along."""
    complete: bool = False
    """Whether the topic is keyed by the same fields, see `windowed.Windowed`."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ConfigurationError: in a sentence.
        """
        what = f"table {self.table!r} of keys seen first"
        check_table(what, self.table)
        if not self.key:
            raise ConfigurationError(f"{what}: without a key nothing can be new")
        for name in ("forget_after_ms", "capacity"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{what}: {name} must be positive, not {getattr(self, name)}")

    @property
    def tables(self) -> tuple[str, ...]:
        """All tables that it has rows for."""
        return (self.table,)

    def build(self, codec: Codec, place: TopicPartition, lateness_ms: int, restored: Restored) -> Running:
        """See `Operator.build`; no record is too late for it."""
        return _RunningFirstSeen(self, codec.schema, restored)


class _RunningFirstSeen:
    def __init__(self, declared: FirstSeen, schema: Schema, restored: Restored) -> None:
        self._key, self._capacity, self._forget_after_ms = declared.key, declared.capacity, declared.forget_after_ms
        self._fields = [*key_fields(schema, declared.key), *schema.project(declared.samples).arrow_fields()]
        fields = (FIRST_SEEN, *self._fields, *lake.RECORD_FIELDS)
        check_names(declared.table, fields)
        self._table = LakeTable(declared.table, fields, declared.complete)
        self._rows: list[Rows] = []
        self.state = OpenRows(len(self._key), (0, 0), {}, restored.parts)
        self._lasts_ms, self._turns = self.state.columns[len(self._key) :]
        """The moment of each key's last record, and its turn among all records."""
        self._row_of: dict[Key, int] = {}
        self._waiting: list[tuple[int, int, int]] = []
        """A heap with one entry per row: moment and turn of the key's last record, or of an earlier one, and the row.
        It is put right when it comes to the top: until then records of known keys cost no more than two numbers."""
        self._index(restored.watermark_ms)

    def apply(self, batch: Batch) -> list[LateRecord]:
        """See `operators.Running.apply`."""
        row_of, lasts_ms, turns = self._row_of, self._lasts_ms, self._turns
        keys = batch.keys(self._key)
        touched: set[int] = set()
        new: list[int] = []
        for index, now_ms in enumerate(map(max, batch.times_ms, batch.watermarks_ms)):
            key = keys[index]
            row = row_of.get(key)
            if row is None:
                new.append(index)
                row = self._remember(key, now_ms)
            elif (last_ms := lasts_ms[row]) < now_ms:
                lasts_ms[row] = now_ms
                if now_ms - last_ms >= self._forget_after_ms:
                    new.append(index)
            turns[row] = self._turn
            self._turn += 1
            touched.add(row)
        self.state.touch(touched)
        if new:
            self._rows.append(self._new_rows(batch.picked(new)))
        return []

    def close(self, watermark_ms: int) -> list[Rows]:
        """See `operators.Running.close`."""
        newest_ms = watermark_ms - self._forget_after_ms
        waiting = self._waiting
        while waiting and waiting[0][0] <= newest_ms and self._lasts_ms[row := self._longest_silent()] <= newest_ms:
            self._forget(row)
            self.state.release((row,))
        rows, self._rows = self._rows, []
        return rows

    def open_until_ms(self) -> int | None:
        """See `operators.Running.open_until_ms`: nothing waits to be given out, so an idle partition needs no tick."""
        return None

    def _index(self, watermark_ms: int) -> None:
        newest_ms = watermark_ms - self._forget_after_ms
        lasts_ms, turns = self._lasts_ms, self._turns
        self.state.release([row for row in self.state.numbers() if lasts_ms[row] <= newest_ms])
        rows = self.state.numbers()
        self._row_of = {self._key_of(row): row for row in rows}
        self._waiting = [(lasts_ms[row], turns[row], row) for row in rows]
        heapify(self._waiting)
        self._turn = max((turns[row] for row in rows), default=0) + 1

    def _remember(self, key: Key, now_ms: int) -> int:
        """A row for a new key, if need be in the place of another."""
        if len(self._row_of) >= self._capacity:
            longest_silent = self._longest_silent()
            self._forget(longest_silent)
            self.state.release((longest_silent,))  # the new key gets its number at once: no delta has to say it is gone
        key = tuple(map(copied, key))
        row = self._row_of[key] = self.state.new_row(key)
        self._lasts_ms[row], self._turns[row] = now_ms, self._turn
        heappush(self._waiting, (now_ms, self._turn, row))
        return row

    def _longest_silent(self) -> int:
        """The row at the top of the heap, once that is right."""
        while True:
            row = self._waiting[0][2]
            entry = (self._lasts_ms[row], self._turns[row], row)
            if entry == self._waiting[0]:
                return row
            heapreplace(self._waiting, entry)

    def _forget(self, longest_silent: int) -> None:
        heappop(self._waiting)
        del self._row_of[self._key_of(longest_silent)]

    def _key_of(self, row: int) -> Key:
        return tuple([column[row] for column in self.state.columns[: len(self._key)]])

    def _new_rows(self, batch: Batch) -> Rows:
        columns = [lake.column(batch.column(f.name), f.type, nullable=f.nullable) for f in self._fields]
        first_seen = lake.column(batch.times_ms, lake.TIMESTAMP)
        return Rows(self._table, batch.times_ms, [first_seen, *columns, *lake.record_columns(batch.records)])
