"""A Parquet file of pages that exist already, copied as they are; only its footer and page index are written anew.

A row group is given as the chunks that each column is made of: their pages become one column chunk, and their
statistics are merged. In the page index a page of a chunk of several has the bounds of the whole chunk, which may be
wider than its own, as the format allows.

https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift gives the fields their numbers.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from headrace_iceberg.pages import Chunk, Ordering, ordering_of
from headrace_iceberg.thrift import (
    BINARY,
    I16,
    I32,
    I64,
    STRUCT,
    TRUE,
    Written,
    binary,
    boolean,
    integer,
    listed,
    struct,
)

MAGIC = b"PAR1"
FOOTER_BYTES = 8
"""At the end of a file: the footer's size in four bytes, and the magic."""
CODECS = {"UNCOMPRESSED": 0, "SNAPPY": 1, "GZIP": 2, "BROTLI": 4, "ZSTD": 6}
"""Of codecs whose name at pyarrow is not that of two."""
TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
ENCODINGS = {
    "PLAIN": 0,
    "PLAIN_DICTIONARY": 2,
    "RLE": 3,
    "DELTA_BINARY_PACKED": 5,
    "DELTA_LENGTH_BYTE_ARRAY": 6,
    "DELTA_BYTE_ARRAY": 7,
    "RLE_DICTIONARY": 8,
    "BYTE_STREAM_SPLIT": 9,
}
UNORDERED = 0
"""BoundaryOrder."""


class Stream(Protocol):
    """Where a file goes."""

    def write(self, data: bytes) -> object:
        """Write all of it."""


class _Placed(NamedTuple):
    """A column chunk that is written."""

    metadata: Written
    size_bytes: int
    uncompressed_bytes: int
    column_index: bytes
    offset_index: bytes


def may_be_joined(chunks: Sequence[Chunk]) -> bool:
    """Whether the pages of these chunks of one column can be one chunk as they are."""
    codec = chunks[0].codec
    return (
        codec in CODECS
        and all(chunk.codec == codec and ENCODINGS.keys() >= set(chunk.encodings) for chunk in chunks)
        and have_one_dictionary(chunks)
    )


def have_one_dictionary(chunks: Sequence[Chunk]) -> bool:
    """Whether all have the same dictionary, or none has any."""
    size = len(chunks[0].dictionary)
    if any(len(chunk.dictionary) != size for chunk in chunks):
        return False
    first = bytes(chunks[0].dictionary)
    return not size or all(bytes(chunk.dictionary) == first for chunk in chunks)


class SplicedFile:
    """A file that is being written, with the columns and the key-value metadata of an empty one."""

    def __init__(self, stream: Stream, empty: bytes) -> None:
        schema = pq.read_metadata(pa.BufferReader(empty)).schema
        self._columns = [schema.column(number) for number in range(len(schema))]
        self._orderings = [ordering_of(column) for column in self._columns]
        footer = empty[-FOOTER_BYTES - int.from_bytes(empty[-FOOTER_BYTES:-4], "little") : -FOOTER_BYTES]
        self._before_rows, found, self._after_rows = footer.partition(_told(0, []))
        if not found:
            raise ValueError("that file is not empty")
        self._stream, self._at = stream, 0
        self._row_groups: list[tuple[list[_Placed], int]] = []
        self._write(MAGIC)

    def write_row_group(self, columns: Iterable[Sequence[Chunk]], rows: int) -> None:
        """One row group; of each column the chunks, joinable, of all its rows."""
        placed = [self._column(number, chunks) for number, chunks in enumerate(columns)]
        if len(placed) != len(self._columns):
            raise ValueError(f"{len(placed)} of {len(self._columns)} columns")
        self._row_groups.append((placed, rows))

    def close(self) -> None:
        """Write the page index and the footer."""
        groups = [
            struct(
                {
                    1: listed(STRUCT, [self._indexed(each) for each in placed]),
                    2: integer(sum(each.uncompressed_bytes for each in placed)),
                    3: integer(rows),
                    6: integer(sum(each.size_bytes for each in placed)),
                    7: integer(number, I16) if number < 2**15 else None,
                }
            )
            for number, (placed, rows) in enumerate(self._row_groups)
        ]
        total = sum(rows for _, rows in self._row_groups)
        footer = self._before_rows + _told(total, groups) + self._after_rows
        self._write(footer + len(footer).to_bytes(4, "little") + MAGIC)

    def _column(self, number: int, chunks: Sequence[Chunk]) -> _Placed:
        ordering, path = self._orderings[number], self._columns[number].path.split(".")
        dictionary, start = chunks[0].dictionary, self._at
        left_out = sum(chunk.dictionary_uncompressed_bytes for chunk in chunks[1:])
        uncompressed = sum(chunk.uncompressed_bytes for chunk in chunks) - left_out
        data = b"".join([dictionary, *(chunk.data for chunk in chunks)])
        metadata = struct(
            {
                1: integer(TYPES.index(ordering.physical_type), I32),
                2: listed(I32, [integer(each, I32) for each in _encodings(chunks)]),
                3: listed(BINARY, [binary(name.encode()) for name in path]),
                4: integer(CODECS[chunks[0].codec], I32),
                5: integer(sum(chunk.values for chunk in chunks)),
                6: integer(uncompressed),
                7: integer(len(data)),
                9: integer(start + len(dictionary)),
                11: integer(start) if dictionary else None,
                12: _statistics(chunks, ordering),
            }
        )
        offset_index = _offset_index(chunks, start + len(dictionary))
        column_index = _column_index(chunks, ordering) if offset_index else b""
        self._write(data)
        return _Placed(metadata, len(data), uncompressed, column_index, offset_index)

    def _indexed(self, column: _Placed) -> Written:
        column_at, offset_at = self._at, self._at + len(column.column_index)
        self._write(column.column_index + column.offset_index)
        has_both = bool(column.column_index)
        return struct(
            {
                2: integer(0),
                3: column.metadata,
                4: integer(offset_at) if column.offset_index else None,
                5: integer(len(column.offset_index), I32) if column.offset_index else None,
                6: integer(column_at) if has_both else None,
                7: integer(len(column.column_index), I32) if has_both else None,
            }
        )

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._at += len(data)


def _told(rows: int, groups: list[Written]) -> bytes:
    """What a footer says after its schema (field 2) about rows and row groups."""
    return struct({2: integer(0, I32), 3: integer(rows), 4: listed(STRUCT, groups)}).data[2:-1]


def _encodings(chunks: Sequence[Chunk]) -> list[int]:
    return sorted({ENCODINGS[name] for chunk in chunks for name in chunk.encodings})


def _statistics(chunks: Sequence[Chunk], ordering: Ordering) -> Written:
    nulls = [chunk.nulls for chunk in chunks if chunk.nulls is not None]
    known = [chunk.bounds for chunk in chunks if chunk.bounds is not None]
    # A chunk that has values and no bounds may hold any.
    complete = all(chunk.bounds is not None or chunk.nulls == chunk.values for chunk in chunks)
    bounds = ordering.merged(known) if complete else None
    return struct(
        {
            3: integer(sum(nulls)) if len(nulls) == len(chunks) else None,
            5: binary(ordering.packed(bounds[1])) if bounds else None,
            6: binary(ordering.packed(bounds[0])) if bounds else None,
        }
    )


def _offset_index(chunks: Sequence[Chunk], at: int) -> bytes:
    """Where each page is and which row is its first; none, if that of one is not known."""
    places = []
    row = 0
    for chunk in chunks:
        for page in chunk.pages:
            if page.rows is None:
                return b""
            places.append(struct({1: integer(at), 2: integer(page.size_bytes, I32), 3: integer(row)}))
            at += page.size_bytes
            row += page.rows
    return struct({1: listed(STRUCT, places)}).data


def _column_index(chunks: Sequence[Chunk], ordering: Ordering) -> bytes:
    """Bounds of each page; none, if those of one with values are not known."""
    empty: list[Written] = []
    least: list[Written] = []
    greatest: list[Written] = []
    nulls: list[Written] = []
    for chunk in chunks:
        is_empty = chunk.nulls == chunk.values
        if not (is_empty or (chunk.bounds and ordering.known)):
            return b""
        low, high = map(ordering.packed, chunk.bounds) if chunk.bounds and not is_empty else (b"", b"")
        count = len(chunk.pages)
        empty += [boolean(is_empty)] * count
        least += [binary(low)] * count
        greatest += [binary(high)] * count
        if count == 1 and chunk.nulls is not None:
            nulls.append(integer(chunk.nulls))
    return struct(
        {
            1: listed(TRUE, empty),
            2: listed(BINARY, least),
            3: listed(BINARY, greatest),
            4: integer(UNORDERED, I32),
            5: listed(I64, nulls) if len(nulls) == len(empty) else None,
        }
    ).data
