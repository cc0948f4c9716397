"""How far the landing zone is in a table, and what is to be added next. Pure.

    checkpoint: published through version 9, 41 files         table's snapshot: through version 6, 30 files
    landing zone: files of versions 7, 8, 9  ──► 11 of them are wanted; 11 found: complete; mark becomes (9, 41)

Versions without files are normal, so versions alone cannot show that a file is missing; the running total of files
can. The marks are in the summary of the snapshot that added the files: both are true at once, or neither. A file is
wanted because of its version, never because the table does not have it: compaction takes files out of the table.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from headrace.checkpoint import Checkpoint
from headrace.lake import FileName
from headrace.ledger import files_of
from headrace_iceberg.errors import MarksLost

PROPERTY = "headrace.published"
"""The snapshot summary's entry that holds the marks, as JSON: `{"1/clicks/0": [version, files]}`."""


class Source(NamedTuple):
    """Whose files they are."""

    generation: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return "/".join(map(str, self))


class Mark(NamedTuple):
    """How much of a source is in the table."""

    version: int
    """All files of commits up to this one."""
    files: int
    """How many files that were."""


NOTHING = Mark(0, 0)
Marks = Mapping[Source, Mark]


class PublishedFile(NamedTuple):
    """A file of the landing zone."""

    key: str
    name: FileName

    @property
    def source(self) -> Source:
        """Whose file it is."""
        return Source(self.name.generation, self.name.topic, self.name.partition)


class Wanted(NamedTuple):
    """What of a source shall be added."""

    source: Source
    mark: Mark
    through: int
    """The last version whose files are all published."""
    files: int | None
    """How many files there are up to it; None while a later commit is being published, whose files are counted too."""

    def takes(self, file: PublishedFile) -> bool:
        """Whether the file is one of them."""
        return file.source == self.source and self.mark.version < file.name.version <= self.through

    def missing(self, found: int) -> int:
        """How many files are still to be found; nobody waits for an unknown number."""
        return 0 if self.files is None else self.files - self.mark.files - found


class Step(NamedTuple):
    """What one snapshot adds."""

    files: list[PublishedFile]
    marks: dict[Source, Mark]
    """The marks after it, of the sources that it moves."""


def encode(marks: Marks) -> str:
    """The marks as a summary's entry."""
    return msgspec.json.encode({str(source): mark for source, mark in sorted(marks.items())}).decode()


def decode(text: str) -> dict[Source, Mark]:
    """The inverse.

    Raises:
        MarksLost: the text is something else.
    """
    try:
        found = msgspec.json.decode(text, type=dict[str, Mark])
        return {_source(name): mark for name, mark in found.items()}
    except ValueError as error:
        raise MarksLost(f"{PROPERTY}={text[:100]!r} in the snapshot's summary cannot be read: {error}") from error


def wanted(checkpoint: Checkpoint, table: str, marks: Marks) -> Wanted | None:
    """What of the checkpoint's partition is published and not in the table; None if nothing can be.

    Published through are the version, or the one before while its outbox may not be published yet.
    """
    source = Source(*checkpoint.key[2:])
    mark = marks.get(source, NOTHING)
    through = checkpoint.version - 1 if checkpoint.pending else checkpoint.version
    files = checkpoint.totals.get(files_of(table), 0)
    if through <= mark.version or files == mark.files:
        return None
    return Wanted(source, mark, through, None if checkpoint.pending else files)


def steps(found: Iterable[tuple[Wanted, list[PublishedFile]]], limit: int) -> Iterator[Step]:
    """Everything found, in snapshots of about `limit` files: a version's files are never divided."""
    step = Step([], {})
    for want, files in found:
        counted = want.mark.files
        for version, of_version in _by_version(files):
            counted += len(of_version)
            step.files.extend(of_version)
            step.marks[want.source] = Mark(version, counted)
            if len(step.files) >= limit:
                yield step
                step = Step([], {})
    if step.files:
        yield step


def without(step: Step, broken: Iterable[PublishedFile]) -> Step:
    """The step up to the first broken version of each source: what follows has to wait for it."""
    first: dict[Source, int] = {}
    for file in broken:
        first[file.source] = min(file.name.version, first.get(file.source, file.name.version))
    kept = [file for file in step.files if file.name.version < first.get(file.source, file.name.version + 1)]
    after = dict(step.marks)
    for source in first:
        versions = [file.name.version for file in kept if file.source == source]
        dropped = sum(file.source == source for file in step.files) - len(versions)
        mark = after.pop(source)
        if versions:
            after[source] = Mark(max(versions), mark.files - dropped)
    return Step(kept, after)


def _by_version(files: Iterable[PublishedFile]) -> Iterator[tuple[int, list[PublishedFile]]]:
    by_version: dict[int, list[PublishedFile]] = {}
    for file in files:
        by_version.setdefault(file.name.version, []).append(file)
    yield from sorted(by_version.items())


def _source(name: str) -> Source:
    generation, topic, partition = name.split("/")
    return Source(generation, topic, int(partition))
