"""What the values of JSON lines mean."""

import pytest

from headrace.errors import PoisonError
from headrace.log_fields import NAMES, canonical_level, error_flag, http_status, response_bytes, severity_of


@pytest.mark.parametrize(
    ("value", "level"),
    [
        *(("trace", "TRACE"), ("Verbose", "TRACE"), ("DEBUG", "DEBUG"), ("info", "INFO"), ("notice", "INFO")),
        *(("Information", "INFO"), ("warning", "WARN"), (" warn ", "WARN"), ("err", "ERROR")),
        *(("SEVERE", "ERROR"), ("critical", "FATAL"), ("panic", "FATAL"), ("emerg", "FATAL")),
        *((10, "TRACE"), (20, "DEBUG"), (30, "INFO"), (35, "INFO"), (40, "WARN"), (50, "ERROR"), (60, "FATAL")),
        *((69, "FATAL"), (70, None), (9, None), (0, None), (-10, None), ("audit", None), ("", None)),
        *(("30", None), (30.0, None), (True, None), ([], None), ({}, None)),
    ],
)
def test_a_level_is_one_of_six_or_unknown(value, level):
    assert canonical_level(value) == level


@pytest.mark.parametrize(
    ("level", "status", "severity", "is_error"),
    [
        ("INFO", None, "INFO", 0),
        ("WARN", 404, "WARN", 0),
        ("INFO", 503, "INFO", 1),
        ("ERROR", None, "ERROR", 1),
        ("FATAL", 200, "FATAL", 1),
        (None, 100, "1xx", 0),
        (None, 200, "2xx", 0),
        (None, 304, "3xx", 0),
        (None, 499, "4xx", 0),
        (None, 500, "5xx", 1),
        (None, 599, "5xx", 1),
        (None, 0, "unknown", 0),
        (None, 999, "unknown", 1),
        (None, None, "unknown", 0),
    ],
)
def test_the_level_goes_before_the_status_in_severity_and_either_makes_an_error(level, status, severity, is_error):
    assert severity_of(level, status) == severity
    assert error_flag(level, status) == is_error


@pytest.mark.parametrize(("value", "status"), [(200, 200), ("404", 404), (503.0, 503), (0, 0), (999, 999)])
def test_a_status_is_a_number_or_digits(value, status):
    assert http_status(value) == status


@pytest.mark.parametrize(
    "value", [-1, 1000, 200.5, "OK", "", "-1", "2_00", " 200", "\uff1200", True, [], {}, 1e300, float("inf"), 10**400]
)
def test_what_is_no_status_is_poison(value):
    with pytest.raises(PoisonError, match=r"^invalid_field: status is ") as caught:
        http_status(value)
    assert len(caught.value.detail) < 160


def test_a_size_fits_64_signed_bits():
    assert response_bytes(2**63 - 1) == 2**63 - 1
    assert response_bytes("0") == 0
    for value in (2**63, str(2**63), -1, None):
        with pytest.raises(PoisonError, match=r"^invalid_field: bytes is "):
            response_bytes(value)


@pytest.mark.parametrize(("value", "latency_ms"), [(12, 12.0), (0.5, 0.5), ("12.5", 12.5), (-3, -3.0)])
def test_a_latency_is_a_number_or_decimal_digits(value, latency_ms):
    assert NAMES["latency_ms"][1](value) == latency_ms


@pytest.mark.parametrize("value", ["12ms", "nan", "", "1e3", "1_0", True, [], 10**400])
def test_what_is_no_latency_is_poison(value):
    with pytest.raises(PoisonError, match=r"^invalid_field: latency_ms is "):
        NAMES["latency_ms"][1](value)


@pytest.mark.parametrize(("value", "text"), [("a", "a"), ("", ""), (42, "42"), (1.5, "1.5"), (True, None), ([], None)])
def test_a_number_will_do_for_a_text(value, text):
    assert NAMES["user"][1](value) == text
