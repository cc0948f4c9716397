"""Values as text: readable, and never mistaken for something else."""

import datetime as dt

import pytest

from headrace_cli.commands.rendering import cell, columns_text, iso, json_value, minute

MOMENT = dt.datetime(2024, 3, 13, 10, 21, 14, 250_000, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "in_json", "in_cell"),
    [
        (None, None, ""),
        ("text", "text", "text"),
        (17, 17, "17"),
        (2.5, 2.5, "2.5"),
        (True, True, "true"),
        (MOMENT, "2024-03-13T10:21:14.250Z", "2024-03-13T10:21:14.250Z"),
        (MOMENT.date(), "2024-03-13", "2024-03-13"),
        ("café".encode(), "café", "café"),
        (b"", "", ""),
        (b"\xff\x00", "base64:/wA=", "0xff00"),
        (b"two\nlines", "base64:dHdvCmxpbmVz", "0x74776f0a6c696e6573"),
        (b"base64:/wA=", "base64:YmFzZTY0Oi93QT0=", "0x6261736536343a2f77413d"),
        (b"0xff00", "base64:MHhmZjAw", "0x307866663030"),
        (
            [{"key": "h", "value": b"\xff"}],
            [{"key": "h", "value": "base64:/w=="}],
            '[{"key": "h", "value": "base64:/w=="}]',
        ),
    ],
)
def test_values(value, in_json, in_cell):
    assert json_value(value) == in_json
    assert cell(value) == in_cell


def test_columns_cut_nothing_and_leave_out_what_is_always_nothing():
    rows = [
        {"name": "a" * 200, "lost_at": 0, "found": None, "count": 12_345},
        {"name": "b\x1b[2J", "lost_at": 0, "found": None, "count": 0},
    ]
    header, first, second = columns_text(rows).splitlines()
    assert header == f"name{' ' * 196}   count"
    assert first == f"{'a' * 200}  12,345"
    assert second == f"b\N{REPLACEMENT CHARACTER}[2J{' ' * 195}       0"


@pytest.mark.parametrize(
    ("time_ms", "whole", "short"),
    [
        (1_710_325_274_250, "2024-03-13T10:21:14.250Z", "2024-03-13T10:21"),
        (-1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59"),
        (-(2**63), "-9223372036854775808 ms", "-9223372036854775808 ms"),
    ],
)
def test_a_time_is_iso_8601_or_a_number_that_is_not_cut(time_ms, whole, short):
    assert (iso(time_ms), minute(time_ms)) == (whole, short)
