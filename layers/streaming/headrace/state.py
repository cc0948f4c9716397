"""The open rows of one operator: scalars by column, and what changed of them since they were last written.

A row keeps its number for as long as it is open, so that a delta can name it; then the number is free for another row.

    base     every open row
    delta    new rows; changed rows without their key; rows that are gone though the watermark did not close them

What the watermark closed is in no part: the checkpoint's watermark says it to whoever loads the chain. Kept by column,
not as an object per row, a turn loads, closes and writes tens of thousands of rows in a few calls into C, and leaves
next to nothing for the garbage collector.
"""

from array import array
from collections.abc import Collection, Iterable, Mapping, MutableSequence, Sequence
from functools import reduce
from itertools import compress
from typing import Any, NamedTuple, Protocol

import msgspec

from headrace.aggregates import Aggregate, Columns, scalars_of
from headrace.errors import CheckpointCorrupt

_BIG_END_FIRST = array("H", [1]).tobytes() == b"\0\1"
_INVERTED = bytes([1, 0]) + bytes(254)
_GROWTH = 256
"""Rows that are made at once, at least."""
_SPARSE = 4
"""So many times the open rows may the columns be long, with the free rows of a time when more was open."""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """What a base or a delta says of one operator."""

    new: list[int] | int = []
    """Numbers of new rows; so many, from 0 on, if it is a base."""
    new_columns: list[Any] = []
    """Their scalars: a list per column, or eight bytes each, little end first, of columns of 64-bit integers."""
    changed: list[int] = []
    """Numbers of rows that were there before …"""
    changed_columns: list[Any] = []
    """… and their scalars, without the columns of the key, which never change."""
    gone: list[int] = []
    """Numbers of rows that became part of others, or were removed; in a base, of those that are free."""

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        new = self.new - len(self.gone) if isinstance(self.new, int) else len(self.new)
        return new + len(self.changed)


class Changes(NamedTuple):
    """Numbers of the rows that were not written as they are now."""

    new: list[int]
    changed: list[int]


class Events(Protocol):
    """What aggregates need to know of a batch."""

    @property
    def times_ms(self) -> Sequence[int]:
        """Event times."""
        ...

    def column(self, name: str) -> Sequence[Any]:
        """One field of all values."""
        ...

    def shared(self, name: str) -> Sequence[Any]:
        """The same, to be kept: equal strings are one object, if there are few different ones."""
        ...


class OpenRows:
    """Columns of scalars: first those of the key, then `scalars`, then the states of the aggregates."""

    def __init__(
        self, keys: int, scalars: Sequence[Any], aggregates: Mapping[str, Aggregate], parts: Sequence[Part]
    ) -> None:
        """Start from what was written, oldest part first; from nothing, if it is empty.

        Args:
            keys: number of columns that make the key of a row.
            scalars: initial values of the columns that are the operator's own: 64-bit integers.
            aggregates: by name.
            parts: of the chain.

        Raises:
            CheckpointCorrupt: the parts do not fit the columns, or one another.
        """
        self._keys = keys
        states = [aggregate.initial() for aggregate in aggregates.values()]
        self._own = keys + len(scalars)
        self._initial: list[Any] = [*[None] * keys, *scalars, *(scalar for state in states for scalar in state)]
        int64s = [
            place in a.int64s
            for a, state in zip(aggregates.values(), states, strict=True)
            for place in range(len(state))
        ]
        self.columns = [_column(int64) for int64 in [*[False] * keys, *[True] * len(scalars), *int64s]]
        """All scalars; scalar n of row r is `columns[n][r]`."""
        places = iter(self.columns[keys + len(scalars) :])
        self.aggregates = [(a, [next(places) for _ in s]) for a, s in zip(aggregates.values(), states, strict=True)]
        """Each aggregate with its columns."""
        self._alive = bytearray()
        self._free: list[int] = []
        self._new: set[int] = set()
        self._touched: list[Iterable[int]] = []
        self._gone: list[int] = []
        for part in parts:
            self._take_in(part)
        self._find_free()

    def __len__(self) -> int:
        """How many rows are open."""
        return self._alive.count(1)

    def numbers(self) -> list[int]:
        """Of the open rows, ascending."""
        return list(compress(range(len(self._alive)), self._alive))

    def free(self, at_least: int) -> list[int]:
        """Numbers that the caller may take from the end of the list, for rows that he then reports to `opened`.

        Args:
            at_least: how many there have to be.
        """
        if len(self._free) < at_least:
            self._grow(len(self._alive) + max(at_least, _GROWTH))
        return self._free

    def opened(self, rows: Sequence[int], keys: Sequence[Sequence[Any]]) -> None:
        """New rows, taken from the free ones.

        Args:
            rows: their numbers; every scalar that is not the key's is the initial one, or what the caller set.
            keys: the scalars of the key, a column each.
        """
        self._new.update(rows)
        alive = self._alive
        for row in rows:
            alive[row] = 1
        for column, scalars in zip(self.columns, keys, strict=False):
            for row, scalar in zip(rows, scalars, strict=True):
                column[row] = scalar

    def new_row(self, key: Sequence[Any]) -> int:
        """One new row, and its number."""
        row = self.free(1).pop()
        self.opened((row,), [(scalar,) for scalar in key])
        return row

    def add(self, rows: Sequence[int], events: Events) -> None:
        """Let every aggregate take the events in: event n goes into row `rows[n]`."""
        self._touched.append(rows)
        times_ms = events.times_ms
        for aggregate, columns in self.aggregates:
            field = aggregate.field
            read = events.shared if aggregate.keeps_values else events.column
            if field is None:
                values: Sequence[Any] = rows
            elif isinstance(field, tuple):
                values = list(zip(*map(read, field), strict=True))
            else:
                values = read(field)
            aggregate.add(columns, rows, values, times_ms)

    def merge(self, earlier: int, later: int) -> None:
        """Add the second row's events to the first row's; the second one is over, its number still to be released."""
        for aggregate, columns in self.aggregates:
            merged = aggregate.merge(_state(columns, earlier), _state(columns, later))
            for column, scalar in zip(columns, merged, strict=True):
                column[earlier] = scalar
        self.touch((earlier,))
        self._alive[later] = 0
        if later not in self._new:
            self._gone.append(later)

    def touch(self, rows: Iterable[int]) -> None:
        """Note that scalars of these rows were changed by the caller."""
        self._touched.append(rows)

    def states(self, rows: Sequence[int]) -> list[tuple[Aggregate, Columns]]:
        """Each aggregate with the states of these rows, by column."""
        return [(each, [[column[row] for row in rows] for column in columns]) for each, columns in self.aggregates]

    def merged(self, groups: Sequence[Sequence[int]]) -> list[tuple[Aggregate, Columns]]:
        """Each aggregate with the merged states of groups of rows, by column; a group is in the order of time."""
        found: list[tuple[Aggregate, Columns]] = []
        for aggregate, columns in self.aggregates:
            states = [reduce(aggregate.merge, [_state(columns, row) for row in rows]) for rows in groups]
            found.append((aggregate, [list(column) for column in zip(*states, strict=True)]))
        return found

    def release(self, rows: Collection[int]) -> None:
        """Forget closed rows; their numbers become free."""
        for column, scalar in zip(self.columns, self._initial, strict=True):
            for row in rows:
                column[row] = scalar
        alive = self._alive
        for row in rows:
            alive[row] = 0
        self._free.extend(rows)

    def remove(self, rows: Collection[int]) -> None:
        """Forget rows that the watermark alone does not close: a delta names them."""
        self._gone += [row for row in rows if row not in self._new]
        self.release(rows)

    def base(self) -> Part:
        """Every open row, and what is free between them, so that columns are read back as they are."""
        size = self._alive.rfind(1) + 1
        free = list(compress(range(size), self._alive[:size].translate(_INVERTED)))
        return Part(size, self._stored(range(size), 0), gone=free)

    @property
    def is_sparse(self) -> bool:
        """Whether most of the columns' room is free, so that it pays to start again from `compact`."""
        size = self._alive.rfind(1) + 1
        return size > _SPARSE * max(len(self), _GROWTH)

    def compact(self) -> Part:
        """A base of the open rows alone, for new columns: their numbers are others than here."""
        rows = self.numbers()
        return Part(len(rows), self._stored(rows, 0))

    def changes(self) -> Changes:
        """Which rows a delta has to write."""
        alive = self._alive
        touched = set().union(*self._touched)
        touched.difference_update(self._new)
        return Changes(*(list(compress(rows, map(alive.__getitem__, rows))) for rows in (self._new, touched)))

    def delta(self, changes: Changes) -> Part:
        """What is not written yet."""
        new, changed = changes
        gone = [row for row in self._gone if not self._alive[row]]  # who took its number meanwhile is new
        return Part(new, self._stored(new, 0), changed, self._stored(changed, self._keys), gone)

    def written(self) -> None:
        """Everything up to here is in a committed part."""
        self._new.clear()
        self._touched.clear()
        self._gone.clear()

    def _stored(self, rows: Sequence[int], first: int) -> list[Any]:
        stored: list[Any] = scalars_of(self.columns[first : self._own], rows)
        for aggregate, columns in self.aggregates:
            stored += aggregate.stored(columns, rows)
        return [
            _bytes(scalars) if column.__class__ is array else scalars
            for column, scalars in zip(self.columns[first:], stored, strict=True)
        ]

    def _take_in(self, part: Part) -> None:
        alive = self._alive
        if isinstance(part.new, int):
            self._put_all(part.new, part.new_columns)
        else:
            self._put(part.new, part.new_columns, 0)
        if not all(alive[row] for row in part.changed):
            raise CheckpointCorrupt("a delta changes a row that no part before it has", "a snapshot")
        self._put(part.changed, part.changed_columns, self._keys)
        for row in part.gone:
            alive[row] = 0

    def _put_all(self, size: int, stored: list[Any]) -> None:
        if self._alive:
            raise CheckpointCorrupt("a base is not the first part of a snapshot", "a snapshot")
        for target, column in zip(self.columns, self._restored(stored, size, 0), strict=True):
            target.extend(column)
        self._alive.extend(b"\1" * size)

    def _put(self, rows: list[int], stored: list[Any], first: int) -> None:
        if not rows:
            return
        self._grow(max(rows) + 1)
        for target, column in zip(self.columns[first:], self._restored(stored, len(rows), first), strict=True):
            for row, scalar in zip(rows, column, strict=True):
                target[row] = scalar
        for row in rows:
            self._alive[row] = 1

    def _restored(self, stored: list[Any], size: int, first: int) -> list[Sequence[Any]]:
        columns = [
            _int64s(scalars) if column.__class__ is array else scalars
            for column, scalars in zip(self.columns[first:], stored, strict=False)
        ]
        number = len(self.columns) - first
        if [len(column) for column in columns] != [size] * number:
            raise CheckpointCorrupt(f"a snapshot has not {number} columns of {size} scalars", "a snapshot")
        position = self._own - first
        restored = columns[:position]
        for aggregate, places in self.aggregates:
            restored += aggregate.restored(columns[position : position + len(places)])
            position += len(places)
        return restored

    def _grow(self, size: int) -> None:
        missing = size - len(self._alive)
        if missing > 0:
            for column, scalar in zip(self.columns, self._initial, strict=True):
                column.extend([scalar] * missing)
            self._free.extend(reversed(range(len(self._alive), size)))  # low numbers are taken first
            self._alive.extend(bytes(missing))

    def _find_free(self) -> None:
        """After the last part: rows that are not open hold what their last owner left."""
        self._free = []
        self.release([row for row, alive in enumerate(self._alive) if not alive])


def _column(int64: bool) -> MutableSequence[Any]:
    # Not only for their size: integers of their own, left behind by each batch all over the memory in which the next
    # ones are decoded, were measured to double the time of decoding.
    return array("q") if int64 else []


def _bytes(scalars: "Sequence[int] | array[int]") -> bytes:
    packed = scalars if isinstance(scalars, array) else array("q", scalars)
    if _BIG_END_FIRST:
        packed = packed[:]
        packed.byteswap()
    return packed.tobytes()


def _int64s(packed: bytes) -> "array[int]":
    scalars = array("q")
    scalars.frombytes(packed)
    if _BIG_END_FIRST:
        scalars.byteswap()
    return scalars


def _state(columns: Columns, row: int) -> tuple[Any, ...]:
    return tuple([column[row] for column in columns])
