"""Aggregates of your own: a `Fold` says what happens to one window's state, `Folded` makes it a column."""

from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, TypeVar

import msgspec
from arro3.core import DataType

from headrace.aggregates import Columns
from headrace.cells import NO_EVENTS, Cells
from headrace.errors import ConfigurationError

S = TypeVar("S")


class Fold(Protocol[S]):
    """What to write for an aggregate of your own; a frozen `msgspec.Struct`, its settings being its fields.

    Its result must follow from the events in their order alone: no clock, no randomness, no order of a set.
    """

    def initial(self) -> S:
        """The state of no events."""
        ...

    def add(self, state: S, value: Any, time_ms: int) -> S:
        """The state with one more event, in offset order: the old one, changed, or a new one.

        Args:
            state: nobody else has it.
            value: of the field, never None; None if there is no field.
            time_ms: the event's time.
        """
        ...

    def merge(self, earlier: S, later: S) -> S:
        """The state of both, whose events come one part after the other in time. It may use up either."""
        ...

    def result(self, state: S) -> Any:
        """What readers see; None is NULL."""
        ...

    def snapshot(self, state: S) -> Any:
        """The state as plain data: None, bool, int (64 bits), float, str, bytes, and lists and dicts of those."""
        ...

    def restore(self, snapshot: Any) -> S:
        """The state again, from a copy of what `snapshot` gave."""
        ...

    def result_type(self, field_type: DataType | None) -> DataType:
        """The column's type, given the field's; None if there is no field."""
        ...


_METHODS = ("initial", "add", "merge", "result", "snapshot", "restore", "result_type")


class _Box:
    """A state that is restored, so that it is not taken for the bytes of one that is not."""

    __slots__ = ("state",)

    def __init__(self, state: Any) -> None:
        self.state = state


class Folded(Cells, frozen=True):
    """A column of a windowed table, made of a `Fold`.

    Raises:
        ConfigurationError: it is not a Fold, or the state of no events does not survive a snapshot.
    """

    fold: Any
    """The Fold."""
    field: str | None = None
    """The field to aggregate, absent values left out; None: every event counts."""

    def __post_init__(self) -> None:
        """Find at import what would otherwise stop a partition."""
        if missing := [name for name in _METHODS if not callable(getattr(self.fold, name, None))]:
            raise ConfigurationError(f"{self._name} is not a Fold: it has no method {', '.join(missing)}")
        if isinstance(self.fold, type) or not isinstance(self.fold, msgspec.Struct):
            raise ConfigurationError(
                f"{self._name} must be an instance of a frozen msgspec.Struct: its fields are its settings, which the "
                "fingerprint of a topology has to know"
            )
        packed = self.packed(self.opened(NO_EVENTS))
        if self.packed(self.opened(packed)) != packed:
            raise ConfigurationError(f"{self._name}: what restore makes of a snapshot has another snapshot")

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """One by one, in order."""
        (cells,) = columns
        add = self.fold.add
        if self.field is None:
            values = [None] * len(rows)
        for row, value, time_ms in zip(rows, values, times_ms, strict=True):
            if value is None and self.field is not None:
                continue
            cell = cells[row]
            if cell.__class__ is not _Box:
                cell = cells[row] = self.opened(cell)
            cell.state = add(cell.state, value, time_ms)

    def result_type(self, field_type: DataType | None) -> DataType:
        """The Fold's.

        Raises:
            ConfigurationError: it has none.
        """
        found = self.fold.result_type(field_type)
        if not isinstance(found, DataType):
            raise ConfigurationError(f"{self._name}.result_type must give an arro3 DataType, not {found!r}")
        return found

    def opened(self, stored: bytes) -> _Box:
        """In a box of its own."""
        if stored == NO_EVENTS:
            return _Box(self.fold.initial())
        return _Box(self.fold.restore(msgspec.msgpack.decode(stored)))

    def packed(self, live: _Box) -> bytes:
        """The Fold's snapshot.

        Raises:
            ConfigurationError: it is not plain data.
        """
        snapshot = self.fold.snapshot(live.state)
        try:
            return msgspec.msgpack.encode(snapshot, enc_hook=_refuse)
        except (TypeError, OverflowError, UnicodeEncodeError) as error:
            raise ConfigurationError(f"{self._name}.snapshot must give plain data: {error}") from error

    def union(self, earlier: _Box, later: _Box) -> _Box:
        """Of copies: whatever the Fold does to its arguments, no other window sees it."""
        copies = (self.opened(self.packed(box)).state for box in (earlier, later))
        return _Box(self.fold.merge(*copies))

    def answer(self, live: _Box) -> Any:
        """The Fold's result."""
        return self.fold.result(live.state)

    @property
    def _name(self) -> str:
        return self.fold.__name__ if isinstance(self.fold, type) else type(self.fold).__name__


def _refuse(value: Any) -> NoReturn:
    raise TypeError(f"a {type(value).__name__} is not")
