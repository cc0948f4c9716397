"""What is computed from the logs. Change a window or a column here; then deploy with a new generation."""

from collections.abc import Callable
from pathlib import Path

from headrace import schema
from headrace.aggregates import Count, Mean, Sum
from headrace.codec import LogCodec
from headrace.logs import AUTO
from headrace.quantiles import Quantiles
from headrace.settings import Settings
from headrace.topology import Topology
from headrace.windowed import Windowed
from headrace.windows import TumblingWindows

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


def topologies(settings: Settings) -> Callable[[str], Topology]:
    """The topology of each topic: they differ in the lines' format.

    Raises:
        ConfigurationError: a topic's format is unknown, or its parameters are wrong.
    """
    declared = {topic: topology(settings, log_format) for topic, log_format in settings.log_formats.items()}
    detecting = topology(settings, AUTO)
    return lambda topic: declared.get(topic, detecting)


def topology(settings: Settings, log_format: str) -> Topology:
    """Both operators over the parsed lines."""
    return Topology(
        codec=LogCodec(schema.load(SCHEMA), log_format, patterns=False),  # no table has them
        operators=(SEVERITY_MINUTES, SERVICE_MINUTES),
        event_time="timestamp",
        out_of_orderness_ms=settings.out_of_orderness_ms,
        allowed_lateness_ms=settings.allowed_lateness_ms,
        max_skew_ms=settings.max_skew_ms,
    )
