"""The click-stream's windows in plain dictionaries, and their rows through pyarrow: what the counterparts share.

They make the rows that our function makes of good records and do less: the state stays in this process, without
snapshot, checkpoint or staging; nothing is validated; a bad record would fail the batch; a late one is dropped.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from hourly import PLACE, TIMESTAMP, HourlyFiles

MINUTE_MS = 60_000
GAP_MS = 300_000
OUT_OF_ORDERNESS_MS = 60_000

PAGE_MINUTES = pa.schema(
    [
        ("window_start", TIMESTAMP),
        ("window_end", TIMESTAMP),
        ("page", pa.string()),
        ("event_type", pa.string()),
        ("events", pa.int64()),
        ("value_sum", pa.float64()),
        *PLACE,
    ]
)
SESSIONS = pa.schema(
    [
        ("session_start", TIMESTAMP),
        ("session_end", TIMESTAMP),
        ("user_id", pa.string()),
        ("events", pa.int64()),
        ("first_page", pa.string()),
        ("last_page", pa.string()),
        *PLACE,
    ]
)

Session = list[Any]
"""`[start, last, events, first page, last page]`."""
START, LAST, EVENTS, FIRST_PAGE, LAST_PAGE = range(5)


class PartitionWindows:
    """The open windows and sessions of one partition."""

    def __init__(self, topic: str, partition: int) -> None:
        self._place = (topic, partition)
        self._watermark_ms = -(2**63)
        self._windows: dict[int, dict[tuple[str, str], list[Any]]] = {}
        self._sessions: dict[str, list[Session]] = {}
        self._closed: list[tuple[str, Session]] = []

    def add(self, click: dict[str, Any]) -> None:
        """Count one click."""
        time_ms, page, watermark_ms = click["timestamp"], click["page"], self._watermark_ms
        start_ms = time_ms - time_ms % MINUTE_MS
        if start_ms + MINUTE_MS > watermark_ms:
            window = self._windows.get(start_ms)
            if window is None:
                window = self._windows[start_ms] = {}
            key = (page, click["event_type"])
            counts = window.get(key)
            if counts is None:
                counts = window[key] = [0, None]
            counts[0] += 1
            value = click["value"]
            if value is not None:
                counts[1] = value if counts[1] is None else counts[1] + value
        sessions = self._sessions.get(click["user_id"])
        if sessions and len(sessions) == 1 and watermark_ms < (last_ms := sessions[0][LAST]) + GAP_MS:
            (session,) = sessions
            if last_ms <= time_ms <= last_ms + GAP_MS:
                session[LAST], session[LAST_PAGE] = time_ms, page
                session[EVENTS] += 1
            else:
                self._merge(click["user_id"], [time_ms, time_ms, 1, page, page])
        else:
            self._merge(click["user_id"], [time_ms, time_ms, 1, page, page])
        if time_ms - OUT_OF_ORDERNESS_MS > watermark_ms:
            self._watermark_ms = time_ms - OUT_OF_ORDERNESS_MS

    def _merge(self, user: str, new: Session) -> None:
        """Put a session of one click among the user's open ones, joining those that it touches."""
        self._retire(user)
        if new[LAST] + GAP_MS <= self._watermark_ms:
            return
        apart = []
        for session in self._sessions.get(user, ()):
            if session[START] - GAP_MS <= new[LAST] and new[START] <= session[LAST] + GAP_MS:
                new = joined(session, new)
            else:
                apart.append(session)
        self._sessions[user] = [*apart, new]

    def _retire(self, user: str) -> None:
        sessions = self._sessions.get(user, ())
        still_open = [session for session in sessions if session[LAST] + GAP_MS > self._watermark_ms]
        if len(still_open) == len(sessions):
            return
        self._closed += [(user, session) for session in sessions if session[LAST] + GAP_MS <= self._watermark_ms]
        if still_open:
            self._sessions[user] = still_open
        else:
            del self._sessions[user]

    def closed_windows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of the windows that are over."""
        for start_ms in sorted(self._windows):
            end_ms = start_ms + MINUTE_MS
            if end_ms <= self._watermark_ms:
                for key, counts in self._windows.pop(start_ms).items():
                    yield (start_ms, end_ms, *key, *counts, *self._place)

    def closed_sessions(self) -> Iterator[tuple[Any, ...]]:
        """Rows of the sessions that are over."""
        limit_ms = self._watermark_ms - GAP_MS
        for user in [user for user, open_ones in self._sessions.items() if any(s[LAST] <= limit_ms for s in open_ones)]:
            self._retire(user)
        closed, self._closed = self._closed, []
        for user, session in closed:
            yield (session[START], session[LAST] + GAP_MS, user, *session[EVENTS:], *self._place)


def joined(older: Session, newer: Session) -> Session:
    """One session of two; of two clicks at the same time the one that came first is the first."""
    first = older if older[START] <= newer[START] else newer
    last = newer if newer[LAST] >= older[LAST] else older
    return [first[START], last[LAST], older[EVENTS] + newer[EVENTS], first[FIRST_PAGE], last[LAST_PAGE]]


class ClickWindows:
    """The windows of all partitions, and the files of those that are over."""

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, int], PartitionWindows] = {}
        self._files = HourlyFiles()

    def of(self, topic: str, partition: int) -> PartitionWindows:
        """The windows of one partition."""
        windows = self._partitions.get((topic, partition))
        if windows is None:
            windows = self._partitions[topic, partition] = PartitionWindows(topic, partition)
        return windows

    def write_closed(self, changed: Iterable[PartitionWindows]) -> None:
        """Write the rows of what is over."""
        for windows in changed:
            write(self._files, "page_minutes", PAGE_MINUTES, list(windows.closed_windows()))
            write(self._files, "sessions", SESSIONS, list(windows.closed_sessions()))

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every file."""
        yield from self._files.written


def write(files: HourlyFiles, name: str, schema: pa.Schema, rows: list[tuple[Any, ...]]) -> None:
    """Write rows whose first value is their time."""
    if not rows:
        return
    columns = [list(column) for column in zip(*rows, strict=True)]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    files.write(name, pa.Table.from_arrays(arrays, schema=schema), columns[0])
