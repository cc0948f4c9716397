"""What the audit has to say: a line in the report per partition, and a finding per difference."""

from collections import Counter
from typing import Any, Literal, NamedTuple

import msgspec

from headrace.checkpoint import Checkpoint
from headrace_cli.ledger.offsets import OffsetRange, text

MAX_RANGES = 1000
"""Ranges of offsets that a finding lists."""

Kind = Literal["unbalanced", "missing", "unknown", "doubled", "rows", "damaged", "log"]
"""`unbalanced`: the checkpoint's own counts do not add up. `missing`: files that were counted are gone. `unknown`: a
file that the books do not know. `doubled`: two files with one running number. `rows`: a file has other rows than were
counted. `damaged`: a file cannot be read. `log`: Kafka's log contradicts the checkpoint."""


class Place(NamedTuple):
    """Whose books they are: a checkpoint's key without its application."""

    pipeline: str
    generation: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.pipeline}, generation {self.generation}, {self.topic}-{self.partition}"


class Finding(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One difference."""

    kind: Kind
    place: Place | None
    """None: of a file whose name is nobody's."""
    table: str | None = None
    what: str
    """In words, without what the other fields say."""
    key: str | None = None
    """The file that is there, or the first of them."""
    files: int | None = None
    rows: int | None = None
    versions: tuple[int, int] | None = None
    """The first and the last commit that the files can be of."""
    offsets: list[OffsetRange] | None = None
    """The offsets that it is about, each range without its end. A tick's is empty: it passed none."""
    exact: bool | None = None
    """True: it is these offsets. False: some of them. None: rows of windows, which a commit of these offsets wrote."""

    def __str__(self) -> str:
        where = f"{self.place}" if self.place else "nobody's"
        table = f", table {self.table}" if self.table else ""
        return f"{where}{table}: {self.what}{self._versions()}{self._offsets()}{f': {self.key}' if self.key else ''}"

    def _versions(self) -> str:
        if self.versions is None:
            return ""
        first, last = self.versions
        return f", of version {last}" if first == last else f", of a version from {first} to {last}"

    def _offsets(self) -> str:
        if self.offsets is None:
            return ""
        if all(each.first == each.next for each in self.offsets):
            return f", of a tick at offset {self.offsets[0].first}" if self.offsets else ""
        relation = {True: "offsets ", False: "of the offsets ", None: "written at the offsets "}[self.exact]
        return f", {relation}{text(self.offsets)}"

    def as_json(self) -> dict[str, Any]:
        """For a program; long lists of ranges are cut, and say so."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        fields["place"] = self.place._asdict() if self.place else None
        if self.offsets and len(self.offsets) > MAX_RANGES:
            fields |= {"offsets": fields["offsets"][:MAX_RANGES], "more_ranges": len(self.offsets) - MAX_RANGES}
        return fields


class LogEnds(NamedTuple):
    """Kafka's own bounds of a partition."""

    low: int
    """The first offset that the broker still has."""
    high: int
    """The offset that the next record will get."""
    behind: int
    """Offsets that are left to read."""


class PartitionReport(msgspec.Struct, kw_only=True):
    """One checkpoint's line."""

    place: Place
    version: int
    base_offset: int
    next_offset: int
    applied: int
    dead: int
    gaps: int
    late: int
    ticks: int
    files: int
    rows: int
    unpublished: int
    """Files that are committed and not published yet."""
    log: LogEnds | None = None
    findings: int = 0

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "PartitionReport":
        """What the checkpoint says."""
        total = Counter(checkpoint.totals)
        return cls(
            place=Place(*checkpoint.key[1:]),
            version=checkpoint.version,
            base_offset=checkpoint.base_offset,
            next_offset=checkpoint.next_offset,
            applied=total["applied"],
            dead=total["dead"],
            gaps=total["gaps"],
            late=total["late"],
            ticks=total["ticks"],
            files=total["files"],
            rows=total["rows"],
            unpublished=0,
        )

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        fields: dict[str, Any] = msgspec.structs.asdict(self)
        del fields["place"]
        log = self.log._asdict() if self.log else None
        return {**self.place._asdict(), **fields, "log": log, "balanced": not self.findings}


class Report(msgspec.Struct):
    """The whole audit."""

    partitions: list[PartitionReport]
    findings: list[Finding]
    """The first of them."""
    differences: int
    """How many findings there are."""
    files_read: int
    notes: list[str]
    """What was not looked at, and why: no difference."""

    @property
    def balanced(self) -> bool:
        """Whether there is no finding."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "balanced": self.balanced,
            "differences": self.differences,
            "files_read": self.files_read,
            "partitions": [each.as_json() for each in self.partitions],
            "findings": [each.as_json() for each in self.findings],
            "notes": self.notes,
        }
