"""The page of the books that every published file carries in its footer: the commit that made it, and its own place.

Files and rows of a table are numbered through, per pipeline, generation, topic and partition. A file that is gone is a
hole in the numbers, and the pages on both sides of the hole say which commits and offsets it was of: nothing else has
to be written, asked or kept for that. A page is a function of its commit alone: staged again, it is the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec

METADATA_KEY = "headrace.ledger"
"""Where the page is in the footer's key-value metadata."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What is counted, numbered or an offset; of a damaged page it could be anything."""


class Commit(msgspec.Struct, frozen=True):
    """One commit's line in the books of its partition."""

    pipeline: str
    generation: str
    topic: str
    partition: Count
    version: Count
    first_offset: Count
    """The first offset that this commit passed."""
    next_offset: Count
    """The first offset after it; the same as the first one for a tick, which passes none."""
    added: Mapping[str, Count]
    """What it added to the running totals."""
    totals: Mapping[str, Count]
    """The running totals after it, named as in `Checkpoint.totals`."""

    def before(self, name: str) -> int:
        """A running total before this commit."""
        return self.totals.get(name, 0) - self.added.get(name, 0)


class Page(msgspec.Struct, frozen=True):
    """One published file's place in the books."""

    commit: Commit
    table: str
    number: Count
    """Among the files of its commit, from 0: the last part of its key."""
    file: Count
    """The running number of the file in its table, from 1."""
    row: Count
    """The running number of its last row in its table, from 1."""

    def metadata(self) -> dict[str, str]:
        """The page as metadata of a footer."""
        return {METADATA_KEY: msgspec.json.encode(self).decode()}


def files_of(table: str) -> str:
    """The name of the table's running total of files."""
    return f"files.{table}"


def rows_of(table: str) -> str:
    """The name of the table's running total of rows."""
    return f"rows.{table}"


def written(files: Iterable[tuple[str, int]]) -> Counter[str]:
    """What files of (table, rows) add to the totals."""
    added: Counter[str] = Counter()
    for table, rows in files:
        for name, count in (("files", 1), ("rows", rows), (files_of(table), 1), (rows_of(table), rows)):
            added[name] += count
    return added


def pages(commit: Commit, files: Iterable[tuple[str, int]]) -> Iterator[Page]:
    """The pages of the commit's files, each given as (table, rows), in their order."""
    running: dict[str, tuple[int, int]] = {}
    for number, (table, rows) in enumerate(files):
        file, row = running.get(table) or (commit.before(files_of(table)), commit.before(rows_of(table)))
        running[table] = (file + 1, row + rows)
        yield Page(commit, table, number, *running[table])


def read(metadata: Mapping[str, str]) -> Page | None:
    """The page in a footer's metadata; None for a file from before there were pages.

    Raises:
        ValueError: what is there is no page.
    """
    text = metadata.get(METADATA_KEY)
    return None if text is None else msgspec.json.decode(text, type=Page)
