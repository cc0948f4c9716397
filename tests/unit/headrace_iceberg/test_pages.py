"""Column chunks as pages: bounds are merged by the column's own order, and what are no pages is said to be none."""

import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace_iceberg.pages import extent, ordering_of, read_chunk
from headrace_iceberg.thrift import Malformed


def written(values, kind, **options):
    buffer = pa.BufferOutputStream()
    options = {"use_dictionary": False, "store_decimal_as_integer": True} | options
    pq.write_table(pa.table({"c": pa.array(values, kind)}), buffer, **options)
    return buffer.getvalue().to_pybytes()


def column_of(content):
    metadata = pq.read_metadata(pa.BufferReader(content))
    return metadata.row_group(0).column(0), metadata.schema.column(0)


def chunk_of(content):
    column, _ = column_of(content)
    start, end = extent(column)
    return read_chunk(memoryview(content)[start:end], column, column.num_values, flat=True)


D = decimal.Decimal


@pytest.mark.parametrize(
    ("kind", "some", "others", "low", "high"),
    [
        (pa.decimal128(25, 2), [D("-1.00")], [D("1.00"), D("-2.00")], D("-2.00"), D("1.00")),  # bytes, signed
        (pa.decimal128(7, 2), [D("-1.00")], [D("1.00"), D("-2.00")], D("-2.00"), D("1.00")),
        (pa.int64(), [-1], [1, 2**62], -1, 2**62),
        (pa.string(), ["b"], ["é", "a"], "a", "é"),
        (pa.binary(2), [b"\x80a"], [b"\x7fz"], b"\x7fz", b"\x80a"),
        (pa.float32(), [-0.5], [1.5], -0.5, 1.5),
        (pa.bool_(), [True], [False], False, True),
    ],
)
def test_bounds_are_merged_in_the_columns_order_and_written_as_its_writer_does(kind, some, others, low, high):
    ordering = ordering_of(column_of(written(some, kind))[1])
    merged = ordering.merged([chunk_of(written(values, kind)).bounds for values in (some, others)])
    assert merged == (chunk_of(written([low], kind)).bounds[0], chunk_of(written([high], kind)).bounds[1])
    assert ordering.packed(merged[0]) != ordering.packed(merged[1])


@pytest.mark.parametrize(
    ("kind", "value"), [(pa.uint32(), 2**31), (pa.float16(), 1.0)], ids=["not signed", "half a float"]
)
def test_an_order_that_pyarrow_does_not_tell_has_no_bounds(kind, value):
    content = written([value], kind)
    assert ordering_of(column_of(content)[1]).merged([(value, value)]) is None


def test_a_chunk_is_its_dictionary_and_its_pages():
    """
    │ dictionary: a, b │ page: a b │ page: a b │ …
    """
    values = ["a", "b"] * 50
    content = written(values, pa.string(), use_dictionary=True, data_page_size=1, write_batch_size=10)
    chunk = chunk_of(content)
    assert (chunk.values, chunk.dictionary_values, chunk.nulls) == (100, 2, 0)
    assert sum(page.values for page in chunk.pages) == sum(page.rows for page in chunk.pages) == 100
    assert len(chunk.pages) > 1
    column, _ = column_of(content)
    assert len(chunk.dictionary) + len(chunk.data) == column.total_compressed_size
    assert chunk.uncompressed_bytes == column.total_uncompressed_size


@pytest.mark.parametrize("damage", ["cut", "zeros", "longer", "without its first page", "a dictionary behind a page"])
def test_other_bytes_than_the_footer_describes_are_malformed(damage):
    content = written(["a", "b"] * 50, pa.string(), use_dictionary=True, data_page_size=1, write_batch_size=10)
    column, _ = column_of(content)
    start, end = extent(column)
    data = content[start:end]
    chunk = chunk_of(content)
    first = len(chunk.dictionary) + chunk.pages[0].size_bytes
    changed = {
        "cut": data[:-1],
        "zeros": bytes(len(data)),
        "longer": data + data[-chunk.pages[-1].size_bytes :],
        "without its first page": data[: len(chunk.dictionary)] + data[first:],
        "a dictionary behind a page": data[len(chunk.dictionary) :] + bytes(chunk.dictionary),
    }[damage]
    with pytest.raises(Malformed):
        read_chunk(changed, column, 100, flat=True)
