"""The watermark of one partition: how far event time has progressed, record by record.

It is the maximum event time seen so far, in offset order, minus the out-of-orderness that the operator of the
topic allows. It advances per record, not per batch, so that where a batch is cut changes nothing; and it never
goes back.
"""

from collections.abc import Sequence
from itertools import accumulate

BEFORE_ALL_MS = -(2**63)
"""The watermark before the first event: earlier than every representable time."""


def before_each(times_ms: Sequence[int], watermark_ms: int, out_of_orderness_ms: int) -> list[int]:
    """The watermark before each record, and at the end the one after the last.

    Returns:
        `len(times_ms) + 1` watermarks, epoch milliseconds, ascending.

        event times    10   30   20   40          out_of_orderness_ms = 5
        watermarks   -∞    5   25   25   35
    """
    newest_ms = accumulate(times_ms, max, initial=watermark_ms + out_of_orderness_ms)
    return [time_ms - out_of_orderness_ms for time_ms in newest_ms]
