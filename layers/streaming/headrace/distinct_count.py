"""How many different values: HyperLogLog over a hash that is the same in every process.

The state is a function of the set of values: of their order, of how often each came and of how they were distributed
over batches and partitions it knows nothing. Few values are kept as their hashes and counted exactly.

Sources: P. Flajolet et al., "HyperLogLog" (2007); the estimate is algorithm 6 of O. Ertl, "New cardinality estimation
algorithms for HyperLogLog sketches" (2017), which needs no tables of corrections.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import inf, log, sqrt
from struct import pack, unpack
from typing import Any

import msgspec
from arro3.core import DataType

from headrace.aggregates import Columns
from headrace.cells import CellsOfField
from headrace.errors import ConfigurationError

_HASH_BYTES = 8
_HASH_BITS = 8 * _HASH_BYTES
_MIN_PRECISION, _MAX_PRECISION = 4, 16


class DistinctCount(CellsOfField, frozen=True):
    """How many different values of a field; absent values and NaN are none, and -0.0 is 0.0.

    Up to `2 ** precision / 8 - 1` values (511) the count is exact. Beyond that its standard error is
    `1.04 / sqrt(2 ** precision)` (1.6 %), and a window takes `2 ** precision` bytes (4,096) however many there are.

    Raises:
        ConfigurationError: the precision is not between 4 and 16.
    """

    precision: int = 12
    """Bits of the hash that choose a register."""

    def __post_init__(self) -> None:
        """Refuse what is no estimate, or too large for a window's state."""
        if not _MIN_PRECISION <= self.precision <= _MAX_PRECISION:
            raise ConfigurationError(
                f"DistinctCount({self.field!r}) has a precision of {_MIN_PRECISION} to {_MAX_PRECISION} bits, "
                f"not {self.precision}"
            )

    def add(self, columns: Columns, rows: Sequence[int], values: Sequence[Any], times_ms: Sequence[int]) -> None:
        """Note that the values were there."""
        (cells,) = columns
        precision, index_mask, ranks_from = self.precision, (1 << self.precision) - 1, _HASH_BITS - self.precision + 1
        for row, hashed in zip(rows, _hashes(values), strict=True):
            if hashed is None:
                continue
            cell = cells[row]
            if cell.__class__ is bytes:
                cell = cells[row] = self.opened(cell)
            if cell.__class__ is set:
                cell.add(hashed)
                if len(cell) >= self._too_many:
                    cells[row] = self._registers(cell)
            else:
                rank = ranks_from - (hashed >> precision).bit_length()
                if rank > cell[hashed & index_mask]:  # noqa: PLR1730 - `max` takes twice as long
                    cell[hashed & index_mask] = rank

    def result_type(self, field_type: DataType | None) -> DataType:
        """A 64-bit integer."""
        self._plain(field_type)
        return DataType.int64()

    def opened(self, stored: bytes) -> set[int] | bytearray:
        """The hashes, or the registers."""
        if len(stored) == 1 << self.precision:
            return bytearray(stored)
        return set(unpack(f"<{len(stored) // _HASH_BYTES}Q", stored))

    def packed(self, live: set[int] | bytearray) -> bytes:
        """The same bytes for the same values."""
        return pack(f"<{len(live)}Q", *sorted(live)) if isinstance(live, set) else bytes(live)

    def union(self, earlier: set[int] | bytearray, later: set[int] | bytearray) -> set[int] | bytearray:
        """All hashes, or the larger one of each pair of registers."""
        if isinstance(earlier, set) and isinstance(later, set):
            hashes = earlier | later
            return hashes if len(hashes) < self._too_many else self._registers(hashes)
        return _larger(*(self._registers(live) if isinstance(live, set) else live for live in (earlier, later)))

    def answer(self, live: set[int] | bytearray) -> int:
        """The number, exact or estimated."""
        return len(live) if isinstance(live, set) else round(_estimate(live, _HASH_BITS - self.precision))

    @property
    def _too_many(self) -> int:
        # As many hashes as take no less space than registers: the length of the bytes then says which they are.
        return (1 << self.precision) // _HASH_BYTES

    def _registers(self, hashes: Iterable[int]) -> bytearray:
        size, ranks_from = 1 << self.precision, _HASH_BITS - self.precision + 1
        registers = bytearray(size)
        for hashed in hashes:
            rank = ranks_from - (hashed >> self.precision).bit_length()
            registers[hashed % size] = max(rank, registers[hashed % size])
        return registers


def _hashes(values: Sequence[Any]) -> list[int | None]:
    """64 bits of each; None of what is no value. Not Python's `hash`, which is another one in every process."""
    different = {value for value in set(values) if value is not None and value == value}  # noqa: PLR0124 - not NaN
    if 0 in different:  # 0.0 and -0.0 are equal and have other bytes; an integer's 0 may have the bytes of 0.0
        different.remove(0)
        different.add(0.0)
    encode = msgspec.msgpack.encode
    digests = [blake2b(encode(value), digest_size=_HASH_BYTES).digest() for value in different]
    hashes = unpack(f"<{len(digests)}Q", b"".join(digests))
    return list(map(dict(zip(different, hashes, strict=True)).get, values))


def _larger(first: bytearray, second: bytearray) -> bytearray:
    """The larger byte of each pair. All registers at once, as one number: a byte at a time takes 25 times as long."""
    size = len(first)
    tops = int.from_bytes(b"\x80" * size)  # above every register, whose largest rank is 61
    a, b = int.from_bytes(first), int.from_bytes(second)
    not_less = ((a | tops) - b) & tops
    of_first = not_less - (not_less >> 7)  # 0x7f where the first one's is not less
    return bytearray(((a & of_first) | (b & ~of_first)).to_bytes(size))


def _estimate(registers: bytearray, rank_bits: int) -> float:
    size = len(registers)
    number_of = [registers.count(rank) for rank in range(rank_bits + 2)]
    z = size * _tau(1 - number_of[-1] / size)
    for number in reversed(number_of[1:-1]):
        z = 0.5 * (z + number)
    z += size * _sigma(number_of[0] / size)
    return size * size / (2 * log(2) * z) if z else inf


def _sigma(x: float) -> float:
    if x == 1:
        return inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before, z, y = z, z + x * y, y + y
    return z


def _tau(x: float) -> float:
    if x in {0, 1}:
        return 0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = sqrt(x)
        before, y = z, 0.5 * y
        z -= (1 - x) ** 2 * y
    return z / 3
