"""Rows of any reader as plain JSON, so that they can be compared: imported by Spark's interpreter and by the tests."""

import datetime as dt
import decimal
from typing import Any


def plain(value: Any) -> Any:
    """Moments without a zone are in UTC; maps may come as pairs; what JSON has no form for is text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return plain(dict(value)) if _is_map(value) else [plain(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)).isoformat()
    return str(value) if isinstance(value, float | dt.date | decimal.Decimal) else value


def _is_map(value: list[Any] | tuple[Any, ...]) -> bool:
    """Whether these are pairs of key and value."""
    return bool(value) and all(isinstance(item, tuple) and len(item) == 2 for item in value)
