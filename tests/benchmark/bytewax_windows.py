"""The click-stream's windows as a Bytewax dataflow: tumbling and session windows over one input.

One run is a dataflow from the events' dicts to the last row: Bytewax has no notion of a batch that is over. Its end of
input closes all that is open; our side is given a tick for that. Its watermark is a key's, not a partition's, so its
windows close at other moments, but as no click is later than both allow for, they hold the same.

The fastest documented way: `flat_map_batch` (one call for a batch of items), folds in arrival order
(`ordered=False`), one worker, no recovery. The clock's "now" stands still, and no window asks to be woken at a system
time (`to_system_utc`): with the clock's defaults every key whose window is due by the wall clock, which is all of
them, would be woken for every batch, at a third to a sixth of the speed.

It does less than our function: no state is kept anywhere (no recovery store), nothing is validated, files are written
once at the end. Import only where bytewax is: `peers/`.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, SessionWindower, TumblingWindower, fold_window
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main
from click_windows import GAP_MS, MINUTE_MS, OUT_OF_ORDERNESS_MS, PAGE_MINUTES, SESSIONS, Session, joined, write
from hourly import HourlyFiles

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SOURCE_BATCH = 10_000
"""Items that the source hands over at once: as many as an event holds."""
KEY_SEPARATOR = "\0"

Click = tuple[datetime, dict[str, Any]]
Keyed = tuple[str, Click]


class Windows:
    """The contestant."""

    def __init__(self) -> None:
        self._files = HourlyFiles()

    def run(self, events: Iterable[dict[str, Any]]) -> None:
        """Process all events until everything is written."""
        records = (record for event in events for records in event["records"].values() for record in records)
        minutes, sessions = _Rows(), _Rows()
        run_main(_dataflow(records, minutes, sessions))
        # One partition: there is no trace of it in a keyed stream.
        place = ("clicks", 0)
        write(self._files, "page_minutes", PAGE_MINUTES, [_minute_row(*row, place) for row in minutes.rows])
        write(self._files, "sessions", SESSIONS, [_session_row(*row, place) for row in sessions.rows])

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every file."""
        yield from self._files.written


def _dataflow(records: Iterable[dict[str, Any]], minutes: "_Rows", sessions: "_Rows") -> Dataflow:
    flow = Dataflow("clicks")
    source = op.input("records", flow, TestingSource(records, batch_size=SOURCE_BATCH))
    clicks = op.flat_map_batch("decode", source, _decoded)
    wait = timedelta(milliseconds=OUT_OF_ORDERNESS_MS)
    now = datetime.now(UTC)
    clock = EventClock(lambda click: click[0], wait, now_getter=lambda: now, to_system_utc=lambda _: None)
    pages = op.flat_map_batch("by_page", clicks, _by_page)
    tumbling = TumblingWindower(timedelta(milliseconds=MINUTE_MS), align_to=EPOCH)
    counted = fold_window("minutes", pages, clock, tumbling, _no_counts, _counted, _unmerged, ordered=False)
    users = op.flat_map_batch("by_user", clicks, _by_user)
    gap = SessionWindower(timedelta(milliseconds=GAP_MS))
    visited = fold_window("sessions", users, clock, gap, _no_session, _extended, _merged, ordered=False)
    op.output("minute_rows", counted.down, minutes)
    op.output("session_rows", visited.down, sessions)
    return flow


def _decoded(records: list[dict[str, Any]]) -> list[Click]:
    clicks = [orjson.loads(b64decode(record["value"])) for record in records]
    return [(datetime.fromtimestamp(click["timestamp"] / 1000, UTC), click) for click in clicks]


def _by_page(clicks: list[Click]) -> list[Keyed]:
    return [(f"{click['page']}{KEY_SEPARATOR}{click['event_type']}", (time, click)) for time, click in clicks]


def _by_user(clicks: list[Click]) -> list[Keyed]:
    return [(item[1]["user_id"], item) for item in clicks]


def _no_counts() -> list[Any]:
    return [0, 0, None]


def _counted(counts: list[Any], item: Click) -> list[Any]:
    click = item[1]
    counts[0] = click["timestamp"]
    counts[1] += 1
    value = click["value"]
    if value is not None:
        counts[2] = value if counts[2] is None else counts[2] + value
    return counts


def _unmerged(one: list[Any], _other: list[Any]) -> list[Any]:
    raise AssertionError(f"tumbling windows never merge: {one}")


def _no_session() -> Session:
    return []


def _extended(session: Session, item: Click) -> Session:
    click = item[1]
    time_ms, page = click["timestamp"], click["page"]
    if not session:
        return [time_ms, time_ms, 1, page, page]
    start_ms, last_ms, events, first_page, last_page = session
    if time_ms < start_ms:
        start_ms, first_page = time_ms, page
    if time_ms >= last_ms:
        last_ms, last_page = time_ms, page
    return [start_ms, last_ms, events + 1, first_page, last_page]


def _merged(into: Session, other: Session) -> Session:
    if not (into and other):
        return into or other
    return joined(into, other)


def _minute_row(key: str, window: tuple[int, list[Any]], place: tuple[str, int]) -> tuple[Any, ...]:
    time_ms, events, value_sum = window[1]
    start_ms = time_ms - time_ms % MINUTE_MS
    return start_ms, start_ms + MINUTE_MS, *key.split(KEY_SEPARATOR), events, value_sum, *place


def _session_row(user: str, window: tuple[int, Session], place: tuple[str, int]) -> tuple[Any, ...]:
    start_ms, last_ms, *rest = window[1]
    return start_ms, last_ms + GAP_MS, user, *rest, *place


class _Rows(DynamicSink[tuple[str, Any]]):
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Any]] = []

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> "_Part":
        return _Part(self.rows)


class _Part(StatelessSinkPartition[tuple[str, Any]]):
    def __init__(self, rows: list[tuple[str, Any]]) -> None:
        self._rows = rows

    def write_batch(self, items: list[tuple[str, Any]]) -> None:
        self._rows.extend(items)
