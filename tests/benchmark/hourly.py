"""Where the counterparts put their rows: a zstd Parquet file per table and hour, in memory, written by pyarrow."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

HOUR_MS = 3_600_000
TIMESTAMP = pa.timestamp("ms", tz="UTC")
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
            # zstd's level 1, like ours, and the codec's default in pyarrow.
            pq.write_table(part, buffer, compression="zstd", compression_level=1)
            self.written.append((name, buffer.getvalue()))
