"""How rows are encoded in the table's own files: as the landing zone does it (headrace.parquet).

Integers and times, which mostly grow from row to row, are written as differences; everything else with a dictionary,
which the writer gives up where values do not repeat.
"""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS = {"INT32", "INT64"}
CODEC, LEVEL = "zstd", 1


def empty_file(columns: pa.Schema) -> pa.Buffer:
    """A file of these columns without rows: its schema as Parquet has it."""
    buffer = pa.BufferOutputStream()
    pq.ParquetWriter(buffer, columns, store_decimal_as_integer=True).close()
    return buffer.getvalue()


def open_writer(stream: Any, columns: pa.Schema) -> pq.ParquetWriter:
    """A writer to a stream."""
    schema = pq.read_metadata(pa.BufferReader(empty_file(columns))).schema
    leaves = [schema.column(number) for number in range(len(schema))]
    return pq.ParquetWriter(
        stream,
        columns,
        compression=CODEC,
        compression_level=LEVEL,
        use_dictionary=[leaf.path for leaf in leaves if leaf.physical_type not in NUMBERS],
        column_encoding={leaf.path: "DELTA_BINARY_PACKED" for leaf in leaves if leaf.physical_type in NUMBERS},
        write_page_index=True,
        store_decimal_as_integer=True,
    )
