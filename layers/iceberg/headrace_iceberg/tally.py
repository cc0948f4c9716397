"""Numbers that tell whether two sets of rows are the same, whatever their order: by partition and offset."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

PARTITION, OFFSET = "_partition", "_offset"
PATTERN = 0x2545F4914F6CDD1D
"""Bits without a pattern."""
BATCH_ROWS = 65_536
"""Looked at together: what the processor's cache holds."""

Tally = Counter[tuple[str, int | None]]
"""How many rows, and per partition sums over their offsets."""


def tally_columns(names: Iterable[str]) -> list[str]:
    """The columns that are looked at: none where rows come from no topic."""
    found = [name for name in names if name in (PARTITION, OFFSET)]
    return found if len(found) == len((PARTITION, OFFSET)) else []


def tally_of(rows: pa.Table) -> Tally:
    """The tally of some rows; that of more is the sum of theirs."""
    tally: Tally = Counter({("rows", None): rows.num_rows})
    if not tally_columns(rows.schema.names):
        return tally
    for batch in rows.select([PARTITION, OFFSET]).to_batches(max_chunksize=BATCH_ROWS):
        _add(tally, batch.column(PARTITION), batch.column(OFFSET))
    return tally


def _add(tally: Tally, partitions: pa.Array, offsets: pa.Array) -> None:
    ends = pc.min_max(partitions).as_py()
    if ends["min"] != ends["max"]:  # most files have one partition
        for partition in pc.unique(partitions).to_pylist():
            of_it = pc.equal(partitions, partition)
            _add(tally, partitions.filter(of_it), offsets.filter(of_it))
        return
    # Of a mixed bit pattern too: two rows that moved in opposite directions leave a plain sum as it was.
    mixed = pc.bit_wise_xor(offsets, PATTERN)
    mixed = pc.bit_wise_and(pc.multiply(mixed, mixed), 2**31 - 1)
    partition = ends["min"]
    tally["offsets", partition] += len(offsets)
    tally["sum", partition] += pc.sum(offsets).as_py() or 0
    tally["mixed", partition] += pc.sum(mixed).as_py() or 0
