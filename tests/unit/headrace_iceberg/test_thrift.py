"""Thrift's compact protocol: what is written is read, and what is no struct is said to be none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_iceberg.thrift import (
    BINARY,
    I32,
    I64,
    STRUCT,
    TRUE,
    Malformed,
    binary,
    boolean,
    integer,
    listed,
    read_struct,
    struct,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
PLAIN = st.one_of(
    INT64.map(lambda number: (number, integer(number))),
    st.integers(-(2**31), 2**31 - 1).map(lambda number: (number, integer(number, I32))),
    st.binary(max_size=300).map(lambda data: (data, binary(data))),
    st.booleans().map(lambda value: (value, boolean(value))),
    st.lists(st.binary(max_size=3), max_size=20).map(lambda each: (each, listed(BINARY, map(binary, each)))),
    st.lists(st.booleans(), max_size=20).map(lambda each: (each, listed(TRUE, map(boolean, each)))),
    st.lists(INT64, max_size=20).map(lambda each: (each, listed(I64, map(integer, each)))),
)


def as_struct(values):
    return (
        {number: value for number, (value, _) in sorted(values.items())},
        struct({number: written for number, (_, written) in sorted(values.items())}),
    )


def fields(values):
    return st.dictionaries(st.integers(1, 100), values, max_size=5).map(as_struct)


STRUCTS = st.recursive(
    fields(PLAIN),
    lambda inner: fields(
        st.one_of(
            PLAIN,
            inner,
            st.lists(inner, max_size=3).map(
                lambda each: ([value for value, _ in each], listed(STRUCT, [written for _, written in each]))
            ),
        )
    ),
    max_leaves=10,
)


@given(STRUCTS, st.binary(max_size=5))
def test_what_is_written_is_read_again(pair, behind):
    value, written = pair
    assert read_struct(b"\xff" + written.data + behind, 1) == (value, 1 + len(written.data))
    assert read_struct(memoryview(written.data), 0)[0] == value


@given(STRUCTS, st.data())
def test_a_struct_that_is_cut_off_is_malformed(pair, data):
    written = pair[1].data
    with pytest.raises(Malformed):
        read_struct(written[: data.draw(st.integers(0, len(written) - 1))], 0)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_struct_or_malformed(content):
    try:
        _, end = read_struct(content, 0)
    except Malformed:
        return
    assert 0 < end <= len(content)


def test_fields_without_a_value_are_left_out():
    assert read_struct(struct({1: None, 2: integer(-1), 30: None, 31: binary(b"x")}).data, 0)[0] == {2: -1, 31: b"x"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x18\x05ab\x00", "5 bytes of text"),
        (b"\x17" + bytes(9), "type 7"),  # a double: in none of the structs that are read
        (b"\x16" + b"\xff" * 20, "goes on"),
        (b"\x1c" * 100_000, "ever deeper"),
        (b"\x19\xf6" + b"\xff" * 12, "64 bits"),
    ],
)
def test_what_is_malformed_says_why(content, problem):
    with pytest.raises(Malformed, match=problem):
        read_struct(content, 0)
