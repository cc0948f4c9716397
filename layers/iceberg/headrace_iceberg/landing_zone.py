"""Finds the wanted files of a table in the landing zone: buckets newest first, until none is missing.

New files are in few, mostly recent buckets, and only their names say which. The checkpoint's count of files says when
to stop: a run costs a request per bucket (and per thousand files in it) from the newest one back to the oldest that
something new is in, and at most a listing of the whole table.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from headrace.lake import LAKE, read_final_key
from headrace.objects import Below
from headrace.outbox import ObjectCatalog
from headrace_iceberg.errors import BooksDisagree
from headrace_iceberg.high_water import PublishedFile, Source, Wanted

ALWAYS = 2
"""So many buckets are looked into even if the count of files is not known, because a commit is being published."""


@runtime_checkable
class Folders(ObjectCatalog, Protocol):
    """Objects that can be listed a folder at a time."""

    def below(self, prefix: str) -> Below:
        """What is directly in the folder `prefix`."""
        ...


Found = list[tuple[Wanted, list[PublishedFile]]]
"""Files by what they were wanted for."""


class Search:
    """One search for the files of several sources of one table."""

    def __init__(self, wants: Sequence[Wanted]) -> None:
        self._wants = {want.source: want for want in wants}
        self._found: dict[Source, list[PublishedFile]] = {want.source: [] for want in wants}
        self.buckets = 0
        """Buckets looked into: requests, unless a bucket has more than a thousand files."""

    def run(self, objects: Folders, pipeline: str, table: str) -> None:
        """Look into one bucket after the other until nothing is missing."""
        for folder in _buckets(objects, f"{LAKE}/{pipeline}/{table}"):
            if self.buckets >= ALWAYS and not any(self._missing(want) for want in self._wants.values()):
                return
            self.buckets += 1
            for key in objects.keys(folder):
                self._look_at(key)

    def complete(self, *, accept_missing: bool = False) -> tuple[Found, list[BooksDisagree]]:
        """What was found of each source, and what is wrong with the others.

        Args:
            accept_missing: take what there is, though fewer files than the checkpoint counts: for a table that
                begins after files were deleted.
        """
        found: Found = []
        errors: list[BooksDisagree] = []
        for want in self._wants.values():
            files = self._found[want.source]
            missing = self._missing(want)
            if missing and not (accept_missing and missing > 0):
                expected = len(files) + missing
                errors.append(BooksDisagree(str(want.source), expected, len(files)))
            else:
                # Files that are gone count as if they were in the table: the next run starts from the right number.
                mark = want.mark._replace(files=want.mark.files + missing)
                found.append((want._replace(mark=mark), files))
        return found, errors

    def _missing(self, want: Wanted) -> int:
        return want.missing(len(self._found[want.source]))

    def _look_at(self, key: str) -> None:
        name = read_final_key(key)
        if name is None:
            return
        file = PublishedFile(key, name)
        want = self._wants.get(file.source)
        if want is not None and want.takes(file):
            self._found[file.source].append(file)


def _buckets(objects: Folders, table: str) -> Iterator[str]:
    """Folders of files, newest first; a date with files of its own is one, with whatever hours it has besides."""
    for date in reversed(objects.below(table).folders):
        day = f"{table}/{date}"
        hours, has_files = objects.below(day)
        yield from [day] if has_files else [f"{day}/{hour}" for hour in reversed(hours)]
