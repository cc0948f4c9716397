"""The tables that every pipeline has beside its operators': dead letters, and records that missed windows."""

from collections.abc import Sequence

from arro3.core import Array, DataType, Field

from headrace import lake
from headrace.errors import PoisonError
from headrace.lake import LakeTable, Rows
from headrace.operators import LateRecord
from headrace.records import Record

_VALUE = Field("value", DataType.binary(), nullable=True)
DEAD_LETTERS = LakeTable(
    lake.DEAD_LETTERS,
    (
        Field("reason", DataType.string(), nullable=False),
        Field("detail", DataType.string(), nullable=False),
        _VALUE,
        *lake.RECORD_FIELDS,
    ),
    complete=True,
)
"""Records that can never be processed, with everything that was sent."""
LATE = LakeTable(
    lake.LATE,
    (
        Field("operator", DataType.string(), nullable=False),
        Field("event_time", lake.TIMESTAMP, nullable=False),
        Field("window_start", lake.TIMESTAMP, nullable=False),
        Field("window_end", lake.TIMESTAMP, nullable=False),
        Field("windows", DataType.int32(), nullable=False),
        Field("watermark", lake.TIMESTAMP, nullable=False),
        Field("late_by_ms", DataType.int64(), nullable=False),
        _VALUE,
        *lake.RECORD_FIELDS,
    ),
    complete=True,
)
"""Records that missed windows, which had closed before them: once per operator, from the start of the first missed
window to the end of the last. `windows` is how many they were, `late_by_ms` how far the watermark had gone beyond the
closing of the last one. A hopping or sliding window that was still open has counted the record all the same."""


def dead_letter_rows(poison: Sequence[tuple[Record, PoisonError]]) -> Rows:
    """Rows of `dead_letters`."""
    records = [record for record, _ in poison]
    columns = [
        Array([error.reason for _, error in poison], DataType.string()),
        Array([error.detail for _, error in poison], DataType.string()),
        Array([record.value for record in records], DataType.binary()),
        *lake.record_columns(records),
    ]
    # Kafka's timestamp can be anything: a dead letter must always find its place.
    return Rows(DEAD_LETTERS, lake.within_years([record.timestamp_ms for record in records]), columns)


def late_rows(late: Sequence[LateRecord]) -> Rows:
    """Rows of `late`."""
    records = [item.record for item in late]
    columns = [
        Array([item.operator for item in late], DataType.string()),
        lake.column([item.time_ms for item in late], lake.TIMESTAMP),
        lake.column(lake.within_years([item.start_ms for item in late]), lake.TIMESTAMP),
        lake.column(lake.within_years([item.end_ms for item in late]), lake.TIMESTAMP),
        Array([item.windows for item in late], DataType.int32()),
        lake.column(lake.within_years([item.watermark_ms for item in late]), lake.TIMESTAMP),
        Array([item.late_by_ms for item in late], DataType.int64()),
        Array([record.value for record in records], DataType.binary()),
        *lake.record_columns(records),
    ]
    return Rows(LATE, [item.time_ms for item in late], columns)
