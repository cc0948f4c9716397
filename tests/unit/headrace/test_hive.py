"""Types of columns: Hive's names of Arrow's, and the wider of two."""

import pytest
from arro3.core import DataType, Field
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import SchemaError
from headrace.hive import HiveType, of_arrow, parse, widest


def field(name, kind):
    return Field(name, kind, nullable=True)


def map_of(key, value):
    return DataType.map(Field("key", key, nullable=False), field("value", value), False)


PLAIN = {
    "boolean": [DataType.bool()],
    "tinyint": [DataType.int8()],
    "smallint": [DataType.int16(), DataType.uint8()],
    "int": [DataType.int32(), DataType.uint16()],
    "bigint": [DataType.int64(), DataType.uint32()],
    "decimal(20,0)": [DataType.uint64()],
    "float": [DataType.float32()],
    "double": [DataType.float64()],
    "string": [
        *(DataType.string(), DataType.large_string(), DataType.string_view()),
        DataType.dictionary(DataType.int32(), DataType.string()),
    ],
    "binary": [DataType.binary(), DataType.large_binary(), DataType.binary_view(), DataType.binary(16)],
    "date": [DataType.date32(), DataType.date64()],
    "timestamp": [
        *(DataType.timestamp("ms", tz="UTC"), DataType.timestamp("us"), DataType.timestamp("ns", tz="+01:00")),
        DataType.timestamp("s"),
    ],
    "decimal(38,9)": [DataType.decimal128(38, 9), DataType.decimal256(38, 9)],
}
CASES = [(kind, text) for text, kinds in PLAIN.items() for kind in kinds]


@pytest.mark.parametrize(("arrow", "text"), CASES, ids=[str(kind).strip() for kind, _ in CASES])
def test_every_type_that_hive_has_is_named(arrow, text):
    assert str(of_arrow(arrow)) == text
    assert parse(text) == of_arrow(arrow)


@pytest.mark.parametrize(
    ("arrow", "problem"),
    [
        (DataType.time32("ms"), "Time32"),
        (DataType.time64("us"), "Time64"),
        (DataType.duration("s"), "Duration"),
        (DataType.null(), "Null"),
        (DataType.float16(), "Float16"),
        (DataType.month_day_nano_interval(), "Interval"),
        (DataType.decimal256(39, 2), "at most 38 digits, not 39"),
        (DataType.list(field("element", DataType.time32("s"))), "Time32"),
        (map_of(DataType.string(), DataType.null()), "Null"),
        (DataType.struct([]), "without members"),
        (DataType.struct([field("a b", DataType.int8())]), "no plain name"),
        (DataType.struct([field("a", DataType.int8()), field("A", DataType.int8())]), "there twice"),
        (DataType.struct([field('"a": Int8, "b', DataType.int8())]), "no plain name"),
        (DataType.run_end_encoded(DataType.int32(), DataType.string()), "RunEndEncoded"),
    ],
    ids=lambda value: str(value).strip()[:60],
)
def test_what_no_reader_takes_out_of_a_file_is_refused(arrow, problem):
    with pytest.raises(SchemaError, match=problem):
        of_arrow(arrow)


def test_metadata_and_names_inside_a_type_do_not_confuse():
    inner = Field("tag", DataType.string(), nullable=True, metadata={"doc": 'a "quoted" ), brace } and {'})
    nested = DataType.struct([inner, Field("Zip", DataType.list(Field("it's", DataType.int8()), 3), nullable=False)])
    assert str(of_arrow(nested)) == "struct<tag:string,zip:array<tinyint>>"


@pytest.mark.parametrize(
    "text", ["", "struct<>", "struct<a>", "array<int", "decimal(", "decimal(x)", "int,int", "a b<", "<"]
)
def test_what_is_no_type_is_refused(text):
    with pytest.raises(SchemaError):
        parse(text)


def test_a_type_nested_without_end_is_refused():
    with pytest.raises(SchemaError):
        parse("array<" * 100_000)


@pytest.mark.parametrize(
    ("one", "other", "wider"),
    [
        ("int", "bigint", "bigint"),
        ("bigint", "int", "bigint"),
        ("tinyint", "smallint", "smallint"),
        ("float", "double", "double"),
        ("decimal(10,2)", "decimal(12,2)", "decimal(12,2)"),
        ("decimal(10,2)", "decimal(12,3)", None),
        ("int", "string", None),
        ("int", "double", None),
        ("array<int>", "array<bigint>", "array<bigint>"),
        ("array<int>", "array<string>", None),
        ("map<string,float>", "map<string,double>", "map<string,double>"),
        ("struct<a:int,b:string>", "struct<b:string,c:date,a:bigint>", "struct<a:bigint,b:string,c:date>"),
        ("struct<a:int>", "struct<a:date>", None),
        ("STRUCT<A: INT>", "struct<a:int>", "struct<a:int>"),
    ],
)
def test_the_wider_of_two_types_holds_both(one, other, wider):
    found = widest(parse(one), parse(other))
    assert (None if found is None else str(found)) == wider


LEAVES = st.sampled_from([(kind, text) for kind, text in CASES])
NAMES = st.lists(st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), min_size=1, max_size=4, unique=True)


def nested(inner):
    structs = NAMES.flatmap(
        lambda names: st.tuples(st.just(names), st.lists(inner, min_size=len(names), max_size=len(names)))
    )
    return st.one_of(
        inner.map(lambda of: (DataType.list(field("element", of[0])), f"array<{of[1]}>")),
        inner.map(lambda of: (map_of(DataType.string(), of[0]), f"map<string,{of[1]}>")),
        structs.map(
            lambda drawn: (
                DataType.struct([field(name, of[0]) for name, of in zip(*drawn, strict=True)]),
                "struct<" + ",".join(f"{name}:{of[1]}" for name, of in zip(*drawn, strict=True)) + ">",
            )
        ),
    )


TYPES = st.recursive(LEAVES, nested, max_leaves=12)


@given(TYPES)
def test_nested_types_are_named_whatever_is_in_them(drawn):
    arrow, text = drawn
    assert str(of_arrow(arrow)) == text
    assert parse(text) == of_arrow(arrow)


@given(TYPES, TYPES)
def test_what_is_wider_stays_wider(one, other):
    """The wider of two is the wider of itself and either, whichever came first."""
    a, b = of_arrow(one[0]), of_arrow(other[0])
    wider = widest(a, b)
    assert (wider is None) == (widest(b, a) is None)
    if wider is not None:
        assert widest(wider, a) == widest(wider, b) == wider
        assert isinstance(wider, HiveType)
