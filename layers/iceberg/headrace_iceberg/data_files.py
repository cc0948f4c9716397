"""Parquet files as Iceberg's metadata describes them: rows, sizes, counts of nulls, bounds, the bucket.

pyiceberg's `add_files` would take the bucket from the bounds of a column, refuse a file with rows of two hours, and
file null times under the hour of the others. Here it is what the file's own name says.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.name_mapping import NameMapping
from pyiceberg.typedef import Record

from headrace_iceberg.errors import CatalogFailed, FileUnreadable

WHOLE_BYTES = 8 * 1024 * 1024


class Footer:
    """What the end of a Parquet file says."""

    def __init__(self, location: str, size_bytes: int, metadata: pq.FileMetaData) -> None:
        self.location, self.size_bytes, self.metadata = location, size_bytes, metadata
        self.columns: pa.Schema = metadata.schema.to_arrow_schema()

    def entry(self, key: str) -> str | None:
        """One entry of its key-value metadata."""
        value = (self.metadata.metadata or {}).get(key.encode())
        return None if value is None else value.decode()


def read_footer(io: FileIO, location: str) -> Footer:
    """The footer of a file.

    Raises:
        FileUnreadable: there is no such file, or it is not Parquet.
        CatalogFailed: the store did not answer.
    """
    file = io.new_input(location)
    try:
        with file.open() as stream:
            return Footer(location, len(file), pq.read_metadata(stream))
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise FileUnreadable(location, _first_line(error)) from error
    except OSError as error:
        # pyarrow calls a damaged footer an OSError as well; its thrift library has no other word for it.
        if "thrift" in str(error).lower():
            raise FileUnreadable(location, _first_line(error)) from error
        raise CatalogFailed(f"{location}: {_first_line(error)}") from error


def open_source(io: FileIO, location: str) -> pa.NativeFile:
    """A file to read from; a small one is read at once, which is one request instead of several.

    Raises:
        FileUnreadable: there is no such file.
        CatalogFailed: the store did not answer.
    """
    file = io.new_input(location)
    try:
        stream = file.open()
        if len(file) > WHOLE_BYTES:
            return stream if isinstance(stream, pa.NativeFile) else pa.PythonFile(stream, mode="r")
        with stream:
            return pa.BufferReader(stream.read())
    except FileNotFoundError as error:
        raise FileUnreadable(location, _first_line(error)) from error
    except OSError as error:
        raise CatalogFailed(f"{location}: {_first_line(error)}") from error


@contextmanager
def reading(io: FileIO, location: str, source: pa.NativeFile) -> Iterator[None]:
    """What goes wrong while a source is read, in our words.

    Raises:
        FileUnreadable: it is damaged.
        CatalogFailed: the store did not answer.
    """
    try:
        yield
    except ValueError as error:  # pa.ArrowInvalid and thrift.Malformed are such
        raise FileUnreadable(location, _first_line(error)) from error
    except OSError as error:  # pyarrow's word for damage, too
        if not isinstance(source, pa.BufferReader):
            read_footer(io, location)  # tells a damaged file from a store that does not answer
            if not any(sign in str(error).lower() for sign in ("corrupt", "decompress", "zstd", "thrift", "page")):
                raise CatalogFailed(f"{location}: {_first_line(error)}") from error
        raise FileUnreadable(location, _first_line(error)) from error


class Describer:
    """Makes entries of one table's metadata, at one state of its columns."""

    def __init__(self, table: TableMetadata) -> None:
        schema = table.schema()
        self._spec_id = table.default_spec_id
        self._plan = compute_statistics_plan(schema, table.properties)
        self._ids = _with_other_spellings(parquet_path_to_id_mapping(schema), table.name_mapping())

    def data_file(self, footer: Footer, bucket_us: int) -> DataFile:
        """The file's entry, filed under the bucket that starts at this time, epoch microseconds."""
        statistics = data_file_statistics_from_parquet_metadata(footer.metadata, self._plan, self._ids)
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=footer.location,
            file_format=FileFormat.PARQUET,
            partition=Record(bucket_us),
            file_size_in_bytes=footer.size_bytes,
            sort_order_id=None,
            spec_id=self._spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )


class _Spellings(dict[str, int]):
    """Paths of Parquet columns to ids, whatever a writer calls the levels inside lists and maps."""

    def __missing__(self, path: str) -> int:
        return self[path.replace(".entries.", ".key_value.").replace(".list.item", ".list.element")]


def _with_other_spellings(ids: dict[str, int], mapping: NameMapping | None) -> _Spellings:
    spellings = _Spellings(ids)
    for field in mapping.root if mapping else ():
        for former in field.names:
            spellings.update(
                {
                    former + path[len(name) :]: known
                    for name in field.names
                    for path, known in ids.items()
                    if path == name or path.startswith(f"{name}.")
                }
            )
    return spellings


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
