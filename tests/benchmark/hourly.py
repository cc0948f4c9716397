"""Where the counterparts put their rows: a Parquet file per table and hour, in memory, written by pyarrow."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

HOUR_MS = 3_600_000
TIMESTAMP = pa.timestamp("ms", tz="UTC")
SMALL_ROWS = 2000
PLACE = [("_topic", pa.string()), ("_partition", pa.int32())]


class HourlyFiles:
    """The files of one contestant."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes]] = []
        """Table and content."""

    def write(self, name: str, rows: pa.Table, times_ms: list[int]) -> None:
        """Write the rows of one table, each into the file of its hour."""
        hours: dict[int, list[int]] = {}
        for index, time_ms in enumerate(times_ms):
            hours.setdefault(time_ms // HOUR_MS, []).append(index)
        for indices in hours.values():
            part = rows if len(hours) == 1 else rows.take(indices)
            buffer = io.BytesIO()
            # Like ours: zstd's level 1, which is the codec's default in pyarrow, except in small files.
            pq.write_table(part, buffer, compression="snappy" if len(part) < SMALL_ROWS else "zstd")
            self.written.append((name, buffer.getvalue()))
