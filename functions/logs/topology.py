"""What is computed from the logs. Change a window or a column here; then deploy with a new generation."""

from collections.abc import Callable
from pathlib import Path

from headrace import schema
from headrace.aggregates import Count, Mean, Sum
from headrace.alert_rules import NewPattern
from headrace.alerts import Alerts
from headrace.codec import LogCodec
from headrace.first_seen import FirstSeen
from headrace.logs import AUTO
from headrace.quantiles import Quantiles
from headrace.settings import Settings
from headrace.topology import Topology
from headrace.window_rows import Top
from headrace.windowed import Windowed
from headrace.windows import TumblingWindows
from logs.alerting import ALERTS, SILENCE, TROUBLE

NAME = "logs"
SCHEMA = Path(__file__).parents[1] / "schemas" / "log_event.avsc"
MINUTE = TumblingWindows(size_ms=60_000)

SEVERITY_MINUTES = Windowed(
    table="severity_minutes",
    window=MINUTE,
    key=("service", "severity", "status_class"),
    aggregates={"events": Count()},
)
# The ratio is `errors / events`: readers who merge partitions divide the sums, they do not average the ratios.
SERVICE_MINUTES = Windowed(
    table="service_minutes",
    window=MINUTE,
    key=("service",),
    aggregates={
        "events": Count(),
        "errors": Sum("is_error"),
        "error_ratio": Mean("is_error"),
        "unparsed": Sum("is_unparsed"),
        "bytes": Sum("bytes"),
        "latency_ms": Quantiles("latency_ms", (0.5, 0.95, 0.99)),
    },
)
PATTERN_MINUTES = Windowed(
    table="pattern_minutes",
    window=MINUTE,
    key=("service", "severity", "pattern"),
    aggregates={"events": Count()},
    top=Top(50, by="events"),
)
# With the first message of each. A key that was silent for a week is news again.
NEW_PATTERNS = FirstSeen(
    table="new_patterns", key=("service", "severity", "pattern"), forget_after_ms=7 * 86_400_000, samples=("message",)
)

# The table of new patterns, and alerts about those that are errors.
NEW_ERRORS = Alerts(of=NEW_PATTERNS, rules=(NewPattern("new-error"),), table=ALERTS)


def topologies(settings: Settings) -> Callable[[str], Topology]:
    """The topology of each topic: they differ in the lines' format.

    Raises:
        ConfigurationError: a topic's format is unknown, or its parameters are wrong.
    """
    declared = {topic: topology(settings, log_format) for topic, log_format in settings.log_formats.items()}
    detecting = topology(settings, AUTO)
    return lambda topic: declared.get(topic, detecting)


def topology(settings: Settings, log_format: str) -> Topology:
    """What `settings.log_tables` says, over the parsed lines."""
    besides = {
        "minutes": (),
        "minutes,patterns": (PATTERN_MINUTES, NEW_PATTERNS),
        "minutes,alerts": (TROUBLE, SILENCE),
        "minutes,patterns,alerts": (PATTERN_MINUTES, NEW_ERRORS, TROUBLE, SILENCE),
    }
    return Topology(
        codec=LogCodec(schema.load(SCHEMA), log_format, patterns="patterns" in settings.log_tables),
        operators=(SEVERITY_MINUTES, SERVICE_MINUTES, *besides[settings.log_tables]),
        event_time="timestamp",
        out_of_orderness_ms=settings.out_of_orderness_ms,
        allowed_lateness_ms=settings.allowed_lateness_ms,
        max_skew_ms=settings.max_skew_ms,
    )
