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

from headrace.aggregates import Aggregate, Columns
from headrace.errors import CheckpointCorrupt, ConfigurationError

_MAX_TEXTS = 5000
"""Different strings of a field, beyond which looking for equal ones is given up."""
_GROWTH = 256
"""Rows that are made at once, at least."""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """What a base or a delta says of one operator."""

    new: list[int] = []
    """Numbers of new rows; in a base, of all rows."""
    new_columns: list[list[Any]] = []
    """Their scalars, a list per column."""
    changed: list[int] = []
    """Numbers of rows that were there before …"""
    changed_columns: list[list[Any]] = []
    """… and their scalars, without the columns of the key, which never change."""
    gone: list[int] = []
    """Numbers of rows that became part of others."""

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return len(self.new) + len(self.changed)


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
            ConfigurationError: there is no aggregate.
            CheckpointCorrupt: the parts do not fit the columns, or one another.
        """
        if not aggregates:
            raise ConfigurationError("a window needs at least one aggregate")
        self._keys = keys
        states = [aggregate.initial() for aggregate in aggregates.values()]
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
        self._texts = _Texts()
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
        shared: dict[str, Sequence[Any]] = {}
        for aggregate, columns in self.aggregates:
            field = aggregate.field
            if field is None:
                values: Sequence[Any] = rows
            elif not aggregate.keeps_values:
                values = events.column(field)
            elif (values := shared.get(field)) is None:  # type: ignore[assignment] # mypy wants it declared once
                values = shared[field] = self._texts.shared(field, events.column(field))
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

    def base(self) -> Part:
        """Every open row."""
        rows = self.numbers()
        return Part(rows, self._stored(rows, 0))

    def changes(self) -> Changes:
        """Which rows a delta has to write."""
        alive = self._alive
        touched = set().union(*self._touched) - self._new
        return Changes([row for row in self._new if alive[row]], [row for row in touched if alive[row]])

    def delta(self, changes: Changes) -> Part:
        """What is not written yet."""
        new, changed = changes
        return Part(new, self._stored(new, 0), changed, self._stored(changed, self._keys), list(self._gone))

    def written(self) -> None:
        """Everything up to here is in a committed part."""
        self._new.clear()
        self._touched.clear()
        self._gone.clear()

    def _stored(self, rows: list[int], first: int) -> list[list[Any]]:
        own = len(self._initial) - sum(len(columns) for _, columns in self.aggregates)
        stored = [[column[row] for row in rows] for column in self.columns[first:own]]
        for aggregate, columns in self.aggregates:
            stored += aggregate.stored(columns, rows)
        return stored

    def _take_in(self, part: Part) -> None:
        alive = self._alive
        for row in part.gone:
            alive[row] = 0
        self._put(part.new, part.new_columns, 0)
        if not all(alive[row] for row in part.changed):
            raise CheckpointCorrupt("a delta changes a row that no part before it has", "a snapshot")
        self._put(part.changed, part.changed_columns, self._keys)

    def _put(self, rows: list[int], stored: list[list[Any]], first: int) -> None:
        if not rows:
            return
        targets = self.columns[first:]
        if [len(column) for column in stored] != [len(rows)] * len(targets):
            raise CheckpointCorrupt(f"a snapshot has not {len(targets)} columns of {len(rows)} scalars", "a snapshot")
        restored = self._restored(stored, first)
        if not self._alive and rows == list(range(len(rows))):
            for target, column in zip(targets, restored, strict=True):
                target.extend(column)
            self._alive.extend(b"\1" * len(rows))
            return
        self._grow(max(rows) + 1)
        for target, column in zip(targets, restored, strict=True):
            for row, scalar in zip(rows, column, strict=True):
                target[row] = scalar
        for row in rows:
            self._alive[row] = 1

    def _restored(self, stored: list[list[Any]], first: int) -> list[list[Any]]:
        own = len(self._initial) - sum(len(columns) for _, columns in self.aggregates) - first
        restored, position = stored[:own], own
        for aggregate, columns in self.aggregates:
            restored += aggregate.restored(stored[position : position + len(columns)])
            position += len(columns)
        return restored

    def _grow(self, size: int) -> None:
        missing = size - len(self._alive)
        if missing > 0:
            for column, scalar in zip(self.columns, self._initial, strict=True):
                column.extend([scalar] * missing)
            self._free.extend(range(len(self._alive), size))
            self._alive.extend(bytes(missing))

    def _find_free(self) -> None:
        self._free = [row for row, alive in enumerate(self._alive) if not alive]


class _Texts:
    """One string for equal ones, of fields with few different values.

    State that keeps the strings of each batch holds on to bits of the memory in which the next batches are decoded:
    that was measured to make decoding half as slow again. It also saves their memory.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[Any, Any]] = {}

    def shared(self, field: str, values: Sequence[Any]) -> Sequence[Any]:
        """The values, equal ones being one object."""
        known = self._known.setdefault(field, {})
        if len(known) > _MAX_TEXTS or next((v for v in values if v is not None), None).__class__ is not str:
            return values
        return list(map(known.setdefault, values, values))


def _column(int64: bool) -> MutableSequence[Any]:
    # Not only for their size: integers of their own, left behind by each batch all over the memory in which the next
    # ones are decoded, were measured to double the time of decoding.
    return array("q") if int64 else []


def _state(columns: Columns, row: int) -> tuple[Any, ...]:
    return tuple([column[row] for column in columns])
