"""Quantiles of a number field: values counted in buckets that follow a double's own bits.

A bucket is a sign, an exponent and the first six bits of the fraction, so that every power of two has 64 of them, and a
value is known to one part in 128. Finding a bucket is a shift of the value's bits, exact and the same on every
processor. Too many buckets become half as many, of twice the width, all of them. Which these are depends on the
values alone, not on their order: so does the state, of however many parts it was merged.

Sources: the idea and the guarantee of C. Masson et al., "DDSketch" (2019), with the bits in place of the logarithm;
halving all buckets, not only the lowest, is I. Epicoco et al., "UDDSketch" (2020).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import ceil, inf
from struct import pack, unpack
from typing import Any

import msgspec
from arro3.core import DataType, Field

from headrace.aggregates import Columns
from headrace.cells import NO_EVENTS, CellsOfField
from headrace.errors import ConfigurationError

_FRACTION_BITS = 52
_INFINITY = 0x7FF
"""The exponent of infinity."""
_FINEST = 6
"""Bits of the fraction that a bucket goes by, as long as there are not too many."""
MAX_BUCKETS = 4096
"""At least as many as there are exponents of both signs: then the fraction's bits do not run out."""


class _Histogram(msgspec.Struct):
    """The values of one window."""

    bits: int = _FINEST
    """Of the fraction."""
    smallest: float = inf
    largest: float = -inf
    counts: dict[int, int] = {}
    """Bucket to how many values are in it. Of negative values the bucket is negative; they are in order of values."""

    def halve(self) -> None:
        """Make buckets twice as wide, until there are not too many."""
        while len(self.counts) > MAX_BUCKETS:
            self.coarsen(self.bits - 1)

    def coarsen(self, bits: int) -> None:
        """Go by fewer bits of the fraction."""
        shift, counts = self.bits - bits, self.counts
        if shift == 0:
            return
        self.bits, self.counts = bits, {}
        for bucket, number in counts.items():
            wider = _shifted(bucket, shift)
            self.counts[wider] = self.counts.get(wider, 0) + number


class _OfQuantiles(CellsOfField, frozen=True):
    """What Quantile and Quantiles share: everything but the result."""

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Count the values; absent ones and NaN are none."""
        (cells,) = columns
        if None in values:
            rows, values = _present(rows, values)
        for row, value, bucket in zip(rows, values, _buckets(values), strict=True):
            if value != value:  # noqa: PLR0124 - NaN does not equal itself
                continue
            cell = cells[row]
            if cell.__class__ is bytes:
                cell = cells[row] = self.opened(cell)
            if value < cell.smallest:
                cell.smallest = value + 0.0  # a double; -0.0 becomes 0.0
            if value > cell.largest:
                cell.largest = value + 0.0
            if cell.bits != _FINEST:
                bucket = _shifted(bucket, _FINEST - cell.bits)  # noqa: PLW2901 - the same one, wider
            counts = cell.counts
            if bucket in counts:
                counts[bucket] += 1
            else:
                counts[bucket] = 1
                if len(counts) > MAX_BUCKETS:
                    cell.halve()

    def opened(self, stored: bytes) -> _Histogram:
        """Of the buckets, distances were stored."""
        if stored == NO_EVENTS:
            return _Histogram()
        bits, smallest, largest, distances, numbers = msgspec.msgpack.decode(stored)
        buckets = accumulate(distances)
        return _Histogram(bits, smallest, largest, dict(zip(buckets, numbers, strict=True)))

    def packed(self, live: _Histogram) -> bytes:
        """The same bytes for the same values; most distances take a byte."""
        if not live.counts:
            return NO_EVENTS
        buckets = sorted(live.counts)
        distances = [bucket - before for before, bucket in zip([0, *buckets], buckets, strict=False)]
        numbers = [live.counts[bucket] for bucket in buckets]
        return msgspec.msgpack.encode((live.bits, live.smallest, live.largest, distances, numbers))

    def union(self, earlier: _Histogram, later: _Histogram) -> _Histogram:
        """The sums, bucket by bucket."""
        merged, other = (_Histogram(h.bits, h.smallest, h.largest, dict(h.counts)) for h in (earlier, later))
        bits = min(merged.bits, other.bits)
        merged.coarsen(bits)
        other.coarsen(bits)
        for bucket, number in other.counts.items():
            merged.counts[bucket] = merged.counts.get(bucket, 0) + number
        merged.smallest, merged.largest = min(merged.smallest, other.smallest), max(merged.largest, other.largest)
        merged.halve()
        return merged


class Quantile(_OfQuantiles, frozen=True):
    """One quantile of a number field, e.g. 0.95; 0 and 1 are the smallest and the largest value.

    It is the smallest value that at least this share of all values does not exceed (SQL's `percentile_disc`), known
    to one part in 128 (0.8 %) as long as a window's values are in no more than 4,096 buckets: positive ones whose
    largest is 2^63 times the smallest always are. Absent values and NaN are none; infinities are values.

    Raises:
        ConfigurationError: the quantile is not between 0 and 1.
    """

    quantile: float
    """The share of the values."""

    def __post_init__(self) -> None:
        """Refuse what is no quantile."""
        _check(self, [self.quantile])

    def answer(self, live: _Histogram) -> float | None:
        """None without values."""
        return next(_values_at(live, [self.quantile]), None)

    def result_type(self, field_type: DataType | None) -> DataType:
        """A double."""
        self._number(field_type)
        return DataType.float64()


class Quantiles(_OfQuantiles, frozen=True):
    """Several quantiles of a number field, from one state; each as `Quantile` would have it.

    The column is a struct with a member for each, named after its percentage: `p50`, `p95`, `p99_9`.

    Raises:
        ConfigurationError: one is not between 0 and 1, there is none, or one comes twice.
    """

    quantiles: tuple[float, ...]
    """The shares of the values."""

    def __post_init__(self) -> None:
        """Refuse what are no quantiles."""
        _check(self, self.quantiles)
        if len(set(self._names)) != len(self.quantiles) or not self.quantiles:
            raise ConfigurationError(f"Quantiles({self.field!r}) needs quantiles, each once, not {self.quantiles}")

    def answer(self, live: _Histogram) -> dict[str, float] | None:
        """None without values."""
        return dict(zip(self._names, _values_at(live, self.quantiles), strict=True)) if live.counts else None

    def result_type(self, field_type: DataType | None) -> DataType:
        """A struct of doubles."""
        self._number(field_type)
        return DataType.struct([Field(name, DataType.float64(), nullable=False) for name in self._names])

    @property
    def _names(self) -> list[str]:
        return [f"p{100 * quantile:.10g}".replace(".", "_") for quantile in self.quantiles]


def _check(aggregate: Quantile | Quantiles, quantiles: Iterable[float]) -> None:
    for quantile in quantiles:
        if not 0 <= quantile <= 1:
            name = f"{type(aggregate).__name__}({aggregate.field!r})"
            raise ConfigurationError(f"{name} needs quantiles from 0 to 1, not {quantile}")


def _present(rows: Sequence[int], values: Sequence[Any]) -> tuple[Sequence[int], Sequence[Any]]:
    present = [n for n, value in enumerate(values) if value is not None]
    return [rows[n] for n in present], [values[n] for n in present]


def _buckets(values: Sequence[float]) -> list[int]:
    doubles = memoryview(array("d", values)).cast("B").cast("q").tolist()
    shift, magnitude = _FRACTION_BITS - _FINEST, 2**63 - 1
    return [bits >> shift if bits >= 0 else -((bits & magnitude) >> shift) for bits in doubles]


def _shifted(bucket: int, shift: int) -> int:
    return bucket >> shift if bucket >= 0 else -(-bucket >> shift)


def _values_at(live: _Histogram, quantiles: Iterable[float]) -> Iterator[float]:
    """The values of the quantiles; nothing without values."""
    buckets = sorted(live.counts)
    up_to = list(accumulate(live.counts[bucket] for bucket in buckets))
    for quantile in quantiles if buckets else ():
        # Less than one, so that no rounding of the product (0.1 * 30 > 3) asks for one value more.
        rank = max(1, ceil(quantile * up_to[-1] - 1e-9))
        if rank == 1 or rank == up_to[-1]:
            yield live.smallest if rank == 1 else live.largest
        else:
            bucket = buckets[bisect_left(up_to, rank)]
            yield min(max(_middle(bucket, live.bits), live.smallest), live.largest)


def _middle(bucket: int, bits: int) -> float:
    if bucket == 0:
        return 0.0
    magnitude = abs(bucket)
    if magnitude >> bits == _INFINITY:
        middle = inf
    else:
        # The next bit of the fraction is half of the bucket's width.
        (middle,) = unpack("<d", pack("<q", (2 * magnitude + 1) << (_FRACTION_BITS - bits - 1)))
    return middle if bucket > 0 else -middle
