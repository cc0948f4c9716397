"""One partition's books beside its files: what is missing, too much or wrong, and of which offsets it was."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from headrace.checkpoint import Checkpoint
from headrace.lake import DEAD_LETTERS, LATE
from headrace.ledger import Commit, files_of, rows_of
from headrace_cli.ledger.collection import Collection, Findings, key_of
from headrace_cli.ledger.finding import Finding, Kind, Place
from headrace_cli.ledger.lake_files import LakeObjects, read_offsets, read_page
from headrace_cli.ledger.location import Segment, locate
from headrace_cli.ledger.offsets import OffsetRange, count, without
from headrace_cli.ledger.shelf import Beyond, Doubled, Fault, Hole, Spot, WrongRows

MAX_COMMITS = 200
"""Files read to place one hole."""
MAX_SIBLINGS = 64
"""Files whose offsets are read to tell those of a missing one."""

_FILES = "files."


class Comparison:
    """Compares one partition. Reads files only where something is wrong."""

    def __init__(
        self, objects: LakeObjects, collection: Collection, place: Place, checkpoint: Checkpoint, findings: Findings
    ) -> None:
        self._objects = objects
        self._place = place
        self._checkpoint = checkpoint
        self._totals = checkpoint.totals
        self._shelves = collection.shelves.get(place, {})
        self._unnumbered = collection.unnumbered.get(place, {})
        self._first_unnumbered = collection.first_unnumbered.get(place)
        self._findings = findings
        self._commits: dict[int, Commit | None] = {}

    def compare(self) -> None:
        """Add what differs to the findings."""
        for imbalance in self._checkpoint.imbalances():
            self._unbalanced(imbalance)
        numbered = {name.removeprefix(_FILES): n for name, n in self._totals.items() if name.startswith(_FILES)}
        old = max(0, self._totals.get("files", 0) - sum(numbered.values()))
        found = sum(counts["files"] for counts in self._unnumbered.values())
        self._compare_unnumbered(old, found)
        for table in sorted({*numbered, *self._shelves}):
            rows_before = self._unnumbered[table]["rows"] if table in self._unnumbered else 0
            known = rows_before if old == found else None
            rows = self._totals.get(rows_of(table), 0)
            for fault in self._shelf_faults(table, rows, known):
                self._report(table, fault)

    def _shelf_faults(self, table: str, rows: int, rows_before: int | None) -> Iterator[Fault]:
        files = self._totals.get(files_of(table), 0)
        if table in self._shelves:
            yield from self._shelves[table].faults(files, rows, rows_before)
        elif files:
            yield Hole(1, files, None, None, rows_before, rows)

    def _compare_unnumbered(self, expected: int, found: int) -> None:
        if found < expected:
            what = (
                f"{expected - found:,} files from before files were numbered are missing; which ones cannot be located"
            )
            self._add("missing", None, what, files=expected - found)
        elif found > expected:
            which = f"; {expected:,} have none rightly, and which ones cannot be known" if expected else ""
            what = f"{found - expected:,} files more than were counted have no page of the books{which}, such as"
            self._add("unknown", None, what, files=found - expected, key=self._first_unnumbered)

    def _report(self, table: str, fault: Fault) -> None:
        match fault:
            case Hole():
                self._missing(table, fault)
            case Doubled(one, other):
                what = f"two files have the running number {one.file}, the other is {self._key(table, one)}"
                self._wrong("doubled", table, what, other)
            case WrongRows(spot, counted):
                what = f"a file has {_counted(spot.rows, 'row')}, {counted:,} were counted"
                self._wrong("rows", table, what, spot)
            case Beyond(spot):
                files = self._totals.get(files_of(table), 0)
                self._wrong("unknown", table, f"a file has the running number {spot.file} of {files:,}", spot)

    def _wrong(self, kind: Kind, table: str, what: str, spot: Spot) -> None:
        key = self._key(table, spot)
        page = read_page(self._objects, key)
        offsets = [OffsetRange(page.commit.first_offset, page.commit.next_offset)] if page else None
        self._add(kind, table, what, key=key, versions=(spot.version, spot.version), offsets=offsets)

    def _missing(self, table: str, hole: Hole) -> None:
        for segment in locate(hole, table, self._commits_around(table, hole), self._checkpoint):
            offsets, exact = self._offsets(table, segment)
            rows = "" if segment.rows is None else f" with {_counted(segment.rows, 'row')}"
            self._add(
                "missing",
                table,
                f"{_counted(segment.files, 'file')}{rows} missing",
                files=segment.files,
                rows=segment.rows,
                versions=(segment.version_before + 1, segment.version),
                offsets=offsets,
                exact=exact,
            )

    def _commits_around(self, table: str, hole: Hole) -> list[Commit]:
        """The commits of files that are there, as near to the missing ones as there are any."""
        start = hole.before.version if hole.before else 0
        end = hole.after.version if hole.after else self._checkpoint.version
        versions = self._versions(start - 1, end)
        name = files_of(table)

        def counted(version: int) -> int:
            commit = self._commit(version)
            return commit.totals.get(name, 0) if commit else 0

        first = max(0, bisect_left(versions, hole.first, key=counted) - 1)
        last = bisect_left(versions, hole.last, lo=first, key=counted) + 1
        near = versions[first : last + 1][:MAX_COMMITS]
        if hole.after:
            near.append(hole.after.version)
        commits = (self._commit(version) for version in dict.fromkeys(near))
        return [commit for commit in commits if commit]

    def _versions(self, after: int, through: int) -> list[int]:
        """The commits of which there is a file, ascending."""
        return sorted({version for shelf in self._shelves.values() for version in shelf.versions(after, through)})

    def _commit(self, version: int) -> Commit | None:
        """A commit's line in the books, by any of its files."""
        if version not in self._commits:
            keys = (
                self._key(table, spot)
                for table, shelf in self._shelves.items()
                for spot in shelf.of_versions(version - 1, version)
            )
            pages = (read_page(self._objects, key) for key in keys)
            self._commits[version] = next((page.commit for page in pages if page), None)
        return self._commits[version]

    def _offsets(self, table: str, segment: Segment) -> tuple[list[OffsetRange], bool | None]:
        """The offsets of the missing rows: exactly where every record of the commits has a row to be found or missed.

        A window's row is of no single offset: None, and the offsets that its commit passed.
        """
        whole = segment.offsets
        siblings = self._tables_without_the_same_offsets(table)
        if siblings is None or whole.first == whole.next:
            return [whole], None
        spots = [
            self._key(sibling, spot)
            for sibling in siblings
            if sibling in self._shelves
            for spot in self._shelves[sibling].of_versions(segment.version_before, segment.version)
        ]
        found = [read_offsets(self._objects, key) for key in spots[:MAX_SIBLINGS]]
        if self._holds_rows(table) or not all(file.of_this_commit for file in found):
            return [whole], None  # a missing file may have rows of other offsets, and other files rows of these
        left = without(whole, [offset for file in found for offset in file.offsets])
        return left, table != LATE and count(left) == segment.rows

    def _holds_rows(self, table: str) -> bool:
        """Whether the table's rows may be of records that an earlier commit passed: any of its files tells."""
        spot = next(iter(self._shelves[table]), None) if table in self._shelves else None
        return spot is not None and not read_offsets(self._objects, self._key(table, spot)).of_this_commit

    def _tables_without_the_same_offsets(self, table: str) -> tuple[str, ...] | None:
        """Tables that keep offsets, but none of the missing ones; None if this one does not keep any."""
        topic = self._place.topic
        landed = self._totals.get(rows_of(topic), 0) == self._totals.get("applied", 0) > 0
        if table == LATE:
            return (DEAD_LETTERS,)  # an offset may be late several times, once per operator
        if table == DEAD_LETTERS:
            return (DEAD_LETTERS, topic) if landed else (DEAD_LETTERS,)
        return (topic, DEAD_LETTERS) if landed and table == topic else None

    def _unbalanced(self, what: str) -> None:
        """Name the commits between which the offsets stopped to add up, if it is the offsets."""
        if self._adds_up(self._checkpoint):
            self._add("unbalanced", None, what)
            return
        versions = self._versions(0, self._checkpoint.version)

        def is_wrong(version: int) -> bool:
            commit = self._commit(version)
            return commit is not None and not self._adds_up(commit)

        found = bisect_left(versions, True, key=is_wrong)
        before = self._commit(versions[found - 1]) if found else None
        wrong = self._commit(versions[found]) if found < len(versions) else None
        start = (before.version, before.next_offset) if before else (0, self._checkpoint.base_offset)
        now = wrong or self._checkpoint
        offsets = [OffsetRange(start[1], now.next_offset)]
        self._add("unbalanced", None, what, versions=(start[0] + 1, now.version), offsets=offsets, exact=False)

    def _adds_up(self, commit: Commit | Checkpoint) -> bool:
        accounted_for = sum(commit.totals.get(name, 0) for name in ("applied", "dead", "gaps"))
        return commit.next_offset - self._checkpoint.base_offset == accounted_for

    def _key(self, table: str, spot: Spot) -> str:
        return key_of(self._place, table, spot)

    def _add(self, kind: Kind, table: str | None, what: str, **fields: Any) -> None:
        self._findings.add(Finding(kind=kind, place=self._place, table=table, what=what, **fields))


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
