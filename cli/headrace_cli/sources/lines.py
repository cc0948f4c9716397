"""Bytes of a file or of standard input as lines: gzip or not, one line in memory at a time."""

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, Self

from headrace_cli.errors import CommandError

STDIN = "-"
"""The name that means standard input."""
MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is no record (MSK takes 8 MiB at most): refused, so that memory stays bounded."""

_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 18


class LineReader:
    """Lines without their line ends; iterate once, use as a context."""

    def __init__(self, path: str, stdin: io.BufferedReader | None = None) -> None:
        """Open the file, or standard input if the path is `-`.

        Raises:
            OSError: the file cannot be opened.
        """
        self.name = "standard input" if path == STDIN else path
        """How messages call it."""
        self._owned = path != STDIN
        self._raw: io.BufferedReader
        if self._owned:
            self._raw = io.BufferedReader(io.FileIO(path), _BUFFER_BYTES)
        else:
            self._raw = stdin or _standard_input()
        self._size = os.fstat(self._raw.fileno()).st_size if self._owned else 0
        self._lines = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._owned:
            self._raw.close()

    def fraction(self) -> float | None:
        """How much of the file has been read, 0 to 1; None if its size is not known."""
        return min(1.0, self._raw.tell() / self._size) if self._size else None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._read()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise CommandError(
                f"{self.name}: the gzip data is damaged or cut short after line {self._lines} ({error})"
            ) from None

    def _read(self) -> Iterator[bytes]:
        with self._stream() as stream:
            while line := stream.readline(MAX_LINE_BYTES + 1):
                self._lines += 1
                if len(line) > MAX_LINE_BYTES:
                    raise CommandError(
                        f"{self.name}: line {self._lines} is longer than {MAX_LINE_BYTES} bytes: is it text?"
                    )
                yield line.rstrip(b"\r\n")

    @contextmanager
    def _stream(self) -> Iterator[BinaryIO]:
        # A pipe's first bytes may come one by one; a gzip header never does.
        if self._raw.peek(2)[:2] != _GZIP_MAGIC:
            yield self._raw
            return
        with gzip.GzipFile(fileobj=self._raw) as unzipped, io.BufferedReader(unzipped, _BUFFER_BYTES) as buffered:
            yield buffered


def _standard_input() -> io.BufferedReader:
    stream = sys.stdin.buffer
    assert isinstance(stream, io.BufferedReader)  # noqa: S101 - a process's standard input always is
    return stream
