"""The lake's files as the audit reads them: names from the listing, footers from the last bytes of each."""

import io
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, Protocol

from arro3.io import read_parquet

from headrace import ledger
from headrace.errors import ObjectMissing
from headrace.lake import HOLDS_ROWS, LAKE, FileName, read_final_key
from headrace.ledger import Page
from headrace_cli.ledger.footer import TAIL, DamagedFile, Footer, footer_length, parse_footer

END_BYTES = 16 * 1024
"""Read of each file at first: holds a footer of some 50 columns."""
PARALLEL = 16
"""Footers read at the same time: on S3 the time is all waiting."""
CHUNK = 256
"""Files between two looks at the listing; so many are in memory."""
MAX_FILE_BYTES = 256 * 1024 * 1024
"""No file of ours comes near it: a batch has 6 MB."""


class LakeObjects(Protocol):
    """What reading the lake takes."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys under the prefix."""
        ...

    def read(self, key: str) -> bytes:
        """The object's bytes."""
        ...

    def read_end(self, key: str, length: int) -> tuple[bytes, int]:
        """Its last bytes, and its size."""
        ...


class WithStaged:
    """The lake as it will be: files that are not published yet are read under their final keys, where they will be."""

    def __init__(self, objects: LakeObjects, staged: Mapping[str, str]) -> None:
        """Take over what reads.

        Args:
            objects: the lake as it is.
            staged: final key to staged key of each file that is not published yet.
        """
        self._objects = objects
        self._staged = staged

    def keys(self, prefix: str) -> Iterator[str]:
        """See `LakeObjects.keys`: those that are published."""
        return self._objects.keys(prefix)

    def read(self, key: str) -> bytes:
        """See `LakeObjects.read`."""
        return self._objects.read(self._staged.get(key, key))

    def read_end(self, key: str, length: int) -> tuple[bytes, int]:
        """See `LakeObjects.read_end`."""
        return self._objects.read_end(self._staged.get(key, key), length)


class LakeEntry(NamedTuple):
    """One object below `lake/` that is called like a file of a table."""

    key: str
    name: FileName | None
    """None: no table has a file of this name."""
    rows: int
    page: Page | None
    """None: from before files had one, or damaged."""
    damage: str | None


def entries(objects: LakeObjects, pipelines: Collection[str] | None) -> Iterator[LakeEntry]:
    """Every file of these pipelines (None: of all), a bounded number of them read ahead."""
    folders = [f"{LAKE}/{pipeline}/" for pipeline in pipelines] if pipelines is not None else [f"{LAKE}/"]
    keys = (key for folder in folders for key in objects.keys(folder) if key.endswith(".parquet"))
    with ThreadPoolExecutor(PARALLEL) as pool:
        while chunk := list(islice(keys, CHUNK)):
            found = pool.map(lambda key: read_entry(objects, key), chunk)
            yield from (entry for entry in found if entry is not None)


def read_page(objects: LakeObjects, key: str) -> Page | None:
    """The page of one file; None if it has none or is gone."""
    entry = read_entry(objects, key)
    return entry.page if entry else None


class Offsets(NamedTuple):
    """Those of a file's rows."""

    offsets: list[int]
    """Empty if its table does not keep them, or it cannot be read."""
    of_this_commit: bool
    """Whether its rows are of the records that its commit passed: a table may hold rows back."""


def read_offsets(objects: LakeObjects, key: str) -> Offsets:
    """The offsets of a file's rows."""
    found, nothing = Offsets([], of_this_commit=True), Offsets([], of_this_commit=True)
    try:
        _, size = objects.read_end(key, TAIL)
        if size > MAX_FILE_BYTES:
            return nothing
        for batch in read_parquet(io.BytesIO(objects.read(key))):
            if "_offset" not in batch.schema.names:
                return nothing
            found = found._replace(of_this_commit=HOLDS_ROWS.encode() not in batch.schema.metadata)
            found.offsets.extend(batch.column("_offset").to_pylist())
    except ObjectMissing:
        return nothing
    except BaseException as error:
        # arro3 answers damaged files with a bare Exception or a panic, which is not even one.
        if type(error) not in {Exception, ValueError} and type(error).__name__ != "PanicException":
            raise
        return nothing
    return found


def read_entry(objects: LakeObjects, key: str) -> LakeEntry | None:
    """One file by its name and its footer; None if it is gone."""
    name = read_final_key(key)
    try:
        footer = _footer(objects, key)
        return LakeEntry(key, name, footer.rows, ledger.read(footer.metadata), None)
    except ObjectMissing:
        return None  # deleted since it was listed: it will be missing
    except DamagedFile as error:
        return LakeEntry(key, name, 0, None, str(error))
    except ValueError as error:
        return LakeEntry(key, name, 0, None, f"its page of the books cannot be read: {error}")


def _footer(objects: LakeObjects, key: str) -> Footer:
    end, size = objects.read_end(key, END_BYTES)
    needed = footer_length(end) + TAIL
    if needed > size:
        raise DamagedFile("a part of its footer is missing")
    if needed > len(end):
        end, _ = objects.read_end(key, needed)
    return parse_footer(end[-needed:-TAIL])
