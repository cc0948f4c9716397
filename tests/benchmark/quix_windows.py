"""The click-stream's tumbling windows with Quix Streams, from the topic to the rows.

With its defaults: at-least-once, a commit every 5 s, state in RocksDB (in a temporary folder) with a changelog topic.
The fastest documented way: the topic is keyed by what is grouped, so that no `group_by` sends every record through
another topic, and one `Reduce` keeps both columns in one state. `closing_strategy="partition"` and the grace period
close windows exactly where ours do.

It does more than our function: each window's state is in a database and in a changelog topic. It does less: rows may
come twice after a crash, nothing is validated, a bad record would stop it; files are written at its commits.
Import only where Quix Streams is: `peers/`.
"""

import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from click_windows import MINUTE_MS, OUT_OF_ORDERNESS_MS, PAGE_MINUTES, write
from hourly import HourlyFiles

with warnings.catch_warnings(record=True):  # one of its libraries tells of another's deprecation
    from quixstreams import Application
    from quixstreams.dataframe.windows.aggregations import Reduce
    from quixstreams.sinks import BatchingSink, SinkBatch


class Consumer:
    """The contestant."""

    def __init__(self) -> None:
        self._files = HourlyFiles()

    def consume(self, servers: str, topic_name: str, end_offset: int, group: str) -> None:
        """Process the topic until everything is written and the offsets are committed."""

        def stop_after_the_last(_topic: str, _partition: int, offset: int) -> None:
            if offset + 1 >= end_offset:
                app.stop()

        with tempfile.TemporaryDirectory() as state_dir:
            app = Application(
                broker_address=servers,
                consumer_group=group,
                auto_offset_reset="earliest",
                state_dir=state_dir,
                loglevel="ERROR",
                on_message_processed=stop_after_the_last,
            )
            topic = app.topic(topic_name, timestamp_extractor=_event_time_ms)
            windows = app.dataframe(topic).tumbling_window(MINUTE_MS, grace_ms=OUT_OF_ORDERNESS_MS)
            counted = windows.agg(value=Reduce(_counted, _first)).final(closing_strategy="partition")
            counted.sink(_HourlySink(self._files))
            app.run()

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every file."""
        yield from self._files.written


def _event_time_ms(click: dict[str, Any], _headers: object, _timestamp_ms: float, _type: object) -> int:
    return int(click["timestamp"])


def _first(click: dict[str, Any]) -> list[Any]:
    return [1, click["value"]]


def _counted(counts: list[Any], click: dict[str, Any]) -> list[Any]:
    counts[0] += 1
    value = click["value"]
    if value is not None:
        counts[1] = value if counts[1] is None else counts[1] + value
    return counts


class _HourlySink(BatchingSink):
    def __init__(self, files: HourlyFiles) -> None:
        super().__init__()
        self._files = files

    def write(self, batch: SinkBatch) -> None:
        place = (batch.topic, batch.partition)
        rows = [
            (item.value["start"], item.value["end"], *item.key.decode().split("\0"), *item.value["value"], *place)
            for item in batch
        ]
        write(self._files, "page_minutes", PAGE_MINUTES, rows)
