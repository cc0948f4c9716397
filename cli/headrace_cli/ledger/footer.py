"""A Parquet file's footer without its data: the number of rows and the key-value metadata.

The footer ends the file: Thrift's compact protocol, four bytes of length, `PAR1`. Only the two fields that the audit
needs are read; arro3 has no way to give them for a file that it holds only the end of.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"PAR1"
TAIL = 8
"""Bytes of length and magic at the end."""
MAX_FOOTER_BYTES = 16 * 1024 * 1024
"""No file of ours comes near it; more is a length read from garbage."""

_NUM_ROWS, _KEY_VALUES = 3, 5
_KEY, _VALUE = 1, 2
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_LONG_LIST = 15
_MAX_DEPTH = 32


class DamagedFile(ValueError):
    """What is there is no Parquet file, or only a part of one."""


class Footer(NamedTuple):
    """What a file says about itself."""

    rows: int
    metadata: dict[str, str]


def footer_length(end: bytes) -> int:
    """The length of the footer, from a file's last bytes.

    Raises:
        DamagedFile: the file does not end as a Parquet file does.
    """
    if len(end) < TAIL or not end.endswith(MAGIC):
        raise DamagedFile("it does not end as a Parquet file does")
    (length,) = struct.unpack("<I", end[-TAIL:-4])
    if not 0 < length <= MAX_FOOTER_BYTES:
        raise DamagedFile(f"its footer would have {length} bytes")
    return int(length)


def parse_footer(footer: bytes) -> Footer:
    """What the footer's bytes, without length and magic, say.

    Raises:
        DamagedFile: they are no footer.
    """
    try:
        return _parse(_Compact(footer))
    except (IndexError, UnicodeDecodeError) as error:
        raise DamagedFile("its footer cannot be read") from error


def _parse(reader: "_Compact") -> Footer:
    rows, metadata = None, {}
    for field, kind in reader.fields():
        if (field, kind) == (_NUM_ROWS, _I64):
            rows = reader.integer()
        elif (field, kind) == (_KEY_VALUES, _LIST):
            metadata = dict(_key_value(reader) for _ in range(reader.list_size(_STRUCT)))
        else:
            reader.skip(kind)
    if rows is None or not 0 <= rows < 2**63:
        raise DamagedFile("its footer has no number of rows")
    return Footer(rows, metadata)


def _key_value(reader: "_Compact") -> tuple[str, str]:
    found = {_KEY: "", _VALUE: ""}
    for field, kind in reader.fields():
        if field in found and kind == _BINARY:
            found[field] = reader.binary().decode()
        else:
            reader.skip(kind)
    return found[_KEY], found[_VALUE]


class _Compact:
    """Reads Thrift's compact protocol; an IndexError is the end of the data where more was to come."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and type of each field of a struct; the caller reads or skips the value."""
        field = 0
        while header := self._byte():
            delta, kind = header >> 4, header & 0x0F
            field = field + delta if delta else self.integer()
            yield field, kind

    def list_size(self, expected_kind: int) -> int:
        size, kind = self._list()
        if kind != expected_kind and size:
            raise DamagedFile("its footer has a list of another type")
        return size

    def integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def binary(self) -> bytes:
        return self._bytes(self._varint())

    def skip(self, kind: int, depth: int = 0) -> None:
        if depth > _MAX_DEPTH:
            raise DamagedFile("its footer is nested too deeply")
        if kind in {_I16, _I32, _I64}:
            self._varint()
        elif kind == _BINARY:
            self.binary()
        elif kind in {_BYTE, _DOUBLE}:
            self._bytes(1 if kind == _BYTE else 8)
        elif kind in {_LIST, _SET}:
            size, item = self._list()
            for _ in range(size):
                self._skip_item(item, depth + 1)
        elif kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner, depth + 1)
        elif kind not in {_TRUE, _FALSE}:
            raise DamagedFile(f"its footer has a value of type {kind}")

    def _skip_item(self, kind: int, depth: int) -> None:
        if kind in {_TRUE, _FALSE}:
            self._byte()  # in a list a truth value is a byte; in a struct its type says it
        else:
            self.skip(kind, depth)

    def _list(self) -> tuple[int, int]:
        header = self._byte()
        size = header >> 4
        return (self._varint() if size == _LONG_LIST else size), header & 0x0F

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value
            if shift > 63:  # noqa: PLR2004 - bits of the longest integer
                raise DamagedFile("its footer has an endless number")

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _bytes(self, length: int) -> bytes:
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise IndexError
        return self._data[start : self._at]
