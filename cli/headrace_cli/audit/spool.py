"""The produced records, as the broker acknowledged them, kept in files of this run: one per partition.

On disk because the audit needs all of them again, payloads included, and a run may be long.
"""

import json
import struct
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from headrace_cli.audit.records import Produced

Headers = tuple[tuple[str, bytes | None], ...]
Partition = tuple[str, int]
"""Topic and partition."""

_HEADER = struct.Struct("<qqiii")
_NULL = -1


class Spool:
    """Takes records in the order of their offsets and gives them back. Thread-safe for one writer per partition."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Partition, BinaryIO] = {}
        # Per partition and record, the bytes of all payloads up to it: what a consumer has yet to read is a difference.
        self._sizes: dict[Partition, array[int]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def add(self, record: Produced) -> None:
        """Append one record; the first record of a partition must have offset 0."""
        key, value = record.key or b"", record.value or b""
        file, sizes = self._open((record.topic, record.partition))
        headers = _packed(record.headers)
        lengths = _length(record.key), _length(record.value), _length(headers)
        file.write(_HEADER.pack(record.offset, record.timestamp_ms, *lengths))
        file.write(key + value + (headers or b""))
        sizes.append(len(key) + len(value) + (sizes[-1] if sizes else 0))

    def partitions(self) -> list[Partition]:
        """The partitions that got records."""
        return sorted(self._sizes)

    def count(self, topic: str) -> int:
        """How many records the topic got."""
        return sum(len(sizes) for place, sizes in list(self._sizes.items()) if place[0] == topic)

    def bytes_from(self, partition: Partition, offset: int) -> int:
        """Bytes of the partition's records from the offset on."""
        sizes = self._sizes.get(partition)
        if not sizes or offset >= len(sizes):
            return 0
        return sizes[-1] - (sizes[offset - 1] if offset else 0)

    def records(self, partition: Partition) -> Iterator[Produced]:
        """The partition's records in the order in which they were added."""
        self._files[partition].flush()
        with self._path(partition).open("rb") as file:
            while header := file.read(_HEADER.size):
                offset, timestamp_ms, *lengths = _HEADER.unpack(header)
                key, value, headers = [_read(file, length) for length in lengths]
                yield Produced(*partition, offset, timestamp_ms, key, value, _unpacked(headers))

    def _open(self, partition: Partition) -> tuple[BinaryIO, "array[int]"]:
        if partition not in self._files:
            with self._lock:
                self._files[partition] = self._path(partition).open("wb")
                self._sizes[partition] = array("q")
        return self._files[partition], self._sizes[partition]

    def _path(self, partition: Partition) -> Path:
        return self._folder / f"{partition[0]}-{partition[1]}.records"


def _packed(headers: Headers) -> bytes | None:
    named = [[name, None if data is None else data.hex()] for name, data in headers]
    return json.dumps(named).encode() if named else None


def _unpacked(packed: bytes | None) -> Headers:
    named = json.loads(packed) if packed else []
    return tuple((name, None if data is None else bytes.fromhex(data)) for name, data in named)


def _length(data: bytes | None) -> int:
    return _NULL if data is None else len(data)


def _read(file: BinaryIO, length: int) -> bytes | None:
    return None if length == _NULL else file.read(length)
