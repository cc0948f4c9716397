"""Three of Nexmark's queries as topologies of ours, over the bids of `nexmark_bids`.

The queries as Flink's suite has them (`nexmark-flink/src/main/resources/queries/q5.sql`, `q7.sql`, `q11.sql`): windows
of 10 seconds, hopping by 2; sessions with a gap of 10 seconds; a watermark 4 seconds behind the latest bid. What
differs is told with the published figures in `run.py`.
"""

import json
from collections.abc import Callable

from headrace import schema
from headrace.aggregates import Count, Max
from headrace.codec import JsonCodec
from headrace.topology import Topology
from headrace.window_rows import Top
from headrace.windowed import Windowed
from headrace.windows import HoppingWindows, SessionWindows, TumblingWindows

MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
FIELDS = {"auction": "long", "bidder": "long", "price": "long", "dateTime": MILLIS}
OUT_OF_ORDERNESS_MS = 4_000
SIZE_MS, ADVANCE_MS, GAP_MS = 10_000, 2_000, 10_000

# There is one partition, so whatever the key, no other has events of it.
HOT_ITEMS = Windowed(
    table="hot_items",
    window=HoppingWindows(SIZE_MS, ADVANCE_MS),
    key=("auction",),
    aggregates={"bids": Count()},
    complete=True,
    top=Top(1, by="bids"),
)
HIGHEST_BID = Windowed(
    table="highest_bid",
    window=TumblingWindows(SIZE_MS),
    key=(),
    aggregates={"price": Max("price")},
    complete=True,
)
USER_SESSIONS = Windowed(
    table="user_sessions",
    window=SessionWindows(GAP_MS),
    key=("bidder",),
    aggregates={"bids": Count()},
    complete=True,
)


def instead_of(query: Windowed) -> Callable[[Topology], Topology]:
    """What a handler computes with this query in place of its own topology."""

    def change(_topology: Topology) -> Topology:
        fields = [{"name": name, "type": declared} for name, declared in FIELDS.items()]
        bid = schema.parse(json.dumps({"type": "record", "name": "Bid", "fields": fields}))
        return Topology(
            codec=JsonCodec(bid, keep_unknown=False),
            operators=(query,),
            event_time="dateTime",
            out_of_orderness_ms=OUT_OF_ORDERNESS_MS,
        )

    return change
