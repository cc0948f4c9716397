"""The lake's files sorted into the books they belong to: shelves by partition and table, and what belongs nowhere."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from headrace import lake
from headrace.lake import FileName, LakeFile
from headrace.ledger import Page
from headrace_cli.ledger.finding import Finding, Kind, Place
from headrace_cli.ledger.lake_files import LakeEntry
from headrace_cli.ledger.shelf import Shelf, Spot

MAX_FINDINGS = 1000
"""Findings that are kept; more are only counted."""


class Findings:
    """Differences, the first of them kept, all of them counted."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.by_place: Counter[Place | None] = Counter()

    def add(self, finding: Finding) -> None:
        """Take a finding in."""
        self.by_place[finding.place] += 1
        if len(self.kept) < MAX_FINDINGS:
            self.kept.append(finding)


class Newer(NamedTuple):
    """A file of a commit that its partition had not made when the audit began."""

    version: int
    key: str


class Collection:
    """What was found below `lake/`."""

    def __init__(self, versions: Mapping[Place, int], findings: Findings) -> None:
        """Begin with nothing.

        Args:
            versions: of each checkpoint, from before the files were listed.
            findings: where files that are nobody's go.
        """
        self.files = 0
        """How many were read."""
        self.shelves: dict[Place, dict[str, Shelf]] = defaultdict(lambda: defaultdict(Shelf))
        """By table, the files that have a page of the books."""
        self.unnumbered: dict[Place, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        """By table, `files` and `rows` of those from before there were pages."""
        self.first_unnumbered: dict[Place, str] = {}
        """The key of one of them."""
        self.newer: dict[Place, Newer] = {}
        """The newest file of each place that is newer than its checkpoint."""
        self._versions = versions
        self._findings = findings

    def add(self, entry: LakeEntry) -> None:
        """Sort a file in."""
        self.files += 1
        name = entry.name
        if name is None:
            self._findings.add(
                Finding(kind="unknown", place=None, what="no table has a file of this name", key=entry.key)
            )
            return
        place = Place(name.pipeline, name.generation, name.topic, name.partition)
        if name.version > self._versions.get(place, 0):
            self.newer[place] = max(self.newer.get(place, Newer(0, "")), Newer(name.version, entry.key))
        elif entry.damage is not None:
            self._add("damaged", name, f"a file is damaged: {entry.damage}", entry)
        elif entry.page is None:
            self.unnumbered[place][name.table].update(files=1, rows=entry.rows)
            self.first_unnumbered.setdefault(place, entry.key)
        elif _says(entry.page) != name._replace(hour_ms=0, bucket_hours=1):
            self._add("unknown", name, "a file lies under the name of another one", entry)
        else:
            self.shelves[place][name.table].add(entry.page, name, entry.rows)

    def _add(self, kind: Kind, name: FileName, what: str, entry: LakeEntry) -> None:
        place = Place(name.pipeline, name.generation, name.topic, name.partition)
        version = (name.version, name.version)
        self._findings.add(
            Finding(kind=kind, place=place, table=name.table, what=what, versions=version, key=entry.key)
        )


def _says(page: Page) -> FileName:
    """What a file's own page says of its name; it does not say of which bucket."""
    of = page.commit
    return FileName(of.pipeline, of.generation, of.topic, of.partition, page.table, 0, of.version, page.number)


def key_of(place: Place, table: str, spot: Spot) -> str:
    """The key of a file on a shelf."""
    file = LakeFile(table, spot.hour_ms, b"", spot.rows, spot.bucket_hours)
    return lake.final_key(file, **place._asdict(), version=spot.version, number=spot.number)
