"""Values as text: readable, and never mistaken for something else."""

import datetime as dt

import pytest

from headrace_cli.commands.rendering import cell, json_value

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
