"""Small files into one, in a stream: a row group is written as soon as it is full, and all of it is then counted.

Pages are copied where they can be (headrace_iceberg.copying). Otherwise rows are decoded, given the table's columns as
they are now, and encoded again. Either way the new file's rows are compared with those of its sources by their offsets,
read back from what was written: a file whose rows are not exactly theirs is never put into the table.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import _to_requested_schema, pyarrow_to_schema, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata

from headrace_iceberg.columns import BUCKET, RESERVED
from headrace_iceberg.copying import Copier, Unalike
from headrace_iceberg.data_files import Describer, open_source, read_footer, reading
from headrace_iceberg.encoding import open_writer
from headrace_iceberg.errors import RowsChanged
from headrace_iceberg.layout import Layouts
from headrace_iceberg.tally import Tally, tally_columns, tally_of

ROW_GROUP_BYTES = 64 * 1024 * 1024
"""Of rows in memory that make one row group; compressed it is some 10 to 20 MB."""
RUN_BYTES = 16 * 1024 * 1024
"""Of rows that are given the table's columns together: for each file alone it would take longer than decoding it."""
BATCH_ROWS = 65_536
"""Read at once, of a file that is large already."""


class Rewriter:
    """Rewrites files of one table, at one state of its columns."""

    def __init__(self, table: TableMetadata, io: FileIO, new_location: Callable[[], str]) -> None:
        self._io, self._new_location = io, new_location
        self._describer = Describer(table)
        self._names = table.name_mapping() or table.schema().name_mapping
        self._schema = Schema(*(field for field in table.schema().fields if field.name != BUCKET))
        self._columns = _as_in_files(schema_to_pyarrow(self._schema, include_field_ids=True))
        self._copier = Copier(io, Layouts(self._schema, self._names))

    def rewrite(self, files: Sequence[DataFile]) -> DataFile:
        """One new file with the rows of the files, filed under the bucket of the first.

        Raises:
            FileUnreadable: one of the files cannot be read; what was written of the new one is an orphan.
            RowsChanged: the new file has other rows.
            CatalogFailed: the store did not answer.
        """
        location = self._new_location()
        sources = [file.file_path for file in files]
        before = self._copy(location, sources) or self._write(location, sources)
        after = self._tally_of(location)
        if before != after or before["rows", None] != sum(file.record_count for file in files):
            raise RowsChanged(f"{location} has {dict(after)}, its {len(files)} sources {dict(before)}")
        return self._describer.data_file(read_footer(self._io, location), files[0].partition[0])

    def _copy(self, location: str, sources: Sequence[str]) -> Tally | None:
        """None where they have to be decoded; what was written is then no file yet."""
        with self._io.new_output(location).create() as stream, suppress(Unalike):
            return self._copier.copy(sources, stream)
        return None

    def _write(self, location: str, sources: Sequence[str]) -> Tally:
        tally: Tally = Counter()
        output = self._io.new_output(location)
        with output.create(overwrite=True) as stream, open_writer(stream, self._columns) as writer:
            group: list[pa.Table] = []
            for rows in self._runs(sources):
                tally += tally_of(rows)
                group.append(self._as_the_table_is(rows))
                if sum(each.nbytes for each in group) >= ROW_GROUP_BYTES:
                    _write_group(writer, group)
                    group = []
            if group:
                _write_group(writer, group)
        return tally

    def _runs(self, sources: Sequence[str]) -> Iterator[pa.Table]:
        """Rows of files with the same columns, some of them at a time."""
        run: list[pa.RecordBatch] = []
        size = 0
        for location in sources:
            for batch in self._read(location):
                if run and (size >= RUN_BYTES or not batch.schema.equals(run[0].schema)):
                    yield pa.Table.from_batches(run)
                    run, size = [], 0
                run.append(batch)
                size += batch.nbytes
        if run:
            yield pa.Table.from_batches(run)

    def _read(self, location: str) -> Iterator[pa.RecordBatch]:
        with open_source(self._io, location) as source, reading(self._io, location, source):
            for batch in pq.ParquetFile(source).iter_batches(BATCH_ROWS, use_threads=False):
                yield batch.replace_schema_metadata()

    def _as_the_table_is(self, rows: pa.Table) -> pa.Table:
        schema = pyarrow_to_schema(rows.schema, self._names, downcast_ns_timestamp_to_us=True)
        (batch,) = rows.combine_chunks().to_batches()
        projected = _to_requested_schema(
            self._schema, schema, batch, downcast_ns_timestamp_to_us=True, include_field_ids=False
        )
        columns = zip(projected.columns, self._columns, strict=True)
        return pa.Table.from_arrays([column.cast(field.type) for column, field in columns], schema=self._columns)

    def _tally_of(self, location: str) -> Tally:
        tally: Tally = Counter()
        names = tally_columns(self._columns.names)
        with self._io.new_input(location).open() as stream:
            file = pq.ParquetFile(stream)
            for number in range(file.num_row_groups):
                tally += tally_of(file.read_row_group(number, columns=names, use_threads=False))
        return tally


def _as_in_files(columns: pa.Schema) -> pa.Schema:
    """All files have the same names, those that were landed and those that were rewritten."""
    in_files = {name: kept for kept, name in RESERVED.items()}
    return pa.schema([field.with_name(in_files.get(field.name, field.name)) for field in columns])


def _write_group(writer: pq.ParquetWriter, tables: list[pa.Table]) -> None:
    table = pa.concat_tables(tables)
    writer.write_table(table, row_group_size=table.num_rows)
