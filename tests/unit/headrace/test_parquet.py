"""What a published file is like inside, as pyarrow reads its metadata."""

import io

import pyarrow.parquet as pq
import pytest
from arro3.core import Array, DataType, Field, RecordBatch, Schema
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import parquet
from headrace.columns import column

ROWS = 3_000
TIMES = DataType.timestamp("ms", tz="UTC")
INNER = DataType.struct([Field("n", DataType.int64(), nullable=False)])
COLUMNS = {
    "page": (DataType.string(), [f"/product/{n % 50}" for n in range(ROWS)]),
    "session": (DataType.string(), [f"{n * 7919:032x}" for n in range(ROWS)]),
    "key": (DataType.binary(), [b"%d" % n for n in range(ROWS)]),
    "price": (DataType.float64(), [n % 7 / 2 for n in range(ROWS)]),
    "offset": (DataType.int64(), list(range(ROWS))),
    "at": (TIMES, [1_710_331_200_000 + n for n in range(ROWS)]),
    "absent": (DataType.string(), [None] * ROWS),
    "nested": (INNER, [{"n": n} for n in range(ROWS)]),
}


def batch(rows=ROWS):
    arrays = [column(values[:rows], of) for of, values in COLUMNS.values()]
    schema = Schema([Field(name, of, nullable=True) for name, (of, _) in COLUMNS.items()])
    return RecordBatch.from_arrays(arrays, schema=schema)


def written(rows):
    return parquet.encode(rows, parquet.encoding_of(rows), {"a": "b"})


@pytest.fixture(scope="module")
def metadata():
    return pq.read_metadata(io.BytesIO(written(batch())))


def columns_of(metadata):
    group = metadata.row_group(0)
    return {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}


def test_every_column_is_zstd_in_one_row_group_with_statistics_and_page_index(metadata):
    assert metadata.num_row_groups == 1
    found = columns_of(metadata)
    assert {column.compression for column in found.values()} == {"ZSTD"}
    assert all(column.has_column_index and column.has_offset_index for column in found.values())
    assert all(column.is_stats_set for column in found.values())
    at = found["at"].statistics
    assert (at.max - at.min).total_seconds() == (ROWS - 1) / 1000
    assert (found["absent"].statistics.null_count, found["page"].statistics.min) == (ROWS, "/product/0")
    assert found["nested.n"].statistics.max == ROWS - 1


@pytest.mark.parametrize(
    ("name", "encoding", "dictionary"),
    [
        ("page", "RLE_DICTIONARY", True),
        ("price", "RLE_DICTIONARY", True),
        ("session", "PLAIN", False),
        ("key", "PLAIN", False),
        ("offset", "DELTA_BINARY_PACKED", False),
        ("at", "DELTA_BINARY_PACKED", False),
    ],
)
def test_a_dictionary_is_where_values_repeat_and_numbers_are_differences(metadata, name, encoding, dictionary):
    found = columns_of(metadata)[name]
    assert encoding in found.encodings
    assert found.has_dictionary_page is dictionary


def test_it_makes_files_smaller():
    """Against a dictionary for every column, which is the writer's default."""
    rows = batch()
    assert len(written(rows)) < 0.75 * len(parquet.encode(rows, parquet.Encoding((), ()), {}))


def test_the_same_rows_have_the_same_bytes():
    assert written(batch()) == written(batch())


@given(rows=st.integers(0, 20) | st.integers(parquet.FEW_ROWS - 1, parquet.FEW_ROWS + 9))
@settings(deadline=None)
def test_values_are_read_back_however_few_they_are(rows):
    read = pq.read_table(io.BytesIO(written(batch(rows)))).drop_columns(["at"]).to_pylist()
    names = [name for name in COLUMNS if name != "at"]
    assert read == [{name: COLUMNS[name][1][n] for name in names} for n in range(rows)]


def test_a_table_without_text_needs_no_sample():
    numbers = Array(range(parquet.FEW_ROWS), DataType.int64())
    only = RecordBatch.from_arrays([numbers], schema=Schema([Field("n", DataType.int64(), nullable=False)]))
    assert parquet.encoding_of(only) == parquet.Encoding(["n"], [])
    assert parquet.encoding_of(only.slice(1)) == parquet.Encoding((), ())
