"""Column chunks of Parquet files as the pages that they are made of, none of them decoded.

    column chunk = [dictionary page] data page ...        page = header, compressed values

A page stands for itself, except that it may use the dictionary of its chunk. So pages of many chunks make one chunk,
if they have one codec and the same dictionary or none.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from headrace_iceberg.thrift import Data, Malformed, Value, read_struct

DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3
"""PageType, https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift."""
_HEADERS = {DATA_PAGE: 5, DICTIONARY_PAGE: 7, DATA_PAGE_V2: 8}
_PACKED = {"BOOLEAN": "<?", "INT32": "<i", "INT64": "<q", "FLOAT": "<f", "DOUBLE": "<d"}
_UNORDERED = {"INT96", "FLOAT16"}

Bounds = tuple[Any, Any]
"""The least and the greatest value, as pyarrow gives the physical type: a number, or bytes."""


class Page(NamedTuple):
    """One data page."""

    size_bytes: int
    """With its header."""
    values: int
    """How many, nulls too; of a list's items, more than its rows."""
    rows: int | None
    """None where only decoding could tell."""


class Chunk(NamedTuple):
    """One column of one row group, without having been decoded."""

    dictionary: Data
    """The page with its header, or nothing."""
    dictionary_values: int
    data: Data
    """The data pages."""
    pages: list[Page]
    values: int
    uncompressed_bytes: int
    """Of all pages with their headers."""
    dictionary_uncompressed_bytes: int
    """Of the dictionary page alone."""
    physical_type: str
    codec: str
    encodings: tuple[str, ...]
    nulls: int | None
    bounds: Bounds | None
    """None if there is no value that is not null, or they are not known."""


class Ordering(NamedTuple):
    """How values of a column compare and are written in statistics."""

    physical_type: str
    signed: bool
    """Bytes that are a signed number, big end first: a decimal's."""
    known: bool

    def merged(self, bounds: Sequence[Bounds]) -> Bounds | None:
        """The bounds of all."""
        if not bounds or not self.known:
            return None
        return min((low for low, _ in bounds), key=self._key), max((high for _, high in bounds), key=self._key)

    def packed(self, value: Any) -> bytes:
        """As statistics hold it."""
        form = _PACKED.get(self.physical_type)
        return bytes(value) if form is None else struct.pack(form, value)

    def _key(self, value: Any) -> Any:
        return int.from_bytes(value, "big", signed=True) if self.signed else value


def ordering_of(column: pq.ColumnSchema) -> Ordering:
    """By the types of a column (pyarrow's ColumnSchema)."""
    logical = column.logical_type.type
    unsigned = logical == "INT" and '"isSigned":false' in column.logical_type.to_json()
    return Ordering(
        column.physical_type,
        signed=logical == "DECIMAL" and column.physical_type not in _PACKED,
        known=column.physical_type not in _UNORDERED and logical not in _UNORDERED and not unsigned,
    )


def extent(column: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Where a chunk is in its file: its start and its end."""
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    return start, start + column.total_compressed_size


class _Dictionary(NamedTuple):
    """The page that a chunk may begin with."""

    page: Data
    values: int
    uncompressed_bytes: int


def read_chunk(data: Data, column: pq.ColumnChunkMetaData, rows: int, flat: bool) -> Chunk:
    """A chunk of so many rows from its bytes and its entry of the footer; flat if it is in no list or map.

    Raises:
        Malformed: the bytes are not pages, or others than the footer says.
    """
    dictionary, pages, uncompressed = _read_pages(data, flat)
    values = sum(page.values for page in pages)
    if values != column.num_values:
        raise Malformed(f"pages of {values} values, not {column.num_values}")
    if len(pages) == 1:
        pages = [Page(pages[0].size_bytes, values, rows)]
    statistics = column.statistics
    has_bounds = statistics is not None and statistics.has_min_max
    return Chunk(
        dictionary.page,
        dictionary.values,
        data[len(dictionary.page) :],
        pages,
        values,
        uncompressed,
        dictionary.uncompressed_bytes,
        column.physical_type,
        column.compression,
        column.encodings,
        statistics.null_count if statistics is not None and statistics.has_null_count else None,
        (statistics.min_raw, statistics.max_raw) if has_bounds else None,
    )


def _read_pages(data: Data, flat: bool) -> tuple[_Dictionary, list[Page], int]:
    """The pages that all of the bytes are, and how many bytes they are without compression."""
    dictionary, pages = _Dictionary(data[:0], 0, 0), list[Page]()
    uncompressed = at = 0
    while at < len(data):
        header, body = read_struct(data, at)
        kind, end = header.get(1), body + _count(header, 3)
        expanded = body - at + _count(header, 2)
        uncompressed += expanded
        if kind == DICTIONARY_PAGE and not at:
            dictionary = _Dictionary(data[:end], _count(header.get(_HEADERS[kind]), 1), expanded)
        elif kind in (DATA_PAGE, DATA_PAGE_V2):
            of_its_type = header.get(_HEADERS[kind])
            held = _count(of_its_type, 1)
            known = _count(of_its_type, 3) if kind == DATA_PAGE_V2 else held if flat else None
            pages.append(Page(end - at, held, known))
        else:
            raise Malformed(f"a page of type {kind!r} at {at}")
        at = end
    if at != len(data):
        raise Malformed(f"pages of {at} bytes, not {len(data)}")
    return dictionary, pages, uncompressed


def _count(header: Value | None, number: int) -> int:
    value = header.get(number) if isinstance(header, dict) else None
    if not isinstance(value, int) or value < 0:
        raise Malformed(f"{value!r} where a size should be")
    return value
