"""The same three queries with orjson, plain dictionaries and pyarrow: what ours are checked against.

It relies on bids that come in order of time, as Nexmark's do, keeps its state in this process, validates nothing and
has neither checkpoint nor staging.
"""

from abc import ABC, abstractmethod
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa
from click_windows import write
from hourly import PLACE, TIMESTAMP, HourlyFiles

OUT_OF_ORDERNESS_MS = 4_000
SIZE_MS, ADVANCE_MS, GAP_MS = 10_000, 2_000, 10_000
PARTITION = ("bids", 0)

WINDOW = [("window_start", TIMESTAMP), ("window_end", TIMESTAMP)]
SESSION = [("session_start", TIMESTAMP), ("session_end", TIMESTAMP)]

Bid = dict[str, Any]


class Query(ABC):
    """A contestant."""

    table: str
    columns: pa.Schema

    def __init__(self) -> None:
        self._files = HourlyFiles()

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        (records,) = event["records"].values()
        bids = [orjson.loads(b64decode(record["value"])) for record in records]
        self.add(bids)
        watermark_ms = bids[-1]["dateTime"] - OUT_OF_ORDERNESS_MS
        rows = [(*row, *PARTITION) for row in self.closed(watermark_ms)]
        write(self._files, self.table, self.columns, rows)

    @abstractmethod
    def add(self, bids: list[Bid]) -> None:
        """Count the bids of a batch."""

    @abstractmethod
    def closed(self, watermark_ms: int) -> Iterator[tuple[Any, ...]]:
        """Rows of what is over, given out once."""

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every file."""
        yield from self._files.written


class HotItems(Query):
    """The auction with the most bids in each 10 seconds, every 2; of equal ones the one of the lowest number."""

    table = "hot_items"
    columns = pa.schema([*WINDOW, ("auction", pa.int64()), ("bids", pa.int64()), *PLACE])

    def __init__(self) -> None:
        super().__init__()
        self._panes: dict[int, Counter[int]] = {}
        """Bids by auction, a counter for each 2 seconds: a window is five of them."""
        self._next_start_ms: int | None = None

    def add(self, bids: list[Bid]) -> None:
        panes = self._panes
        for bid in bids:
            pane_ms = bid["dateTime"] // ADVANCE_MS * ADVANCE_MS
            pane = panes.get(pane_ms)
            if pane is None:
                pane = panes[pane_ms] = Counter()
            pane[bid["auction"]] += 1
        if self._next_start_ms is None:
            self._next_start_ms = min(panes) - SIZE_MS + ADVANCE_MS

    def closed(self, watermark_ms: int) -> Iterator[tuple[Any, ...]]:
        assert self._next_start_ms is not None
        while (end_ms := self._next_start_ms + SIZE_MS) <= watermark_ms:
            start_ms, self._next_start_ms = self._next_start_ms, self._next_start_ms + ADVANCE_MS
            bids: Counter[int] = Counter()
            for pane_ms in range(start_ms, end_ms, ADVANCE_MS):
                bids.update(self._panes.get(pane_ms, {}))
            auction = min(bids, key=lambda auction: (-bids[auction], auction))
            yield start_ms, end_ms, auction, bids[auction]
            self._panes.pop(start_ms, None)


class HighestBid(Query):
    """The highest price in each 10 seconds."""

    table = "highest_bid"
    columns = pa.schema([*WINDOW, ("price", pa.int64()), *PLACE])

    def __init__(self) -> None:
        super().__init__()
        self._prices: dict[int, int] = {}

    def add(self, bids: list[Bid]) -> None:
        prices = self._prices
        for bid in bids:
            start_ms = bid["dateTime"] // SIZE_MS * SIZE_MS
            if bid["price"] > prices.get(start_ms, -1):
                prices[start_ms] = bid["price"]

    def closed(self, watermark_ms: int) -> Iterator[tuple[Any, ...]]:
        for start_ms in [start_ms for start_ms in self._prices if start_ms + SIZE_MS <= watermark_ms]:
            yield start_ms, start_ms + SIZE_MS, self._prices.pop(start_ms)


class UserSessions(Query):
    """How many bids a bidder made in each session."""

    table = "user_sessions"
    columns = pa.schema([*SESSION, ("bidder", pa.int64()), ("bids", pa.int64()), *PLACE])

    def __init__(self) -> None:
        super().__init__()
        self._open: dict[int, list[int]] = {}
        """Bidder to start, last bid and number of bids."""
        self._over: list[tuple[int, list[int]]] = []
        """Followed by another one of the same bidder."""

    def add(self, bids: list[Bid]) -> None:
        sessions = self._open
        for bid in bids:
            bidder, time_ms = bid["bidder"], bid["dateTime"]
            session = sessions.get(bidder)
            if session is not None and time_ms <= session[1] + GAP_MS:
                session[1] = time_ms
                session[2] += 1
                continue
            if session is not None:
                self._over.append((bidder, session))
            sessions[bidder] = [time_ms, time_ms, 1]

    def closed(self, watermark_ms: int) -> Iterator[tuple[Any, ...]]:
        limit_ms = watermark_ms - GAP_MS
        over = [item for item in (*self._over, *self._open.items()) if item[1][1] <= limit_ms]
        self._over = [item for item in self._over if item[1][1] > limit_ms]
        for bidder, session in over:
            if self._open.get(bidder) is session:
                del self._open[bidder]
            start_ms, last_ms, bids = session
            yield start_ms, last_ms + GAP_MS, bidder, bids
