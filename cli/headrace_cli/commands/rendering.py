"""Values of the lake as text: times as ISO 8601, bytes readable; rows as a table."""

import datetime as dt
import json
import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

BASE64 = "base64:"
"""Marks bytes in JSON that are no printable text."""
HEX = "0x"
"""Marks the same on the screen and in CSV."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MINUTE = len("2024-03-13T10:15")


def json_value(value: Any) -> Any:
    """The value as JSON has it; bytes as text if they are printable UTF-8, else `base64:…`."""
    if isinstance(value, bytes):
        text = _printable(value)
        return BASE64 + b64encode(value).decode() if text is None else text
    if isinstance(value, dt.date | dt.time):
        return _iso(value)
    if isinstance(value, Decimal) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)  # JSON has no such numbers, or readers would round them
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value):
        value = dict(value)  # a map: arro3 gives its pairs
    if isinstance(value, dict):
        return {name: json_value(item) for name, item in value.items()}
    return [json_value(item) for item in value] if isinstance(value, list | tuple) else value


def json_line(row: Mapping[str, Any]) -> str:
    """A row as JSON in one line."""
    return json.dumps(json_value(row), ensure_ascii=False)


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


def columns_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same names, in columns that cut nothing; a column of nothing but zeros or nothing is left out."""
    shown = [name for name in rows[0] if any(row[name] not in {0, None} for row in rows)]
    columns = [_column(name, [row[name] for row in rows]) for name in shown]
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _column(name: str, values: Sequence[Any]) -> list[str]:
    numbers = all(isinstance(value, int) for value in values)
    cells = [name.replace("_", " "), *(f"{value:,}" if numbers else plain(cell(value)) for value in values)]
    width = max(map(len, cells))
    return [text.rjust(width) if numbers else text.ljust(width) for text in cells]


def minute(time_ms: int) -> str:
    """As `iso`, to the minute."""
    text = iso(time_ms)
    return text[:_MINUTE] if text.endswith("Z") else text


def iso(time_ms: int) -> str:
    """An epoch time in ISO 8601, or as a number if it is in no year that has one."""
    try:
        time = _EPOCH + dt.timedelta(milliseconds=time_ms)
    except OverflowError:
        return f"{time_ms} ms"
    return cell(time)


def plain(text: str) -> str:
    """Text of unknown origin without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


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
