"""Which commits, and so which offsets, the files in a hole of the running numbers were of.

Any file of the partition that is still there tells how many files of each table there were before and after its
commit. Between two such marks lie the commits, the offsets and the running numbers of whatever is missing there:

    number     … 41 │ 42 43   │ 44 45 …       42 and 43 are gone; a file of another table has the page of version 8,
    version       7 │  8      │ 9             which had counted 43: both are of version 8
    offset       …70│ 70 … 79 │ 80 …
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from headrace.checkpoint import Checkpoint
from headrace.ledger import Commit, files_of, rows_of
from headrace_cli.ledger.offsets import OffsetRange
from headrace_cli.ledger.shelf import Hole


class Segment(NamedTuple):
    """A part of a hole, as narrowly placed as the books allow."""

    files: int
    """How many of the missing files."""
    rows: int | None
    """How many of the missing rows; None if nobody knows."""
    version_before: int
    """The files are of commits after this version …"""
    version: int
    """… up to this one."""
    offsets: OffsetRange
    """What these commits passed; empty if they were ticks."""


class _Mark(NamedTuple):
    """How far the books were at a moment between two commits."""

    version: int
    offset: int
    file: int
    row: int | None


def locate(hole: Hole, table: str, commits: Iterable[Commit], checkpoint: Checkpoint) -> list[Segment]:
    """The hole by commit, as far as these commits of its partition tell it; in order."""
    segments = []
    for start, end in pairwise(_marks(table, commits, checkpoint)):
        first, last = max(hole.first, start.file + 1), min(hole.last, end.file)
        if first > last:
            continue
        row_before = hole.row_before if first == hole.first else start.row
        row = hole.row if last == hole.last else end.row
        rows = None if row_before is None or row is None else row - row_before
        offsets = OffsetRange(start.offset, end.offset)
        segments.append(Segment(last - first + 1, rows, start.version, end.version, offsets))
    return segments


def _marks(table: str, commits: Iterable[Commit], checkpoint: Checkpoint) -> list[_Mark]:
    files, rows = files_of(table), rows_of(table)
    marks = [_Mark(0, checkpoint.base_offset, 0, None)]
    for commit in commits:
        marks.append(_Mark(commit.version - 1, commit.first_offset, commit.before(files), commit.before(rows)))
        marks.append(_Mark(commit.version, commit.next_offset, commit.totals.get(files, 0), commit.totals.get(rows, 0)))
    totals = checkpoint.totals
    marks.append(_Mark(checkpoint.version, checkpoint.next_offset, totals.get(files, 0), totals.get(rows, 0)))
    return sorted(marks, key=lambda mark: mark[:3])
