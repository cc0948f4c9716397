"""How rows become the bytes of a Parquet file, chosen by measurement (docs/decisions.md, 2026-11-27).

Statistics and page index of every column, which are the writer's own default. A column whose values
repeat has a dictionary; where most values are different it would be written beside them for nothing. Integers and
times, which mostly grow from row to row, are written as differences. One row group: a file has the rows of one commit
in one bucket, of 6 MB at most.
"""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from arro3.core import Array, DataType, RecordBatch, Table
from arro3.io import write_parquet

LARGE_FILES = "zstd(1)"
"""Compression: against zstd(3) half the CPU time for 2 to 4 % more bytes."""
SMALL_FILES = "snappy"
"""zstd starts anew for each column: 0.4 instead of 0.1 ms for a file of 150 rows and eight columns, which is 8 % larger
with this."""
SMALL_ROWS = 2000
SAMPLE_ROWS = 100
FEW_ROWS = 1000
"""Below it, looking at columns costs more time than the writer's own choice, a dictionary for each."""
MOSTLY = 0.9
"""The share of different values in a sample from which a column gets no dictionary."""


class Encoding(NamedTuple):
    """What is particular to the columns of one table's batch."""

    differences: Sequence[str]
    """Columns that are written as differences from row to row."""
    plain: Sequence[str]
    """Columns without a dictionary."""


def encoding_of(batch: RecordBatch) -> Encoding:
    """The encoding of each column, by its type and a sample of its values; the same for the same rows."""
    if batch.num_rows < FEW_ROWS:
        return Encoding((), ())
    types = {name: batch.schema.field(name).type for name in batch.schema.names}
    texts = [name for name, arrow_type in types.items() if _is_text(arrow_type)]
    return Encoding(
        differences=[name for name, arrow_type in types.items() if _is_number(arrow_type)],
        plain=_mostly_different(batch.select(texts)) if texts else [],
    )


def encode(batch: RecordBatch, encoding: Encoding, metadata: Mapping[str, str]) -> bytes:
    """A whole file, with the metadata in its footer."""
    buffer = io.BytesIO()
    write_parquet(
        Table.from_batches([batch]),
        buffer,
        compression=SMALL_FILES if batch.num_rows < SMALL_ROWS else LARGE_FILES,
        column_dictionary_enabled=dict.fromkeys([*encoding.differences, *encoding.plain], False),
        column_encoding=dict.fromkeys(encoding.differences, "delta_binary_packed"),
        key_value_metadata=dict(metadata),
    )
    return buffer.getvalue()


def _mostly_different(batch: RecordBatch) -> list[str]:
    places = range(0, batch.num_rows, max(1, batch.num_rows // SAMPLE_ROWS))
    sample = batch.take(Array(places, DataType.uint32()))
    found = []
    for name in sample.schema.names:
        values = [value for value in sample.column(name).to_pylist() if value is not None]
        if len(set(values)) > MOSTLY * len(values):
            found.append(name)
    return found


def _is_number(arrow_type: DataType) -> bool:
    return bool(DataType.is_integer(arrow_type) or DataType.is_timestamp(arrow_type) or DataType.is_date32(arrow_type))


def _is_text(arrow_type: DataType) -> bool:
    return bool(DataType.is_string(arrow_type) or DataType.is_binary(arrow_type) or DataType.is_floating(arrow_type))
