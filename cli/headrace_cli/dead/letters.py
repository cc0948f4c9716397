"""Dead letters and late rows as the lake has them: what was sent, where it was, and why it did not count."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from headrace.lake import DEAD_LETTERS, LATE
from headrace_cli import lake_reader
from headrace_cli.errors import CommandError
from headrace_cli.lake_reader import LakeObjects, TableFile

REDRIVE_HEADER = "headrace-redrive"
"""The header that a redriven record carries: the identity of the record that it repeats. One more each time."""
REASON_LATE = "late"
"""What stands for a reason in late rows, which have none."""

Headers = tuple[tuple[str, bytes | None], ...]
"""A record's headers, in order; a name may repeat."""

_NAME = re.compile(
    r"(?P<generation>[^-/]+)-(?P<topic>[^/]+)-(?P<partition>\d+)-(?P<version>\d+)-(?P<number>\d+)\.parquet"
)
_FOLDERS = re.compile(rf"(?P<pipeline>[^/]+)/(?P<table>{DEAD_LETTERS}|{LATE})")


class RecordId(NamedTuple):
    """Which record a letter is of, whatever pipelines and generations have it.

    The timestamp tells apart records of a topic that was deleted and made again: its offsets restart.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Kafka's; -1 when the broker had none."""

    @property
    def position(self) -> str:
        """Where it was, for a person."""
        return f"{self.topic}-{self.partition}@{self.offset}"

    def __str__(self) -> str:
        return f"{self.position}/{self.timestamp_ms}"


class Letter(msgspec.Struct, frozen=True):
    """One row of a table of dead letters or late records."""

    pipeline: str
    generation: str
    table: str
    """`dead_letters` or `late`."""
    record: RecordId
    reason: str
    """A short stable code."""
    detail: str
    key: bytes | None
    value: bytes | None
    """The payload; None for a tombstone."""
    headers: Headers

    @property
    def times_redriven(self) -> int:
        """How often this record had been redriven before it ended here."""
        return sum(name == REDRIVE_HEADER for name, _ in self.headers)


class LetterFile(NamedTuple):
    """A file of letters, and what its name says of them."""

    file: TableFile
    pipeline: str
    table: str
    generation: str
    topic: str
    partition: int
    version: int
    number: int


def letter_files(objects: LakeObjects) -> list[LetterFile]:
    """The files of all tables of dead letters and late records: by table, then in the order of their commits.

    Raises:
        CommandError: a file with a name that no commit gives.
    """
    found = []
    for table, files in lake_reader.tables(objects).items():
        if folders := _FOLDERS.fullmatch(table):
            found += [_letter_file(file, folders["pipeline"], folders["table"]) for file in files]
    return sorted(found, key=lambda each: (each.pipeline, each.table, *each[3:], each.file.key))


def _letter_file(file: TableFile, pipeline: str, table: str) -> LetterFile:
    name = _NAME.fullmatch(file.key.rpartition("/")[2])
    if name is None:
        raise CommandError(f"{file.key} is no file that Headrace published: move it out of the lake")
    place = (name["generation"], name["topic"], int(name["partition"]), int(name["version"]), int(name["number"]))
    return LetterFile(file, pipeline, table, *place)


def letters(objects: LakeObjects, files: Iterable[LetterFile]) -> Iterator[Letter]:
    """Every letter of these files; holds one file at a time.

    Raises:
        CommandError: a file cannot be read, or has not the columns of its table.
    """
    for each in files:
        for row in lake_reader.rows(objects, [each.file]):
            try:
                yield _letter(each, row)
            except KeyError as error:
                raise CommandError(f"{each.file.key} has no column {error}: it is no file of letters") from None


def _letter(place: LetterFile, row: dict[str, Any]) -> Letter:
    reason, detail = (row["reason"], row["detail"]) if place.table == DEAD_LETTERS else (REASON_LATE, _lateness(row))
    return Letter(
        pipeline=place.pipeline,
        generation=place.generation,
        table=place.table,
        record=RecordId(row["_topic"], row["_partition"], row["_offset"], row["_timestamp_ms"]),
        reason=reason,
        detail=detail,
        key=row["_key"],
        value=row["value"],
        headers=tuple((header["key"], header["value"]) for header in row["_headers"]),
    )


def _lateness(row: dict[str, Any]) -> str:
    start, end, watermark = (row[name].isoformat() for name in ("window_start", "window_end", "watermark"))
    return f"{row['operator']}: the window {start} to {end} had closed, the watermark was at {watermark}"
