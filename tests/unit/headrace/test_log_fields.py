"""What the values of log lines mean."""

import pytest

from headrace.log_event import FATAL, SEVERITY_NAMES, error_flag, status_class
from headrace.log_fields import NAMES, http_status, severity_number, size_bytes, take_fields


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(("trace", 1), ("Verbose", 1), ("FINEST", 1), ("DEBUG", 5), ("FINER", 5), ("FINE", 6), ("CONFIG", 7)),
        *(("info", 9), ("Information", 9), ("notice", 10), ("warning", 13), (" warn ", 13), ("err", 17)),
        *(("SEVERE", 17), ("crit", 18), ("alert", 19), ("critical", 21), ("panic", 21), ("emerg", 21)),
        *((10, 1), (20, 5), (30, 9), (35, 9), (40, 13), (50, 17), (60, 21)),
        *((0, 21), (1, 19), (2, 18), (3, 17), (4, 13), (5, 10), (6, 9), (7, 5)),
        *((69, 21), (70, None), (8, None), (9, None), (-10, None), ("audit", None), ("", None)),
        *(("30", None), (30.0, None), (True, None), ([], None), ({}, None)),
    ],
)
def test_a_level_has_a_number_of_opentelemetrys_or_none(value, number):
    assert severity_number(value) == number


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ([0], "UNSPECIFIED"),
        ([1, 2, 3, 4], "TRACE"),
        ([5, 6, 7, 8], "DEBUG"),
        ([9, 10, 11, 12], "INFO"),
        ([13, 14, 15, 16], "WARN"),
        ([17, 18, 19, 20], "ERROR"),
        ([21, 22, 23, 24], "FATAL"),
    ],
)
def test_a_severity_has_the_name_of_its_numbers_range(numbers, name):
    assert {SEVERITY_NAMES[number] for number in numbers} == {name}


@pytest.mark.parametrize(
    ("number", "status", "in_class", "is_error"),
    [
        (9, None, None, 0),
        (13, 404, "4xx", 0),
        (16, None, None, 0),
        (9, 503, "5xx", 1),
        (17, None, None, 1),
        (FATAL, 200, "2xx", 1),
        (0, 100, "1xx", 0),
        (0, 304, "3xx", 0),
        (0, 499, "4xx", 0),
        (0, 500, "5xx", 1),
        (0, 599, "5xx", 1),
        (0, 0, None, 0),
        (0, 999, None, 1),
        (0, None, None, 0),
    ],
)
def test_an_error_is_one_by_severity_or_by_status(number, status, in_class, is_error):
    assert status_class(status) == in_class
    assert error_flag(number, status) == is_error


@pytest.mark.parametrize(("value", "status"), [(200, 200), ("404", 404), (503.0, 503), (0, 0), (999, 999)])
def test_a_status_is_a_number_or_digits(value, status):
    assert http_status(value) == status


@pytest.mark.parametrize(
    "value", [-1, 1000, 200.5, "OK", "", "-1", "2_00", " 200", "\uff1200", True, [], {}, 1e300, float("inf"), 10**400]
)
def test_what_is_no_status(value):
    assert http_status(value) is None


def test_a_size_fits_64_signed_bits():
    assert size_bytes(2**63 - 1) == 2**63 - 1
    assert size_bytes("0") == 0
    assert [size_bytes(value) for value in (2**63, str(2**63), -1, None)] == [None] * 4


@pytest.mark.parametrize(
    ("name", "value", "latency_ms"),
    [
        *(("latency_ms", 12, 12.0), ("latency_ms", 0.5, 0.5), ("duration_ms", "12.5", 12.5), ("latency_ms", -3, -3.0)),
        *(("request_time", 0.29, 290.0), ("request_time", "0.003", 3.0), ("event.duration", 1_500_000, 1.5)),
        *(("duration", "1.5s", 1500.0), ("took", "12ms", 12.0), ("latency", "300µs", 0.3), ("elapsed", "5 ns", 5e-6)),
        *(("duration", "1m2.5s", 62_500.0), ("duration", "1h0m0s", 3_600_000.0)),
        *(
            (name, value, None)
            for name in ("latency_ms", "request_time", "event.duration")
            for value in ("12ms", "nan")
        ),
        *(("latency_ms", value, None) for value in ("", "1e3", "1_0", True, [], 10**400)),
        *(("duration", value, None) for value in (12, "12", "s", "1.5", "1 minute", "", "1ms!", True, [])),
    ],
)
def test_a_latency_is_milliseconds_or_a_text_with_its_unit(name, value, latency_ms):
    assert NAMES[name][1](value) == latency_ms


@pytest.mark.parametrize(("value", "text"), [("a", "a"), ("", ""), (42, "42"), (1.5, "1.5"), (True, None), ([], None)])
def test_a_number_will_do_for_a_text(value, text):
    assert NAMES["user"][1](value) == text


@pytest.mark.parametrize(
    ("members", "fields", "rest"),
    [
        ({"severityNumber": 24}, {"severity_number": 24}, {}),
        ({"severityNumber": 0, "severityText": "warn"}, {"severity_number": 13}, {"severityNumber": 0}),
        ({"severityNumber": 25}, {}, {"severityNumber": 25}),
        ({"levelno": 40}, {"severity_number": 17}, {}),
        ({"levelno": "40"}, {}, {"levelno": "40"}),
        ({"logger": "root"}, {}, {"logger": "root"}),
        ({"instant": {"epochSecond": 1, "nanoOfSecond": 2_999_999}}, {"timestamp": 1002}, {}),
        ({"instant": {"epochSecond": 1, "more": 2}}, {}, {"instant": {"epochSecond": 1, "more": 2}}),
        ({"instant": "2015-05-17"}, {"timestamp": 1_431_820_800_000}, {}),
        ({"time": None, "x": None}, {}, {"x": None}),
    ],
)
def test_what_has_a_field_is_taken_out_of_the_members(members, fields, rest):
    assert take_fields(members) == fields
    assert members == rest
