"""Small files into one, in a stream: read a batch at a time, written a row group at a time, and then counted.

Nothing holds more than a row group: it is written as soon as it is full. The new file has the table's columns as they
are now, with their ids. Its rows are compared with those of its sources by their offsets, read back from what was
written: a file whose rows are not exactly theirs is never put into the table.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import pyarrow_to_schema, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata

from headrace_iceberg.columns import BUCKET, RESERVED
from headrace_iceberg.data_files import Describer, read_footer
from headrace_iceberg.errors import CatalogFailed, FileUnreadable, RowsChanged
from headrace_iceberg.projection import project

ROW_GROUP_BYTES = 64 * 1024 * 1024
"""Of rows in memory that make one row group; compressed it is some 10 to 20 MB."""
BATCH_ROWS = 65_536
"""Read at once, of a file that is large already."""
PARTITION, OFFSET = "_partition", "_offset"

Tally = Counter[tuple[str, int | None]]
"""Numbers that are the same for the same rows in any order: how many, and per partition sums over their offsets."""


class Rewriter:
    """Rewrites files of one table, at one state of its columns."""

    def __init__(self, table: TableMetadata, io: FileIO, new_location: Callable[[], str]) -> None:
        self._io, self._new_location = io, new_location
        self._describer = Describer(table)
        self._names = table.schema().name_mapping if table.name_mapping() is None else table.name_mapping()
        self._schema = Schema(*(field for field in table.schema().fields if field.name != BUCKET))
        self._columns = _as_in_files(schema_to_pyarrow(self._schema, include_field_ids=True))
        self._known: list[tuple[pa.Schema, Schema]] = []

    def rewrite(self, files: Sequence[DataFile]) -> DataFile:
        """One new file with the rows of the files, filed under the bucket of the first.

        Raises:
            FileUnreadable: one of the files cannot be read; what was written of the new one is an orphan.
            RowsChanged: the new file has other rows.
            CatalogFailed: the store did not answer.
        """
        location = self._new_location()
        before = self._write(location, files)
        after = self._tally_of(location)
        if before != after or before["rows", None] != sum(file.record_count for file in files):
            raise RowsChanged(f"{location} has {dict(after)}, its {len(files)} sources {dict(before)}")
        return self._describer.data_file(read_footer(self._io, location), files[0].partition[0])

    def _write(self, location: str, files: Sequence[DataFile]) -> Tally:
        tally: Tally = Counter()
        with self._io.new_output(location).create() as stream, _writer(stream, self._columns) as writer:
            group: list[pa.RecordBatch] = []
            size = 0
            for batch in self._batches(files):
                tally += _tally(batch)
                group.append(batch)
                size += batch.nbytes
                if size >= ROW_GROUP_BYTES:
                    _write_group(writer, group)
                    group, size = [], 0
            if group:
                _write_group(writer, group)
        return tally

    def _batches(self, files: Sequence[DataFile]) -> Iterator[pa.RecordBatch]:
        for file in files:
            for batch in self._read(file.file_path):
                yield self._as_the_table_is(batch)

    def _read(self, location: str) -> Iterator[pa.RecordBatch]:
        try:
            with self._io.new_input(location).open() as stream:
                yield from pq.ParquetFile(stream).iter_batches(BATCH_ROWS, use_threads=False)
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise FileUnreadable(location, str(error).partition("\n")[0]) from error
        except OSError as error:
            read_footer(self._io, location)  # tells a damaged file from a store that does not answer
            if any(sign in str(error).lower() for sign in ("corrupt", "decompress", "zstd", "thrift", "page")):
                raise FileUnreadable(location, str(error).partition("\n")[0]) from error
            raise CatalogFailed(f"{location}: {error}") from error

    def _as_the_table_is(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        projected = project(self._schema, self._ids_of(batch.schema), batch)
        if projected.schema.equals(self._columns):
            return projected
        return pa.RecordBatch.from_arrays(
            [column.cast(field.type) for column, field in zip(projected.columns, self._columns, strict=True)],
            schema=self._columns,
        )

    def _ids_of(self, columns: pa.Schema) -> Schema:
        """The schema with the table's ids, by the file's own ids or by name; files come in few kinds."""
        for known, schema in self._known:
            if known.equals(columns, check_metadata=True):
                return schema
        schema = pyarrow_to_schema(columns, self._names, downcast_ns_timestamp_to_us=True)
        self._known.append((columns, schema))
        return schema

    def _tally_of(self, location: str) -> Tally:
        names = [name for name in (PARTITION, OFFSET) if name in self._columns.names]
        tally: Tally = Counter()
        with self._io.new_input(location).open() as stream:
            for batch in pq.ParquetFile(stream).iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                tally += _tally(batch)
        return tally


def _as_in_files(columns: pa.Schema) -> pa.Schema:
    """All files have the same names, those that were landed and those that were rewritten."""
    in_files = {name: kept for kept, name in RESERVED.items()}
    return pa.schema([field.with_name(in_files.get(field.name, field.name)) for field in columns])


def _tally(batch: pa.RecordBatch) -> Tally:
    tally: Tally = Counter({("rows", None): batch.num_rows})
    if not {PARTITION, OFFSET} <= set(batch.schema.names):
        return tally
    partitions, offsets = batch.column(PARTITION), batch.column(OFFSET)
    for partition in pc.unique(partitions).to_pylist():
        of_it = offsets.filter(pc.equal(partitions, partition))
        for name, number in _sums(of_it):
            tally[name, partition] += number
    return tally


def _sums(offsets: pa.Array) -> Iterator[tuple[str, int]]:
    yield "offsets", len(offsets)
    yield "sum", pc.sum(offsets).as_py() or 0
    # Of a mixed bit pattern too: two rows that moved in opposite directions leave a plain sum as it was.
    mixed = pc.bit_wise_xor(offsets, pc.shift_right(offsets, 3))
    yield "mixed", pc.sum(pc.bit_wise_and(pc.multiply(mixed, mixed), 2**31 - 1)).as_py() or 0


def _write_group(writer: pq.ParquetWriter, batches: list[pa.RecordBatch]) -> None:
    table = pa.Table.from_batches(batches)
    writer.write_table(table, row_group_size=table.num_rows)


def _writer(stream: Any, columns: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(stream, columns, compression="zstd", compression_level=1, write_page_index=True)
