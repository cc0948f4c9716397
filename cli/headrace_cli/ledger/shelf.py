"""The files of one table of one partition, by their running numbers: where one is missing, doubled or wrong.

A file takes 48 bytes here and, while its table is compared, about three times as much.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from headrace.lake import FileName
from headrace.ledger import Page


class Spot(NamedTuple):
    """One file on its shelf."""

    file: int
    """Its running number, from 1."""
    row: int
    """The running number of its last row."""
    rows: int
    """How many it has, by the file itself."""
    version: int
    number: int
    hour_ms: int
    bucket_hours: int = 1

    @property
    def row_before(self) -> int:
        """The running number of the row before its first one."""
        return self.row - self.rows


class Hole(NamedTuple):
    """Running numbers without a file."""

    first: int
    last: int
    before: Spot | None
    """The file with the number before; None at the start of the books."""
    after: Spot | None
    """The file with the number after; None at the end of the books."""
    row_before: int | None
    """The running number of the row before the first missing one; None if nobody knows."""
    row: int
    """The running number of the last missing row."""


class Doubled(NamedTuple):
    """Two files with one running number."""

    one: Spot
    other: Spot


class WrongRows(NamedTuple):
    """A file whose rows are not those that were counted."""

    spot: Spot
    counted: int


class Beyond(NamedTuple):
    """A file with a number that the books have not got to."""

    spot: Spot


Fault = Hole | Doubled | WrongRows | Beyond


class Shelf:
    """The numbered files of one table of one partition."""

    def __init__(self) -> None:
        self._columns = tuple(array("q") for _ in Spot._fields)
        self._by_version: array[int] | None = None

    def add(self, page: Page, name: FileName, rows: int) -> None:
        """Take a file in."""
        self._by_version = None
        spot = Spot(page.file, page.row, rows, name.version, name.number, name.hour_ms, name.bucket_hours)
        for column, value in zip(self._columns, spot, strict=True):
            column.append(value)

    def __len__(self) -> int:
        """The number of files."""
        return len(self._columns[0])

    def __iter__(self) -> Iterator[Spot]:
        """The files by running number."""
        numbers = self._columns[0]
        for index in sorted(range(len(numbers)), key=numbers.__getitem__):
            yield Spot(*(column[index] for column in self._columns))

    def of_versions(self, after: int, through: int) -> list[Spot]:
        """The files of the commits with `after < version <= through`, by version."""
        return [Spot(*(column[index] for column in self._columns)) for index in self._indices(after, through)]

    def versions(self, after: int, through: int) -> Iterator[int]:
        """The versions of these files, as often as there are files."""
        return map(self._versions.__getitem__, self._indices(after, through))

    @property
    def _versions(self) -> "array[int]":
        return self._columns[Spot._fields.index("version")]

    def _indices(self, after: int, through: int) -> "array[int]":
        version_of = self._versions.__getitem__
        if self._by_version is None:
            self._by_version = array("q", sorted(range(len(self)), key=version_of))
        start, end = (bisect_right(self._by_version, version, key=version_of) for version in (after, through))
        return self._by_version[start:end]

    def faults(self, files: int, rows: int, rows_before: int | None) -> Iterator[Fault]:
        """What differs from the books.

        Args:
            files: the running total of files.
            rows: the running total of rows.
            rows_before: rows in files from before files were numbered: mostly 0; None if nobody knows.
        """
        last: Spot | None = None
        for spot in self:
            row = last.row if last else rows_before
            number = last.file if last else 0
            if spot.file > files:
                yield Beyond(spot)
                continue
            if last and spot.file == last.file:
                yield Doubled(last, spot)
                continue
            if spot.file > number + 1:
                yield Hole(number + 1, spot.file - 1, last, spot, row, spot.row_before)
            elif row is not None and spot.row_before != row:
                yield WrongRows(spot, spot.row - row)
            last = spot
        yield from self._end(last, files, rows, rows_before)

    def _end(self, last: Spot | None, files: int, rows: int, rows_before: int | None) -> Iterator[Fault]:
        row, number = (last.row, last.file) if last else (rows_before, 0)
        if number < files:
            yield Hole(number + 1, files, last, None, row, rows)
        elif last and last.row != rows:
            yield WrongRows(last, last.rows + rows - last.row)
