"""Aggregates that keep an object for each window: as bytes until an event touches it.

A cell is bytes as a snapshot has them, or the object that they stand for. Loading a snapshot of a million windows makes
no object at all; a turn makes those of the windows that its records touch. What it did not touch is stored as it was,
and what it did is bytes again when it is stored: objects are several times as large, and so a state that stayed in
memory is the one that is loaded, whatever a `Fold` forgets in its snapshot.
"""

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import msgspec
from arro3.core import DataType

from headrace.aggregates import Columns, State
from headrace.errors import ConfigurationError

NO_EVENTS = b""
"""The cell of a window without events, in memory and in a snapshot."""


class Cells(msgspec.Struct, frozen=True):
    """What such aggregates share. A subclass has `add`, the four methods below, `result` and `result_type`."""

    int64s: ClassVar[Collection[int]] = ()
    keeps_values: ClassVar[bool] = False

    def opened(self, stored: bytes) -> Any:
        """A new object from its bytes; `NO_EVENTS` is of a window without events."""
        raise NotImplementedError

    def packed(self, live: Any) -> bytes:
        """The bytes of an object."""
        raise NotImplementedError

    def union(self, earlier: Any, later: Any) -> Any:
        """A new object with the events of both, which stay as they are."""
        raise NotImplementedError

    def answer(self, live: Any) -> Any:
        """What readers see."""
        raise NotImplementedError

    def initial(self) -> State:
        """No events."""
        return (NO_EVENTS,)

    def merge(self, earlier: State, later: State) -> State:
        """The events of both. Neither state is changed, nor shared with what comes out."""
        for empty, other in ((earlier[0], later[0]), (later[0], earlier[0])):
            if empty.__class__ is bytes and empty == NO_EVENTS:
                return (self._bytes(other),)
        return (self.union(self._live(earlier[0]), self._live(later[0])),)

    def result(self, state: State) -> Any:
        """What readers see."""
        return self.answer(self._live(state[0]))

    def results(self, columns: Columns) -> list[Any]:
        """One by one."""
        return [self.answer(self._live(cell)) for cell in columns[0]]

    def partial_columns(self, columns: Columns) -> list[list[Any]]:
        """The bytes."""
        return [[self._bytes(cell) for cell in columns[0]]]

    def stored(self, columns: Columns, rows: Sequence[int]) -> list[Any]:
        """The bytes, which the cells are again from then on: a function keeps them in memory until its next turn."""
        (cells,) = columns
        for row in rows:
            cell = cells[row]
            if cell.__class__ is not bytes:
                cells[row] = self.packed(cell)
        return [list(map(cells.__getitem__, rows))]

    def restored(self, columns: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
        """As they are."""
        return list(columns)

    def partials(self, name: str, field_type: DataType | None) -> list[tuple[str, DataType]]:
        """The bytes, for readers that have this library."""
        return [(f"{name}__sketch", DataType.binary())]

    def merged(self, name: str) -> None:
        """SQL cannot."""
        return

    def _live(self, cell: Any) -> Any:
        return self.opened(cell) if cell.__class__ is bytes else cell

    def _bytes(self, cell: Any) -> bytes:
        return cell if cell.__class__ is bytes else self.packed(cell)


class CellsOfField(Cells, frozen=True):
    """Of a field."""

    field: str
    """The field to aggregate."""

    def _plain(self, field_type: DataType | None) -> DataType:
        """The field's type, if it is one value."""
        assert field_type is not None, f"{self} needs its field's type"  # noqa: S101 - the caller's bug, not input
        if DataType.is_list(field_type):
            raise ConfigurationError(f"{type(self).__name__}({self.field!r}) needs a field of one value, not an array")
        return field_type

    def _number(self, field_type: DataType | None) -> DataType:
        found = self._plain(field_type)
        if not DataType.is_numeric(found):
            raise ConfigurationError(f"{type(self).__name__}({self.field!r}) needs a number field, not {found!r}")
        return found
