"""A few values of a field as they came, of the events that another field marks: what a count was made of."""

from collections.abc import Sequence
from itertools import compress
from operator import itemgetter
from typing import Any

import msgspec
from arro3.core import DataType, Field

from headrace.aggregates import Columns
from headrace.cells import NO_EVENTS, Cells
from headrace.errors import ConfigurationError

_is_marked = itemgetter(1)
MAX_CHARS = 500
"""Of one text: the rest is cut off."""


class Samples(Cells, frozen=True):
    """The first texts of a field, in offset order, of the events where another field is not 0, false or null.

    The column is a list of texts. Merged panes and partitions keep those of the earlier part. A window takes `count`
    texts of `MAX_CHARS` characters at most.

    Raises:
        ConfigurationError: the count is not positive.
    """

    of: str
    """The field that is kept."""
    where: str
    """The field that says of which events."""
    count: int = 3
    """How many are kept."""

    def __post_init__(self) -> None:
        """Refuse to keep nothing."""
        if self.count <= 0:
            raise ConfigurationError(f"Samples({self.of!r}) needs a positive count, not {self.count}")

    @property
    def field(self) -> tuple[str, str]:
        """Both."""
        return (self.of, self.where)

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Keep what comes first."""
        (cells,) = columns
        # Most events are not marked: they are left out without a step of Python's.
        for row, (text, _) in compress(zip(rows, values, strict=True), map(_is_marked, values)):
            if text is None:
                continue
            cell = cells[row]
            if cell.__class__ is bytes:
                cell = cells[row] = self.opened(cell)
            if len(cell) < self.count:
                # A string of its own: the decoder's lies in the memory of its batch, and would keep it.
                cell.append(text[:1] + text[1:MAX_CHARS])

    def result_type(self, field_type: DataType | None) -> DataType:
        """A list of texts.

        Raises:
            ConfigurationError: the field is no text.
        """
        if field_type is None or not DataType.is_string(field_type):
            raise ConfigurationError(f"Samples({self.of!r}) needs a field of texts, not {field_type!r}")
        return DataType.list(Field("element", DataType.string(), nullable=False))

    def opened(self, stored: bytes) -> list[str]:
        """A new list."""
        return [] if stored == NO_EVENTS else msgspec.msgpack.decode(stored, type=list[str])

    def packed(self, live: list[str]) -> bytes:
        """In their order."""
        return msgspec.msgpack.encode(live) if live else NO_EVENTS

    def union(self, earlier: list[str], later: list[str]) -> list[str]:
        """As many of the later ones as there is room for."""
        return [*earlier, *later][: self.count]

    def answer(self, live: list[str]) -> list[str]:
        """The texts."""
        return live
