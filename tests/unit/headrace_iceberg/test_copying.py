"""Files are copied by their pages: whatever their columns, encodings and codecs are, readers find the same rows."""

import datetime as dt
import decimal
import tempfile
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema

from headrace_iceberg.columns import BUCKET, name_mapping, table_schema
from headrace_iceberg.copying import Copier, Unalike
from headrace_iceberg.errors import FileUnreadable
from headrace_iceberg.layout import Layouts
from headrace_iceberg.thrift import read_struct

UTC = dt.UTC
FEW_TEXTS = st.sampled_from(["", "a", "b", "é", "zz" * 40])
PAIR = pa.struct([pa.field("key", pa.string(), nullable=False), pa.field("value", pa.binary())])
TYPES = [
    (pa.string(), FEW_TEXTS),
    (pa.string(), st.text(max_size=12)),
    (pa.binary(), st.binary(max_size=80)),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), st.floats(width=32, allow_nan=False)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.bool_(), st.booleans()),
    (pa.date32(), st.dates()),
    (
        pa.timestamp("us", tz="UTC"),
        st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ),
    (pa.decimal128(7, 2), st.decimals(-99999, 99999, places=2)),
    (
        pa.decimal128(25, 3),
        st.decimals(-(10**20), 10**20, places=3).filter(
            lambda value: value == value.quantize(decimal.Decimal("0.001"))
        ),
    ),
    (pa.binary(4), st.binary(min_size=4, max_size=4)),
    (pa.list_(pa.field("element", pa.string())), st.lists(FEW_TEXTS | st.none(), max_size=3)),
    (
        pa.list_(pa.field("element", PAIR, nullable=False)),
        st.lists(st.fixed_dictionaries({"key": FEW_TEXTS, "value": st.binary(max_size=4) | st.none()}), max_size=3),
    ),
]
COLUMN = st.tuples(st.sampled_from(range(len(TYPES))), st.booleans())
FILE = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["snappy", "zstd"]),
        "use_dictionary": st.booleans(),
        "data_page_size": st.sampled_from([64, 1024 * 1024]),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "write_page_index": st.booleans(),
        "write_statistics": st.sampled_from([True, True, False]),
    }
)
FILLER = 400
"""Bytes of a column that is never in a dictionary: copying is worth while, whatever the other columns are."""


@st.composite
def hours(draw):
    """A schema, and files of it with the options of their writer."""
    columns = draw(st.lists(COLUMN, min_size=1, max_size=5))
    fields = [
        pa.field("_partition", pa.int32(), nullable=False),
        pa.field("_offset", pa.int64(), nullable=False),
        pa.field("filler", pa.binary(), nullable=False),
        *(pa.field(f"c{n}", TYPES[kind][0], nullable) for n, (kind, nullable) in enumerate(columns)),
    ]
    files = []
    first = 0
    for partition in range(draw(st.integers(1, 4))):
        count = draw(st.integers(0, 12))
        values = [
            draw(st.lists(TYPES[kind][1] | st.none() if nullable else TYPES[kind][1], min_size=count, max_size=count))
            for kind, nullable in columns
        ]
        numbers = range(first, first + count)
        filler = [number.to_bytes(FILLER, "big") for number in numbers]
        arrays = [[partition] * count, list(numbers), filler, *values]
        rows = pa.table(
            [pa.array(each, field.type) for each, field in zip(arrays, fields, strict=True)], schema=pa.schema(fields)
        )
        files.append((rows, draw(FILE)))
        first += count
    return files


def write(path, rows, use_dictionary, **options):
    texts = [name for name in rows.schema.names if name not in {"filler", "_offset", "_partition"}]
    pq.write_table(
        rows,
        path,
        use_dictionary=texts if use_dictionary else False,
        store_decimal_as_integer=True,
        write_batch_size=2,
        **options,
    )


def copier(columns):
    table = table_schema(columns)
    names = name_mapping(table)
    fields = Schema(*(field for field in table.fields if field.name != BUCKET))
    return Copier(PyArrowFileIO(), Layouts(fields, names))


def copied(folder, files):
    for number, (rows, options) in enumerate(files):
        write(folder / f"{number}.parquet", rows, **options)
    sources = [str(folder / f"{number}.parquet") for number in range(len(files))]
    with pa.OSFile(str(folder / "out.parquet"), "wb") as stream:
        tally = copier(files[0][0].schema).copy(sources, stream)
    return sources, str(folder / "out.parquet"), tally


def without_ids(table):
    return sorted(table.to_pylist(), key=lambda row: row["_offset"])


@given(hours())
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)
def test_readers_find_the_same_rows_and_true_statistics(files):
    rows = pa.concat_tables([rows for rows, _ in files])
    with tempfile.TemporaryDirectory() as name:
        if not rows.num_rows:
            with pytest.raises(Unalike):
                copied(Path(name), files)
            return
        sources, out, tally = copied(Path(name), files)
        assert tally["rows", None] == rows.num_rows
        assert without_ids(pq.read_table(out)) == without_ids(rows)
        query = "select count(*) from (from read_parquet(?) except all from read_parquet(?))"
        for pair in ([sources, [out]], [[out], sources]):
            assert duckdb.execute(query, pair).fetchone() == (0,)
        check_statistics(out, all(options["write_statistics"] for _, options in files))
        check_page_index(Path(out).read_bytes(), pq.read_metadata(out))
        lookup = "select _offset from read_parquet(?) where _offset = ?"
        for offset in (0, rows.num_rows // 2, rows.num_rows - 1):
            assert duckdb.execute(lookup, [[out], offset]).fetchall() == [(offset,)]


def check_statistics(out, all_have_them):
    file = pq.ParquetFile(out)
    for number in range(file.num_row_groups):
        group, rows = file.metadata.row_group(number), file.read_row_group(number)
        assert group.num_rows == rows.num_rows
        for column in (group.column(each) for each in range(group.num_columns)):
            if "." in column.path_in_schema:
                continue
            values = [value for value in rows.column(column.path_in_schema).to_pylist() if value is not None]
            found = column.statistics
            if all_have_them:
                assert (found.has_null_count, found.has_min_max) == (True, bool(values))
            if found is not None and found.has_null_count:
                assert found.null_count == rows.num_rows - len(values)
            if found is not None and found.has_min_max:
                assert (found.min, found.max) == (min(values), max(values))


def check_page_index(content, metadata):
    """Each page is where the index says, and begins with its header; a page has bounds or only nulls."""
    size = int.from_bytes(content[-8:-4], "little")
    footer, _ = read_struct(content, len(content) - 8 - size)
    for group in footer[4]:
        for column in group[1]:
            if 4 not in column:  # of a list's pages only decoding could tell the rows
                assert len(column[3][3]) > 1
                continue
            places = read_struct(content, column[4])[0][1]
            at, row, values = column[3][9], 0, 0
            for place in places:
                assert (place[1], place[3]) == (at, row) or len(column[3][3]) > 1
                header, body = read_struct(content, at)
                values += header.get(5, header.get(8))[1]
                assert place[2] == body - at + header[3]
                at, row = at + place[2], row + header.get(5, header.get(8))[1]
            start = column[3].get(11, column[3][9])
            assert (at - start, values) == (column[3][7], column[3][5])
            if 6 in column:
                index = read_struct(content, column[6])[0]
                assert len(index[1]) == len(index[2]) == len(index[3]) == len(places)
    assert sum(group[3] for group in footer[4]) == metadata.num_rows


PLACE = [pa.field("_partition", pa.int32()), pa.field("_offset", pa.int64())]
USER = pa.field("user", pa.string())
CLICKS = [*PLACE, USER]
PLAIN = {"use_dictionary": False, "compression": "zstd"}


def clicks(first, schema=CLICKS):
    values = {"_partition": [0] * 5, "_offset": list(range(first, first + 5)), "user": [f"u{n}" for n in range(5)]}
    return pa.table([pa.array(values[field.name], field.type) for field in schema], schema=pa.schema(schema))


@pytest.mark.parametrize(
    "second",
    [
        [*PLACE, pa.field("user", pa.string(), nullable=False)],
        [*PLACE, pa.field("user", pa.binary())],
        [PLACE[0], pa.field("_offset", pa.int32()), USER],
        PLACE,
    ],
    ids=["required", "another type", "narrower", "a column less"],
)
def test_files_of_other_columns_have_to_be_decoded(tmp_path, second):
    with pytest.raises(Unalike):
        copied(tmp_path, [(clicks(0), PLAIN), (clicks(5, second), PLAIN)])


def test_files_whose_columns_are_not_the_tables_have_to_be_decoded(tmp_path):
    write(tmp_path / "narrow.parquet", clicks(0, PLACE), **PLAIN)
    with pa.OSFile(str(tmp_path / "out.parquet"), "wb") as stream, pytest.raises(Unalike):
        copier(pa.schema(CLICKS)).copy([str(tmp_path / "narrow.parquet")], stream)


def test_a_dictionary_that_all_have_is_written_once_and_several_are_made_one(tmp_path):
    """
    user    │ u0 … u4 │ u0 … u4 │   the same in both: copied        city    │ a │ b │   decoded, one dictionary of both
    """
    filler = pa.array([bytes(1000)] * 5)
    files = []
    for first, city in ((0, "a"), (5, "b")):
        rows = clicks(first).append_column("filler", filler).append_column("city", pa.array([city] * 5))
        files.append((rows, {"use_dictionary": True, "compression": "zstd"}))
    _, out, _ = copied(tmp_path, files)
    group = pq.read_metadata(out).row_group(0)
    assert [group.column(n).has_dictionary_page for n in range(5)] == [False, False, True, False, True]
    assert pq.read_table(out).column("city").to_pylist() == ["a"] * 5 + ["b"] * 5
    table = pq.read_table(out, read_dictionary=["user", "city"])
    assert [len(table.column(name).chunk(0).dictionary) for name in ("user", "city")] == [5, 2]


def test_files_of_two_codecs_become_a_row_group_each(tmp_path):
    codecs = ["zstd", "snappy", "zstd", "snappy"]
    files = [(clicks(5 * n), {"use_dictionary": False, "compression": codec}) for n, codec in enumerate(codecs)]
    _, out, _ = copied(tmp_path, files)
    metadata = pq.read_metadata(out)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    assert sorted((group.column(0).compression, group.num_rows) for group in groups) == [("SNAPPY", 10), ("ZSTD", 10)]


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_damaged_file_is_named_or_its_pages_are_whole(tmp_path, data):
    """Bytes that are wrong inside a copied page are its reader's to find; all other damage is named."""
    write(tmp_path / "0.parquet", clicks(0), **PLAIN)
    content = (tmp_path / "0.parquet").read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    start = data.draw(st.integers(0, footer - 1))
    damage = data.draw(st.binary(min_size=1, max_size=20))[: footer - start]
    (tmp_path / "0.parquet").write_bytes(content[:start] + damage + content[start + len(damage) :])
    with pa.OSFile(str(tmp_path / "out.parquet"), "wb") as stream, suppress(Unalike):
        try:
            copier(pa.schema(CLICKS)).copy([str(tmp_path / "0.parquet")], stream)
        except FileUnreadable as error:
            named = error.location
        else:
            named = "0.parquet"
        assert named.endswith("0.parquet")
