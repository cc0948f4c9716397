"""What is worth an alert. Change a rule and deploy; what is watched, its windows and keys, needs a new generation.

A rule sees its partition: key the topic by service, and it sees all of one.
"""

from headrace.aggregates import Count, Sum
from headrace.alert_rules import Absence, RateOfChange, Ratio
from headrace.alerts import Alerts
from headrace.sample_values import Samples
from headrace.windowed import Windowed
from headrace.windows import HoppingWindows, SessionWindows

ALERTS = "alerts"
"""The table."""
MINUTE_MS = 60_000

# A minute is judged when it is over; the four before it say whether the trouble is news.
TROUBLE = Alerts(
    of=Windowed(
        table="service_trouble",
        window=HoppingWindows(size_ms=5 * MINUTE_MS, advance_ms=MINUTE_MS),
        key=("service",),
        aggregates={"events": Count(), "errors": Sum("is_error"), "samples": Samples("message", where="is_error")},
    ),
    rules=(
        Ratio("error-ratio", "errors", "events", above=0.25, at_least=20),
        RateOfChange("surge", "events", factor=5, at_least=100),
    ),
    table=ALERTS,
)
SILENCE = Alerts(
    of=Windowed(
        table="service_silence",
        window=SessionWindows(gap_ms=10 * MINUTE_MS),
        key=("service",),
        aggregates={"events": Count()},
    ),
    rules=(Absence("silence", at_least=20),),
    table=ALERTS,
)
