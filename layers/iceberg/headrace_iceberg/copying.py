"""Small files into one without decoding most of them: the pages of their columns are copied as they are.

    files ─ row groups ─ collected until they make a large one ─ of each column: pages copied, or encoded anew
                                                                                            │
                         all chunks have the same dictionary, or none: copied               │
                         each has its own, and a chunk can have one only: encoded anew ─────┘

That holds for files whose columns are those of the table as they are, all of one Parquet schema. Others have to be
decoded, which `Unalike` says.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO

from headrace_iceberg.data_files import open_source, reading
from headrace_iceberg.encoding import open_writer
from headrace_iceberg.layout import Layouts, in_words
from headrace_iceberg.pages import Chunk, extent, read_chunk
from headrace_iceberg.splicing import SplicedFile, Stream, have_one_dictionary, may_be_joined
from headrace_iceberg.tally import Tally, tally_columns, tally_of

GROUP_BYTES = 64 * 1024 * 1024
"""Of pages, decompressed, that make one row group."""
GROUP_ROWS = 1_000_000
SAMPLE, WORTH = 8, 0.5
"""The share of bytes that has to be copied for it to be worth while, looked at in so many pieces."""
SELDOM = 0.5
"""The share of different values of a column up to which dictionaries are joined instead of values."""


class Unalike(Exception):
    """These files have to be decoded."""


class Piece(NamedTuple):
    """One row group of one file."""

    location: str
    source: pa.NativeFile
    metadata: pq.FileMetaData
    number: int
    rows: int
    chunks: list[Chunk]


class Group:
    """Pieces with the same codecs, to become one row group."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.rows = self.uncompressed_bytes = 0

    def add(self, piece: Piece) -> None:
        """One more."""
        self.pieces.append(piece)
        self.rows += piece.rows
        self.uncompressed_bytes += sum(each.uncompressed_bytes for each in piece.chunks)

    def columns(self) -> dict[str, list[Chunk]]:
        """Of each column, by its path, all chunks."""
        schema = self.pieces[0].metadata.schema
        return {
            schema.column(number).path: [piece.chunks[number] for piece in self.pieces] for number in range(len(schema))
        }

    def is_full(self) -> bool:
        """Whether it is large enough."""
        return self.rows >= GROUP_ROWS or self.uncompressed_bytes >= GROUP_BYTES


class Copier:
    """Copies files of one table, at one state of its columns."""

    def __init__(self, io: FileIO, layouts: Layouts) -> None:
        self._io, self._layouts = io, layouts

    def copy(self, locations: Iterable[str], stream: Stream) -> Tally:
        """Write one file of the rows of all; returns the tally of what was read.

        Raises:
            Unalike: they have to be decoded; what was written is no file.
            FileUnreadable: one of the files cannot be read.
            CatalogFailed: the store did not answer.
        """
        tally: Tally = Counter()
        file: SplicedFile | None = None
        pieces = self._alike(locations)
        first = list(islice(pieces, SAMPLE))
        _check_worth(first)
        for group in _groups(chain(first, pieces)):
            file = file or SplicedFile(stream, self._empty_like(group.pieces[0].metadata.schema))
            tally += self._write(file, group)
        if file is None:
            raise Unalike("they have no rows")
        file.close()
        return tally

    def _alike(self, locations: Iterable[str]) -> Iterator[Piece]:
        first: pq.ParquetSchema | None = None
        for location in locations:
            for piece in self._pieces(location):
                columns = piece.metadata.schema
                if first is None:
                    self._empty_like(first := columns)
                elif not columns.equals(first) and in_words(columns) != in_words(first):
                    raise Unalike(f"{location} has other columns than the first")
                yield piece

    def _empty_like(self, columns: pq.ParquetSchema) -> bytes:
        empty = self._layouts.empty_like(columns)
        if empty is None:
            raise Unalike("its columns are not the table's as they are")
        return empty

    def _pieces(self, location: str) -> Iterator[Piece]:
        source = open_source(self._io, location)
        with reading(self._io, location, source):
            metadata = pq.read_metadata(source)
            for number in range(metadata.num_row_groups):
                if metadata.row_group(number).num_rows:
                    yield _piece(location, source, metadata, number)

    def _write(self, file: SplicedFile, group: Group) -> Tally:
        chunks_of = group.columns()
        not_joined = {path: chunks for path, chunks in chunks_of.items() if not may_be_joined(chunks)}
        known = tally_columns(chunks_of)
        texts = [path for path, chunks in not_joined.items() if _is_text(chunks, path) and _repeat(chunks)]
        rows = self._decoded(group.pieces, list(dict.fromkeys([*known, *not_joined])), texts)
        if not_joined:
            chunks_of.update(_encoded(rows, list(not_joined)))
        file.write_row_group(chunks_of.values(), group.rows)
        return tally_of(rows) if known else Counter({("rows", None): group.rows})

    def _decoded(self, pieces: Sequence[Piece], paths: list[str], texts: list[str]) -> pa.Table:
        """Some columns of all pieces; texts stay in their dictionaries."""
        tables = []
        for piece in pieces if paths else ():
            with reading(self._io, piece.location, piece.source):
                file = pq.ParquetFile(piece.source, metadata=piece.metadata, read_dictionary=texts)
                tables.append(file.read_row_group(piece.number, columns=paths, use_threads=False))
        return pa.concat_tables(tables) if tables else pa.table({})


def _check_worth(pieces: Sequence[Piece]) -> None:
    """Where most would be decoded anyway, as of files of less than 1,000 rows, decoding all takes less memory and time.

    Raises:
        Unalike: so it is.
    """
    copied = total = 0
    for chunks in zip(*(piece.chunks for piece in pieces), strict=True):
        size = sum(chunk.uncompressed_bytes for chunk in chunks)
        total += size
        copied += size if have_one_dictionary(chunks) else 0
    if copied < WORTH * total:
        raise Unalike("most of their columns have a dictionary in each file")


def _groups(pieces: Iterable[Piece]) -> Iterator[Group]:
    """Together never more than one group's size and a piece, however many codecs there are."""
    open_groups: dict[tuple[str, ...], Group] = {}
    for piece in pieces:
        open_groups.setdefault(tuple(chunk.codec for chunk in piece.chunks), Group()).add(piece)
        together = sum(group.uncompressed_bytes for group in open_groups.values())
        largest = max(open_groups, key=lambda codecs: open_groups[codecs].uncompressed_bytes)
        if together >= GROUP_BYTES or open_groups[largest].is_full():
            yield open_groups.pop(largest)
    yield from open_groups.values()


def _piece(location: str, source: pa.NativeFile, metadata: pq.FileMetaData, number: int) -> Piece:
    group, schema = metadata.row_group(number), metadata.schema
    rows, chunks = group.num_rows, []
    columns = [group.column(each) for each in range(group.num_columns)]
    places = [extent(column) for column in columns]
    start, end = min(first for first, _ in places), max(last for _, last in places)
    source.seek(start)
    data = memoryview(source.read_buffer(end - start)).cast("B")
    for each, (column, (first, last)) in enumerate(zip(columns, places, strict=True)):
        flat = schema.column(each).max_repetition_level == 0
        chunks.append(read_chunk(data[first - start : last - start], column, rows, flat))
    return Piece(location, source, metadata, number, rows, chunks)


def _is_text(chunks: Sequence[Chunk], path: str) -> bool:
    """Texts or bytes outside of lists and records: pyarrow can leave those in their dictionaries."""
    return chunks[0].physical_type == "BYTE_ARRAY" and "." not in path


def _repeat(chunks: Sequence[Chunk]) -> bool:
    """Whether so few values are different that joining dictionaries is less work than making one of all values."""
    different = sum(chunk.dictionary_values for chunk in chunks)
    return 0 < different < SELDOM * sum(chunk.values for chunk in chunks)


def _encoded(rows: pa.Table, paths: Sequence[str]) -> dict[str, list[Chunk]]:
    """Of each of these columns its one chunk."""
    wanted = rows.select(list(dict.fromkeys(path.partition(".")[0] for path in paths)))
    wanted = wanted.unify_dictionaries().replace_schema_metadata()
    buffer = pa.BufferOutputStream()
    with open_writer(buffer, wanted.schema) as writer:
        writer.write_table(wanted, row_group_size=wanted.num_rows)
    source = pa.BufferReader(buffer.getvalue())
    metadata = pq.read_metadata(source)
    piece = _piece("", source, metadata, 0)
    return {metadata.schema.column(number).path: [chunk] for number, chunk in enumerate(piece.chunks)}
