"""What is computed from the clicks. Change a window or a column here; then deploy with a new generation."""

from pathlib import Path

from headrace import schema
from headrace.aggregates import Count, First, Last, Sum
from headrace.codec import JsonCodec
from headrace.settings import Settings
from headrace.topology import Topology
from headrace.windowed import Windowed
from headrace.windows import SessionWindows, TumblingWindows

NAME = "clickstream"
SCHEMA = Path(__file__).parents[1] / "schemas" / "clicks.avsc"
FIELDS = ("user_id", "page", "event_type", "timestamp", "value")

# The topic is keyed by user: a page's visitors are spread over the partitions, a user's sessions are not.
PAGE_MINUTES = Windowed(
    table="page_minutes",
    window=TumblingWindows(size_ms=60_000),
    key=("page", "event_type"),
    aggregates={"events": Count(), "value_sum": Sum("value")},
)


def topology(settings: Settings) -> Topology:
    """Both operators over the declared fields of a click; other fields do not matter here."""
    sessions = Windowed(
        table="sessions",
        window=SessionWindows(gap_ms=settings.session_gap_ms),
        key=("user_id",),
        aggregates={"events": Count(), "first_page": First("page"), "last_page": Last("page")},
        complete=True,
    )
    return Topology(
        codec=JsonCodec(schema.load(SCHEMA).project(FIELDS), keep_unknown=False),
        operators=(PAGE_MINUTES, sessions),
        event_time="timestamp",
        out_of_orderness_ms=settings.out_of_orderness_ms,
        allowed_lateness_ms=settings.allowed_lateness_ms,
        max_skew_ms=settings.max_skew_ms,
    )
