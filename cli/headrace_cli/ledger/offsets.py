"""Sets of offsets as ranges: what is left of a range without some offsets, and how a person reads it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

SHOWN = 8
"""Ranges of a set that are written out for a person."""


class OffsetRange(NamedTuple):
    """Offsets from `first` on, without `next`."""

    first: int
    next: int


def without(whole: OffsetRange, offsets: Iterable[int]) -> list[OffsetRange]:
    """The range without the offsets, as ranges in order."""
    left, start = [], whole.first
    for offset in sorted({offset for offset in offsets if whole.first <= offset < whole.next}):
        if offset > start:
            left.append(OffsetRange(start, offset))
        start = offset + 1
    return [*left, OffsetRange(start, whole.next)] if start < whole.next else left


def count(ranges: Iterable[OffsetRange]) -> int:
    """How many offsets there are."""
    return sum(each.next - each.first for each in ranges)


def text(ranges: Sequence[OffsetRange]) -> str:
    """E.g. `3, 7-9`, both ends included; of many ranges the first few."""
    shown = ", ".join(_text(each) for each in ranges[:SHOWN])
    more = len(ranges) - SHOWN
    return shown if more <= 0 else f"{shown} … and {more:,} more ranges up to {ranges[-1].next - 1}"


def _text(each: OffsetRange) -> str:
    return f"{each.first}" if each.next - each.first == 1 else f"{each.first}-{each.next - 1}"
