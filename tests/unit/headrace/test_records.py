"""Places and headers."""

import pytest

from headrace.errors import EventError
from headrace.records import Record, TopicPartition


def test_a_place_reads_like_kafkas_own_folder_names():
    assert str(TopicPartition("shop.clicks-v1", 3)) == "shop.clicks-v1-3"


def test_a_record_knows_its_place():
    assert Record("clicks", 3, 17).topic_partition == ("clicks", 3)


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (None, ()),
        ([], ()),
        ([{}], ()),
        ([{"a": [0, 127, -128, -1]}], (("a", b"\x00\x7f\x80\xff"),)),
        ([{"a": [0, 127, 128, 255]}], (("a", b"\x00\x7f\x80\xff"),)),
        ([{"a": "AP8="}], (("a", b"\x00\xff"),)),
        ([{"a": None}, {"a": []}], (("a", None), ("a", b""))),
        ([{"a": [1], "b": [2]}, {"a": [3]}], (("a", b"\x01"), ("b", b"\x02"), ("a", b"\x03"))),
    ],
)
def test_header_bytes_are_signed_or_not(raw, read):
    assert Record("clicks", 0, 0, raw_headers=raw).headers == read


@pytest.mark.parametrize("raw", [5, [5], [{"a": 5}], [{"a": ["x"]}], [{"a": "not base64"}], [{"a": b"bytes"}]])
def test_headers_that_no_mapping_sends_are_a_named_error(raw):
    with pytest.raises(EventError, match="headers of clicks-0 at offset 7"):
        _ = Record("clicks", 0, 7, raw_headers=raw).headers
