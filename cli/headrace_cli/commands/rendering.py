"""Values of the lake as text: times as ISO 8601, bytes readable; rows as a table."""

import datetime as dt
import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

BASE64 = "base64:"
"""Marks bytes in JSON that are no printable text."""
HEX = "0x"
"""Marks the same on the screen and in CSV."""


def json_value(value: Any) -> Any:
    """The value as JSON has it; bytes as text if they are printable UTF-8, else `base64:…`."""
    if isinstance(value, bytes):
        text = _printable(value)
        return BASE64 + b64encode(value).decode() if text is None else text
    if isinstance(value, dt.date | dt.time):
        return _iso(value)
    if isinstance(value, dict):
        return {name: json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value


def cell(value: Any) -> str:
    """The value in a table's cell or in CSV; null is empty; bytes as text if they are printable, else hex."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        text = _printable(value)
        return HEX + value.hex() if text is None else text
    if isinstance(value, list | tuple | dict):
        return json.dumps(json_value(value), ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(json_value(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print cells as a table, as wide as the terminal."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that JSON output does not need
    from rich.table import Table  # noqa: PLC0415 - same
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))  # as text: a value's brackets are no markup
    Console().print(table)


def _printable(value: bytes) -> str | None:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    # A text that looks like the mark itself would be read as bytes.
    return text if text.isprintable() and not text.startswith((BASE64, HEX)) else None


def _iso(value: dt.date | dt.time) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat()
