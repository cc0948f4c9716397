"""A Parquet file's schema from its last bytes: what the rest of the file holds need not be read for it."""

import io
from typing import IO, Any, cast

from arro3.core import Schema
from arro3.io import read_parquet

MAX_BYTES = 16 * 1024 * 1024
"""No footer of ours comes near it; more is a length read from garbage."""


def length(end: bytes) -> int:
    """How long the file's footer is, with what follows it."""
    return int.from_bytes(end[-8:-4], "little") + 8


def schema(end: bytes, size: int) -> Schema | None:
    """The schema in a file's footer; None if it is not wholly in there, or no Parquet file's."""
    try:
        return read_parquet(cast("IO[bytes]", _End(end, size))).schema
    except BaseException as error:
        # arro3 answers damaged files with a bare Exception or a panic, which is not even one.
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            return None
        raise


class _End(io.RawIOBase):
    """A file of which only the end can be read."""

    def __init__(self, end: bytes, size: int) -> None:
        super().__init__()
        self._end, self._size, self._at = end, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        start = self._at - (self._size - len(self._end))
        if start < 0:
            raise OSError("before the end that was read")
        part = self._end[start : start + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
