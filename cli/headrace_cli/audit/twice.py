"""Keys that a JSON object has twice: the values before the last one, as landing keeps them in `_rescued`."""

import json
import re
from collections.abc import Iterator
from typing import Any

_PLAIN = re.compile(r"[^.\[\]\"]+")
_Pairs = list[tuple[str, Any]]


class _Object:
    """A JSON object with every pair that was written."""

    def __init__(self, pairs: _Pairs) -> None:
        self.earlier: dict[str, list[Any]] = {}
        self.last: dict[str, Any] = {}
        for name, value in pairs:
            if self.last.get(name) is not None:
                self.earlier.setdefault(name, []).append(self.last[name])
            self.last[name] = value


def earlier_values(text: bytes) -> dict[str, list[Any]]:
    """`{"a": 1, "a": 2}` has `{"a[earlier]": [1]}`, at any depth; a null says nothing and is left out.

    Args:
        text: a valid JSON object.
    """
    return dict(_collected(json.loads(text.decode(), object_pairs_hook=_Object), ""))


def _collected(value: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _collected(item, f"{path}[{index}]")
    if not isinstance(value, _Object):
        return
    for name, last in value.last.items():
        below = path_of(path, name)
        if values := value.earlier.get(name):
            yield f"{below}[earlier]", [_plain(each) for each in values]
            yield from _collected(values, f"{below}[earlier]")
        yield from _collected(last, below)


def path_of(path: str, name: str) -> str:
    """Where a member is."""
    if not _PLAIN.fullmatch(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def _plain(value: Any) -> Any:
    if isinstance(value, _Object):
        return {name: _plain(last) for name, last in value.last.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
