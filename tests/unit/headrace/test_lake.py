"""Rows as Parquet files that others read, and the names that they find them under."""

import datetime as dt
import io
import struct
from pathlib import PurePosixPath

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arro3.core import DataType, Field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace import lake
from headrace.errors import InvariantError
from headrace.lake import HOUR_MS, MAX_TIME_MS, MIN_TIME_MS, LakeFile, LakeTable, Rows
from headrace.records import Record

UTC_MS, UTC_US = DataType.timestamp("ms", tz="UTC"), DataType.timestamp("us", tz="UTC")
STRINGS = DataType.list(Field("element", DataType.string(), nullable=False))
INTS = DataType.list(Field("element", DataType.int32(), nullable=False))
TIMES = DataType.list(Field("element", UTC_MS, nullable=False))
PAIR = DataType.struct([Field("p50", DataType.float64(), nullable=False), Field("at", UTC_MS, nullable=True)])
COUNT = DataType.struct(
    [Field("value", DataType.string(), nullable=False), Field("count", DataType.int64(), nullable=False)]
)
COUNTS = DataType.list(Field("element", COUNT, nullable=False))
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

# Column type: what pyarrow and DuckDB have to call it.
TYPES = {
    "flag": (DataType.bool(), pa.bool_(), "BOOLEAN"),
    "small": (DataType.int32(), pa.int32(), "INTEGER"),
    "big": (DataType.int64(), pa.int64(), "BIGINT"),
    "single": (DataType.float32(), pa.float32(), "FLOAT"),
    "double": (DataType.float64(), pa.float64(), "DOUBLE"),
    "blob": (DataType.binary(), pa.binary(), "BLOB"),
    "text": (DataType.string(), pa.string(), "VARCHAR"),
    "day": (DataType.date32(), pa.date32(), "DATE"),
    "millis": (UTC_MS, pa.timestamp("ms", tz="UTC"), "TIMESTAMP WITH TIME ZONE"),
    "micros": (UTC_US, pa.timestamp("us", tz="UTC"), "TIMESTAMP WITH TIME ZONE"),
    "texts": (STRINGS, pa.list_(pa.field("element", pa.string(), nullable=False)), "VARCHAR[]"),
    "numbers": (INTS, pa.list_(pa.field("element", pa.int32(), nullable=False)), "INTEGER[]"),
    "pair": (
        PAIR,
        pa.struct([pa.field("p50", pa.float64(), nullable=False), pa.field("at", pa.timestamp("ms", tz="UTC"))]),
        'STRUCT(p50 DOUBLE, "at" TIMESTAMP WITH TIME ZONE)',
    ),
    "counts": (
        COUNTS,
        pa.list_(
            pa.field(
                "element",
                pa.struct(
                    [pa.field("value", pa.string(), nullable=False), pa.field("count", pa.int64(), nullable=False)]
                ),
                nullable=False,
            )
        ),
        'STRUCT("value" VARCHAR, count BIGINT)[]',
    ),
}
ALL_TYPES = LakeTable("all_types", tuple(Field(n, t[0], nullable=True) for n, t in TYPES.items()), complete=True)


def moment(ticks_us):
    return EPOCH + dt.timedelta(microseconds=ticks_us)


def day(number):
    return EPOCH.date() + dt.timedelta(days=number)


FIRST_DAY, LAST_DAY = (MIN_TIME_MS // 86_400_000, MAX_TIME_MS // 86_400_000)


@pytest.mark.parametrize(
    ("arrow_type", "values", "read"),
    [
        (DataType.bool(), [True, None, False], [True, None, False]),
        (DataType.int32(), [-(2**31), None, 2**31 - 1], [-(2**31), None, 2**31 - 1]),
        (DataType.int64(), [-(2**63), None, 2**63 - 1], [-(2**63), None, 2**63 - 1]),
        (DataType.float32(), [0.5, None], [0.5, None]),
        (DataType.float64(), [1e308, None, -0.0, 7], [1e308, None, -0.0, 7.0]),
        (DataType.binary(), [b"", None, b"\x00\xff"], [b"", None, b"\x00\xff"]),
        (DataType.string(), ["", None, "a\0😀"], ["", None, "a\0😀"]),
        (DataType.date32(), [-1, None, 0], [day(-1), None, day(0)]),
        (UTC_MS, [-1, None, 1_710_331_200_000], [moment(-1000), None, moment(1_710_331_200_000_000)]),
        (UTC_US, [-1, None, 1], [moment(-1), None, moment(1)]),
        (UTC_MS, [MIN_TIME_MS, MAX_TIME_MS], [moment(MIN_TIME_MS * 1000), moment(MAX_TIME_MS * 1000)]),
        (STRINGS, [["a", "b"], None, [], [""]], [["a", "b"], None, [], [""]]),
        (INTS, [None, None], [None, None]),
        (INTS, [[]], [[]]),
        (TIMES, [[0], None, [1, 2]], [[moment(0)], None, [moment(1000), moment(2000)]]),
        (
            PAIR,
            [{"p50": 0.5, "at": 1}, None, {"p50": 1.0}],
            [{"p50": 0.5, "at": moment(1000)}, None, {"p50": 1.0, "at": None}],
        ),
        (COUNTS, [[{"value": "a", "count": 2}], None, []], [[{"value": "a", "count": 2}], None, []]),
        *((arrow_type, [None], [None]) for arrow_type, _, _ in TYPES.values()),
        *((arrow_type, [], []) for arrow_type, _, _ in TYPES.values()),
    ],
)
def test_a_column_holds_every_value_of_its_type(arrow_type, values, read):
    column = lake.column(values, arrow_type)
    assert column.type == arrow_type
    assert pa.array(column).to_pylist() == read


@pytest.mark.parametrize(
    ("arrow_type", "value"),
    [(DataType.int32(), 2**31), (DataType.int64(), 2**63), (DataType.date32(), 2**31), (UTC_MS, 2**63)],
)
def test_a_value_that_does_not_fit_is_an_error_not_another_value(arrow_type, value):
    with pytest.raises(OverflowError):
        lake.column([value], arrow_type)


def encoded(rows, metadata=None):
    """The files that the rows become."""
    return [lake.encode(part, metadata or {}) for part in lake.split(rows)]


def read_back(content):
    return pq.read_table(io.BytesIO(content))


def of_hours(*times_ms):
    """Files of rows that hold their own place and time."""
    fields = (Field("place", DataType.int32(), nullable=False), Field("time_ms", DataType.int64(), nullable=False))
    columns = [lake.column([*range(len(times_ms))], DataType.int32()), lake.column([*times_ms], DataType.int64())]
    return encoded(Rows(LakeTable("hours", fields, complete=True), times_ms, columns))


def test_each_hour_has_one_file_and_rows_stay_in_order():
    """hour      0         1         2
    rows      1, 4      0, 3       2
    """
    files = of_hours(HOUR_MS, HOUR_MS - 1, 2 * HOUR_MS, 2 * HOUR_MS - 1, 0)
    assert [(file.table, file.hour_ms, file.rows) for file in files] == [
        ("hours", 0, 2),
        ("hours", HOUR_MS, 2),
        ("hours", 2 * HOUR_MS, 1),
    ]
    assert [read_back(file.content)["place"].to_pylist() for file in files] == [[1, 4], [0, 3], [2]]


@pytest.mark.parametrize(
    ("time_ms", "hour_ms", "folder"),
    [
        (0, 0, "date=1970-01-01/hour=00"),
        (-1, -HOUR_MS, "date=1969-12-31/hour=23"),
        (-HOUR_MS, -HOUR_MS, "date=1969-12-31/hour=23"),
        (-HOUR_MS - 1, -2 * HOUR_MS, "date=1969-12-31/hour=22"),
        (1_710_331_199_999, 1_710_327_600_000, "date=2024-03-13/hour=11"),
        (1_710_331_200_000, 1_710_331_200_000, "date=2024-03-13/hour=12"),
        (MIN_TIME_MS, MIN_TIME_MS, "date=0001-01-01/hour=00"),
        (MAX_TIME_MS, MAX_TIME_MS + 1 - HOUR_MS, "date=9999-12-31/hour=23"),
    ],
)
def test_the_hour_of_a_time_is_the_one_that_it_lies_in_utc(time_ms, hour_ms, folder):
    (file,) = of_hours(time_ms)
    assert file.hour_ms == hour_ms
    assert final_key(file=file).startswith(f"lake/p/hours/{folder}/")


@settings(deadline=None)
@given(
    times_ms=st.lists(
        st.integers(MIN_TIME_MS, MAX_TIME_MS) | st.integers(-HOUR_MS, 2 * HOUR_MS), min_size=1, max_size=9
    )
)
def test_every_row_is_in_the_file_of_its_hour_once(times_ms):
    files = of_hours(*times_ms)
    assert [file.hour_ms for file in files] == sorted({time_ms // HOUR_MS * HOUR_MS for time_ms in times_ms})
    found = [(file, row) for file in files for row in read_back(file.content).to_pylist()]
    assert all(file.hour_ms <= row["time_ms"] < file.hour_ms + HOUR_MS for file, row in found)
    assert sorted((row["place"], row["time_ms"]) for _, row in found) == [*enumerate(times_ms)]
    assert [file.rows for file in files] == [len(read_back(file.content)) for file in files]


@pytest.mark.parametrize(("rows", "compression"), [(1, "SNAPPY"), (1999, "SNAPPY"), (2000, "ZSTD")])
def test_a_large_file_is_compressed_well_and_a_small_one_at_little_cost(rows, compression):
    (file,) = of_hours(*[0] * rows)
    assert pq.ParquetFile(io.BytesIO(file.content)).metadata.row_group(0).column(0).compression == compression


@pytest.mark.parametrize(("complete", "rows"), [(True, b"complete"), (False, b"partial")])
def test_a_file_says_whether_its_rows_are_complete(complete, rows):
    table = LakeTable("t", (Field("a", DataType.string(), nullable=False),), complete)
    (file,) = encoded(Rows(table, [0, 0], [lake.column(["a", "a"], DataType.string())]))
    parquet = pq.ParquetFile(io.BytesIO(file.content))
    assert parquet.schema_arrow.metadata[b"headrace.rows"] == rows
    assert parquet.schema_arrow.field("a").nullable is False


def test_a_partial_tables_files_say_how_rows_merge():
    merge = {"group_by": ["page"], "columns": {"events": 'sum("events")'}}
    fields = (Field("page", DataType.string(), nullable=False),)
    rows = Rows(LakeTable("t", fields, complete=False, merge=merge), [0], [lake.column(["ü"], DataType.string())])
    metadata = read_back(encoded(rows)[0].content).schema.metadata
    assert msgspec.json.decode(metadata[b"headrace.merge"]) == merge
    assert b"headrace.merge" not in (read_back(of_hours(0)[0].content).schema.metadata or {})


def test_the_same_rows_make_the_same_bytes():
    """What differs between two runs is then a difference of their rows."""
    assert of_hours(0, HOUR_MS, 5) == of_hours(0, HOUR_MS, 5)


def single(value):
    return struct.unpack("f", struct.pack("f", value))[0]


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            name: st.none() | strategy
            for name, strategy in {
                "flag": st.booleans(),
                "small": st.integers(-(2**31), 2**31 - 1),
                "big": st.integers(-(2**63), 2**63 - 1),
                "single": st.floats(width=32, allow_nan=False),
                "double": st.floats(allow_nan=False),
                "blob": st.binary(max_size=5),
                "text": st.text(max_size=5),
                "day": st.integers(FIRST_DAY, LAST_DAY),
                "millis": st.integers(MIN_TIME_MS, MAX_TIME_MS),
                "micros": st.integers(MIN_TIME_MS * 1000, MAX_TIME_MS * 1000),
                "texts": st.lists(st.text(max_size=3), max_size=3),
                "numbers": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
                "pair": st.fixed_dictionaries({"p50": st.floats(allow_nan=False), "at": st.none()}),
                "counts": st.lists(st.fixed_dictionaries({"value": st.text(max_size=3), "count": st.just(2**40)})),
            }.items()
        }
    ),
    min_size=1,
    max_size=6,
)
READ = {"day": day, "millis": lambda ticks: moment(ticks * 1000), "micros": moment}


def as_read(row):
    return {name: READ[name](value) if name in READ and value is not None else value for name, value in row.items()}


def in_one_file(rows, times_ms):
    columns = [lake.column([row[name] for row in rows], arrow_type) for name, (arrow_type, _, _) in TYPES.items()]
    return encoded(Rows(ALL_TYPES, times_ms, columns))


@pytest.fixture(scope="module")
def duck():
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("lake") / "scratch.parquet"


def rows_in_duckdb(duck, path):
    found = duck.execute(f"SELECT * FROM read_parquet('{path}')")
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@settings(deadline=None)
@given(rows=ROWS)
def test_what_is_written_is_read_by_pyarrow_and_duckdb(duck, scratch, rows):
    (file,) = in_one_file(rows, [0] * len(rows))
    expected = [as_read(row) for row in rows]
    assert read_back(file.content).to_pylist() == expected
    scratch.write_bytes(file.content)
    assert rows_in_duckdb(duck, scratch) == expected


@settings(deadline=None)
@given(rows=ROWS, data=st.data())
def test_rows_of_several_hours_keep_their_values(rows, data):
    hours = data.draw(st.lists(st.integers(-2, 2), min_size=len(rows), max_size=len(rows)))
    files = in_one_file(rows, [hour * HOUR_MS for hour in hours])
    expected = [as_read(row) for _, row in sorted(zip(hours, rows, strict=True), key=lambda pair: pair[0])]
    assert [row for file in files for row in read_back(file.content).to_pylist()] == expected


def test_readers_see_the_declared_types(duck, scratch):
    (file,) = in_one_file([dict.fromkeys(TYPES)], [0])
    scratch.write_bytes(file.content)
    assert {field.name: field.type for field in read_back(file.content).schema} == {n: t[1] for n, t in TYPES.items()}
    described = duck.execute(f"DESCRIBE SELECT * FROM read_parquet('{scratch}')").fetchall()
    assert {name: kind for name, kind, *_ in described} == {n: t[2] for n, t in TYPES.items()}


HEADERS = [{"a": [1, -1]}, {"b": None}, {"a": []}]
RECORDS = [
    Record("shop.clicks-v1", 3, 2**62, timestamp_ms=1_710_331_200_000, key=b"\xff", raw_headers=HEADERS),
    Record("shop.clicks-v1", 0, 0),
    Record("shop.clicks-v1", 2**31 - 1, 1, timestamp_ms=-1, key=b"", raw_headers=[]),
]
READ_ABSENT = {"_topic": "shop.clicks-v1", "_timestamp_ms": -1, "_headers": []}
READ_RECORDS = [
    {
        "_topic": "shop.clicks-v1",
        "_partition": 3,
        "_offset": 2**62,
        "_timestamp_ms": 1_710_331_200_000,
        "_key": b"\xff",
        "_headers": [{"key": "a", "value": b"\x01\xff"}, {"key": "b", "value": None}, {"key": "a", "value": b""}],
    },
    READ_ABSENT | {"_partition": 0, "_offset": 0, "_key": None},
    READ_ABSENT | {"_partition": 2**31 - 1, "_offset": 1, "_key": b""},
]


def test_a_row_says_where_it_came_from(duck, scratch):
    table = LakeTable("records", tuple(lake.RECORD_FIELDS), complete=True)
    (file,) = encoded(Rows(table, [0, 1, 2], lake.record_columns(RECORDS)))
    assert read_back(file.content).to_pylist() == READ_RECORDS
    scratch.write_bytes(file.content)
    assert rows_in_duckdb(duck, scratch) == READ_RECORDS
    headers = read_back(file.content).schema.field("_headers").type
    assert headers.value_field.name == "element"  # Iceberg finds the items of a list under this name only
    assert [field.nullable for field in headers.value_type] == [False, True]


def test_a_hundred_headers_are_a_hundred_headers():
    headers = [{f"h{n}": [n]} for n in range(100)]
    column = lake.record_columns([Record("t", 0, 0, raw_headers=headers)])[-1]
    assert pa.array(column).to_pylist() == [[{"key": f"h{n}", "value": bytes([n])} for n in range(100)]]


def final_key(**changed):
    arguments = {
        "file": LakeFile("clicks", 0, b"", 0),
        "pipeline": "p",
        "generation": "1",
        "topic": "clicks",
        "partition": 0,
        "version": 1,
        "number": 0,
    }
    return lake.final_key(**arguments | changed)


def test_readers_find_files_by_table_date_and_hour():
    file = LakeFile("landing/shop.clicks", 1_710_331_200_000, b"", 0)
    key = final_key(file=file, pipeline="landing", generation="2", topic="a-b.c", partition=3, version=17, number=4)
    assert key == "lake/landing/landing/shop.clicks/date=2024-03-13/hour=12/2-a-b.c-3-17-4.parquet"


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a b", "ä", "a\n", "a\0b", "x" * 250, "date=1"])
@pytest.mark.parametrize("part", ["pipeline", "generation", "topic", "table"])
def test_names_that_could_leave_the_folder_are_refused(part, name):
    changed = {"file": LakeFile(name, 0, b"", 0)} if part == "table" else {part: name}
    with pytest.raises(InvariantError, match="cannot be part of an object key"):
        final_key(**changed)


@pytest.mark.parametrize("part", ["pipeline", "generation", "topic"])
def test_only_tables_are_in_folders(part):
    with pytest.raises(InvariantError):
        final_key(**{part: "a/b"})


@pytest.mark.parametrize("table", ["/", "a/", "/a", "a//b", "../a", "a/../b"])
def test_tables_in_folders_cannot_leave_them_either(table):
    with pytest.raises(InvariantError):
        final_key(file=LakeFile(table, 0, b"", 0))


@pytest.mark.parametrize("generation", ["1-2", "-", "A", "1.5", "x" * 33])
def test_a_generation_has_no_dash_so_that_its_end_is_known(generation):
    """Else generation `1-2` of topic `a` and generation `1` of topic `2-a` would share their keys."""
    with pytest.raises(InvariantError, match="generation"):
        final_key(generation=generation)


NAMES = st.text("ab1.-_", min_size=1, max_size=5).filter(lambda name: name not in {".", ".."})
IDENTITY = st.fixed_dictionaries(
    {
        "generation": st.text("a1_", min_size=1, max_size=3),
        "topic": NAMES,
        "partition": st.integers(0, 12),
        "version": st.integers(1, 12),
        "number": st.integers(0, 12),
    }
)


@settings(deadline=None)
@given(one=IDENTITY, other=IDENTITY)
def test_different_commits_never_share_a_key(one, other):
    assert (final_key(**one) == final_key(**other)) is (one == other)


@settings(deadline=None)
@given(identity=IDENTITY)
def test_a_key_tells_which_commit_it_is_of(identity):
    name = PurePosixPath(final_key(**identity)).name.removesuffix(".parquet")
    generation, _, rest = name.partition("-")
    topic, *numbers = rest.rsplit("-", 3)
    assert {"generation": generation, "topic": topic} | dict(
        zip(("partition", "version", "number"), map(int, numbers), strict=True)
    ) == identity


@settings(deadline=None)
@given(identity=IDENTITY, hour=st.integers(MIN_TIME_MS // HOUR_MS, MAX_TIME_MS // HOUR_MS), folders=st.booleans())
@example(identity={"generation": "1", "topic": "hour", "partition": 0, "version": 1, "number": 0}, hour=0, folders=True)
def test_a_key_is_read_back_into_all_that_it_was_made_of(identity, hour, folders):
    table = "a/b" if folders else "clicks"
    for hours in lake.HOURS.values():
        start_ms = hour // hours * hours * HOUR_MS
        key = final_key(**identity, file=LakeFile(table, start_ms, b"", 0, hours))
        name = lake.FileName(pipeline="p", table=table, hour_ms=start_ms, bucket_hours=hours, **identity)
        assert lake.read_final_key(key) == name


@pytest.mark.parametrize(
    "key",
    [
        "lake/p/t/date=2024-03-13/hour=12/1-clicks-0-1-0.csv",
        "lake/p/t/date=2024-03-13/hour=/1-clicks-0-1-0.parquet",
        "lake/p/t/hour=12/1-clicks-0-1-0.parquet",
        "lake/p/t/date=2024-03-13/hour=24/1-clicks-0-1-0.parquet",
        "lake/p/t/date=2024-02-30/hour=12/1-clicks-0-1-0.parquet",
        "lake/p/t/date=2024-03-13/hour=12/1-clicks-0-01-0.parquet",
        "lake/p/t/date=2024-03-13/hour=12/1-clicks-0-\u0661-0.parquet",
        "lake/p/t/date=2024-03-13/hour=12/X-clicks-0-1-0.parquet",
        "lake/p/t/date=2024-03-13/hour=12/x/1-clicks-0-1-0.parquet",
        "lake/p/date=2024-03-13/hour=12/1-clicks-0-1-0.parquet",
        "lake/p/t/date=2024-03-13/hour=12/1-cli#cks-0-1-0.parquet",
        "lake/p/t/date=2024-03-13/hour=12/1-clicks-0-9999999999999999999-0.parquet",
        "lake/p/t/date=2024-03-13/hour=12/x.parquet",
        "staging/0/0",
        "",
    ],
)
def test_a_key_that_no_file_gets_is_nobodys(key):
    assert lake.read_final_key(key) is None


def test_metadata_is_the_footers_and_not_the_schemas():
    table = LakeTable("t", (Field("a", DataType.string(), nullable=False),), complete=True)
    rows = Rows(table, [0], [lake.column(["a"], DataType.string())])
    (plain,), (marked,) = encoded(rows), encoded(rows, {"x": "y"})
    parquet = pq.ParquetFile(io.BytesIO(marked.content))
    assert parquet.metadata.metadata[b"x"] == b"y"
    assert parquet.schema_arrow.equals(pq.ParquetFile(io.BytesIO(plain.content)).schema_arrow, check_metadata=True)


def test_single_precision_is_the_columns():
    assert pa.array(lake.column([0.1], DataType.float32())).to_pylist() == [single(0.1)]
