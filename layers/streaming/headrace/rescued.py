"""What the schema has no place for, by the path where it was, and what a row cannot do without.

A path is `field`, `record.field`, `array[3]`, `map.key`; a key that is empty or has a point, a bracket or a quote in it
is written `["…"]`, so that a path means one place only.
"""

import re
from typing import Any

import msgspec

Rescued = dict[str, Any]
"""Values as they came, by path."""

_PLAIN_KEY = re.compile(r'[^.\[\]"]+')


class Unusable(Exception):
    """A value that a row cannot do without is missing or wrong."""

    def __init__(self, path: str, problem: str, *, missing: bool = False) -> None:
        super().__init__(path, problem)
        self.path, self.problem, self.missing = path, problem, missing


def child(path: str, key: str) -> str:
    """The path of a member."""
    if not path:
        return key if _PLAIN_KEY.fullmatch(key) else f"[{_quoted(key)}]"
    return f"{path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{path}[{_quoted(key)}]"


def _quoted(key: str) -> str:
    return msgspec.json.encode(key).decode()


_JSON_NAMES = {dict: "object", list: "array", str: "str", bool: "bool", int: "int", type(None): "null"}


def another_type(path: str, wanted: str, raw: Any) -> Unusable:
    """A value that is not even of the wanted JSON type."""
    return Unusable(path, f"Expected `{wanted}`, got `{_JSON_NAMES.get(type(raw), type(raw).__name__)}`")
