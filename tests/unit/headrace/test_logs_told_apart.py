"""Lines that look like something they are not."""

import pytest

from headrace.logs import Lines


def read(line):
    return Lines().read(line.encode(), 0)


@pytest.mark.parametrize("declared", ["auto", "json"])
def test_a_byte_order_mark_is_taken_out(declared):
    event = Lines(declared).read('\ufeff{"level":"info","msg":"first"}'.encode(), 0)
    assert (event.severity, event.message) == ("INFO", "first")


def test_a_service_message_with_a_type_is_no_subscription():
    event = read('{"messageType":"ORDER","level":"info","message":"sold"}')
    assert (event.format, event.severity, event.message) == ("json", "INFO", "sold")


@pytest.mark.parametrize(
    "line",
    ["1 2 3 4 5 6 7 8 9 10 11 12 13 14", "14 words of a sentence that begins with a number are no flow of packets"],
)
def test_a_line_of_as_many_words_is_no_flow(line):
    assert read(line).unparsed == f"unknown_format: {line[:40]!a}"


@pytest.mark.parametrize("line", ['{"service":"","level":"info"}', "at=info method=GET service=18ms status=200"])
def test_an_empty_name_or_a_duration_is_no_service(line):
    event = read(line)
    assert event.service is None
    assert "service" in event.attributes
