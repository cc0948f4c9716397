"""Quantiles, exact from all values; the published ones may be off by one part in 128, which is their documented bound.

The q-quantile is the smallest value that at least this share of all values does not exceed.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PARTS = 128

Row = dict[str, Any]
Quantiles = tuple[tuple[str, float], ...]
"""Names and values."""


def exact(values: Iterable[float | None]) -> Quantiles | None:
    """None without values."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    return tuple((name, known[math.ceil(share * len(known)) - 1]) for name, share in SHARES.items())


def settled(expected: Sequence[Row], rows: Sequence[Row], column: str, key: Sequence[str]) -> list[Row]:
    """The rows, with the exact quantiles in place of those that are near enough.

    Args:
        expected: with exact ones.
        rows: as published.
        column: the quantiles'.
        key: columns that say which rows belong together.
    """
    wanted = {tuple(row[name] for name in key): row[column] for row in expected}
    return [row | {column: _near(wanted.get(tuple(row.get(n) for n in key)), row.get(column))} for row in rows]


def _near(wanted: Quantiles | None, found: Quantiles | None) -> Quantiles | None:
    if wanted is None or found is None or len(wanted) != len(found):
        return found
    pairs = zip(wanted, found, strict=True)
    return tuple(w if w[0] == f[0] and abs(w[1] - f[1]) <= abs(w[1]) / PARTS else f for w, f in pairs)
