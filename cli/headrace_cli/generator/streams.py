"""Streams for the demo, the same for a seed on every run, machine and Python version: clicks and service logs.

Only `random.Random.random` is drawn from: it is the one sequence that Python promises to keep for a seed.

Event times run from `start_ms` over `SPAN_MS`, mostly ascending: some come out of order, by less than
`OUT_OF_ORDER_MS`, and about one in a thousand is late by minutes. So that no good record is from the future,
let `start_ms` be `now - SPAN_MS`. Kafka's timestamp of a log line is the stream's own clock, as if it had been sent
then: lines without a time count by it. About one record in 500 is bad: see `headrace_cli.generator.bad_records`.
"""

from headrace_cli.generator.rhythm import LATE_MS, OUT_OF_ORDER_MS, SPAN_MS
from headrace_cli.generator.service_logs import OUTAGE_MESSAGES, OUTAGE_SERVICE, outage_ms, service_logs
from headrace_cli.generator.shop_visits import clicks

__all__ = [
    "LATE_MS",
    "OUTAGE_MESSAGES",
    "OUTAGE_SERVICE",
    "OUT_OF_ORDER_MS",
    "SPAN_MS",
    "clicks",
    "outage_ms",
    "service_logs",
]
