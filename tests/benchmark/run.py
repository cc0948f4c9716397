"""`make bench`: what the handlers do in a second of CPU time, how state grows, and what they weigh.

Measured is a handler's own function under its own decorators (logger and metrics; only the dry run's printing is
left out), on stores in memory, for full batches of 10,000 records of 245 bytes, from the dict that the Lambda
runtime passes until everything is published. All of the protocol is included: checkpoint, snapshot, staging, copies.
Six batches come before those that count, so windows and some 19,000 sessions are open; the session gap is 5 minutes,
not 30, for sessions to close as well. The garbage collector is set as the handler sets it.

Counterparts make the same rows, which is checked, and do less, which their modules tell. They get the same batches
turn by turn, in a process of their own, with the interpreter's own garbage collector settings. Bytewax has no batches:
there a turn is a whole run. Quix Streams and our local mapping read the same topic of one Kafka broker. Figures are
medians, in CPU time because machines are shared; even so a busy one makes them waver by a third, and ratios by less.
Landing is measured at 245 bytes and at 1.2 KB (3,000 nested orders), in JSON and Avro; json + pyarrow gets the same
records in JSON either way. "In the Lambda runtime" is under its real client, which parses the event: ours with the raw
bytes of `RawEvents=true`, and as `parsed_value` without. `mb_per_cpu_s` counts the event's bytes. Absolute targets are
for a quiet machine: they are shown, and only ratios and sizes are judged.

Prints one JSON object per measurement on standard output, progress and a table on standard error. Exit status 1 when a
judged target is missed or a part cannot be measured here (no Java, no Python 3.11 or 3.12 for the counterparts); each
is explained in a line.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial

import footprint
import iceberg_tables
import patterns_contest
import phases
from broker_contest import BrokerContest
from contest import Contest, RunContest
from measurement import Measurement, Published, Target, Unavailable, table
from runtime_contest import RuntimeContest
from state_curve import COMMITS, CURVES, QUICK_COMMITS

# ruff: noqa: T201 - printing is what this is for

REPEATS = 9
QUICK_REPEATS = 3
EXAMPLES = """\
examples:
  make bench                                         everything, about five minutes
  make bench ONLY=bytewax                            the parts with this in their name
  .venv/bin/python tests/benchmark/run.py --list     the names of all parts
  … run.py --only bytewax --only nexmark             the parts whose name has one of these in it
  … run.py --only state --quick                      fewer repeats
"""

POWERTOOLS = Target("ratio", at_least=4)
BYTEWAX = Target("ratio", at_least=8)
ABSOLUTE = Target("ours_value", at_least=250_000, informative=True)
LANDING = Target("ratio", at_least=2.5)
LANDING_RATE = Target("ours_value", at_least=200_000, informative=True)
LINES = Target("ours_value", at_least=150_000, informative=True)
"""With the tables that the counterpart makes, too; patterns and alerts are in the other lines about logs."""
SHIPPED_LINES = Target("ours_value", at_least=60_000, informative=True)
LANDING_AVRO = Target("ratio", at_least=2.5, informative=True)
"""Decoding is in Python, more than half of the time."""
LARGE_RATE = Target("ours_value", at_least=82_420, informative=True)

LANDING_WARM_UP = 2
"""It keeps nothing from batch to batch."""
NEXMARK_WARM_UP = 14
"""Batches of 1.09 s until the first windows of 10 s are closed by a watermark 4 s behind."""
_ALWAYS = (
    "Flink 1.13 on 8 task managers, with a generator in place of Kafka and a sink that drops everything, RocksDB with a"
    " checkpoint every 3 minutes; its rate counts the persons and auctions that the query drops, ours bids only; its"
    " 100 million events span 10 s of event time (10 million a second), ours come at the generator's own 10,000 a"
    " second, so that windows close; ours reads JSON, commits and writes Parquet for every 10,000 bids. "
)


def _flink(rate: float, differs: str) -> Published:
    return Published(rate, "Flink 1.13", "github.com/nexmark/nexmark, README.md, Throughput/Cores", _ALWAYS + differs)


_HOT_ITEMS = _flink(22_140, "Flink's query gives all auctions with the most bids, ours the one of the lowest number.")
_HIGHEST_BID = _flink(12_330, "Flink's query joins the highest price with the bids again; ours gives the price.")
_USER_SESSIONS = _flink(39_700, "The query is the same.")

_CONNECT = Published(
    82_420,
    "Redpanda Connect",
    "Redpanda's comparison of ways from Kafka to S3, on one vCPU",
    "a Go program on another machine; Confluent's S3 sink made 59,268 there",
)

CONTESTS = [
    Contest("clickstream", "powertools", "clicks", 1, POWERTOOLS),
    Contest("clickstream", "powertools", "clicks", 8, POWERTOOLS),
    Contest("clickstream", "orjson+dicts", "clicks", 1, ABSOLUTE),
    RunContest("clickstream", "bytewax", "clicks", 1, BYTEWAX),
    Contest("clickstream (Avro)", "fastavro+dicts", "avro", 1),
    BrokerContest("page_minutes from Kafka", "quix", "clicks", 1),
    Contest("nexmark q5", "q5 by orjson+dicts", "bids", 1, None, NEXMARK_WARM_UP, _HOT_ITEMS),
    Contest("nexmark q7", "q7 by orjson+dicts", "bids", 1, None, NEXMARK_WARM_UP, _HIGHEST_BID),
    Contest("nexmark q11", "q11 by orjson+dicts", "bids", 1, None, NEXMARK_WARM_UP, _USER_SESSIONS),
    Contest("landing", "json+pyarrow", "clicks", 1, LANDING),
    Contest("landing", "json+pyarrow", "clicks", 8, LANDING),
    Contest("landing", "orjson+pyarrow", "clicks", 1, LANDING_RATE),
    Contest("landing of orders", "json+pyarrow", "orders", 1, LANDING, LANDING_WARM_UP),
    Contest("landing of orders", "orjson+pyarrow", "orders", 1, None, LANDING_WARM_UP),
    Contest("landing (Avro)", "fastavro+pyarrow", "avro", 1, None, LANDING_WARM_UP),
    Contest("landing of orders (Avro)", "fastavro+pyarrow of orders", "avro orders", 1, None, LANDING_WARM_UP),
    RuntimeContest("landing", "json+pyarrow", "clicks", 1, LANDING, LANDING_WARM_UP),
    RuntimeContest("landing of orders", "json+pyarrow", "orders", 1, LANDING, LANDING_WARM_UP),
    RuntimeContest(
        "landing (Avro)", "json+pyarrow", "avro", 1, LANDING_AVRO, LANDING_WARM_UP, counterpart_input="clicks"
    ),
    RuntimeContest(
        *("landing of orders (Avro)", "json+pyarrow", "avro orders", 1, LANDING_AVRO, LANDING_WARM_UP),
        counterpart_input="orders",
    ),
    RuntimeContest("landing of orders", "orjson+pyarrow", "orders", 1, LARGE_RATE, LANDING_WARM_UP, _CONNECT),
    Contest("logs", "json+re", "logs", 1),
    Contest("logs", "json+re", "logs", 8),
    Contest("minutes of JSON", "json+re", "json lines", 1, LINES),
    Contest("minutes of access logs", "json+re", "combined lines", 1, LINES),
    Contest("logs in JSON", "json+re", "json lines", 1),
    Contest("access logs", "json+re", "combined lines", 1),
    Contest("syslog", "json+re", "syslog lines", 1, SHIPPED_LINES),
    Contest("log4j text", "json+re", "java lines", 1, SHIPPED_LINES),
]

Part = Callable[[], Iterator[Measurement]]


def parts(*, quick: bool) -> dict[str, Part]:
    """Everything that can be measured, by name."""
    repeats, commits = (QUICK_REPEATS, QUICK_COMMITS) if quick else (REPEATS, COMMITS)
    return {
        **{contest.name: partial(_one, contest, repeats) for contest in CONTESTS},
        **{curve.name: partial(curve.measurements, commits) for curve in CURVES},
        "landing, where its time goes": partial(phases.measurements, repeats),
        "iceberg": iceberg_tables.measurements,
        "patterns": partial(patterns_contest.measurements, repeats),
        "footprint": partial(footprint.measurements, repeats),
    }


def _one(contest: Contest, repeats: int) -> Iterator[Measurement]:
    yield contest.measure(repeats)


def chosen(names: list[str], wanted: list[str]) -> list[str]:
    """The names with one of the wanted words in them; all, if none is wanted.

    Raises:
        SystemExit: a word is in none of them.
    """
    for word in wanted:
        if not any(word in name for name in names):
            raise SystemExit(f"--only {word}: no part is called so; --list shows their names")
    return [name for name in names if not wanted or any(word in name for word in wanted)]


def main() -> None:
    """Measure, print, judge."""
    arguments = _arguments()
    everything = parts(quick=arguments.quick)
    names = chosen(list(everything), arguments.only)
    if arguments.list:
        print("\n".join(names))
        return
    done, unavailable = _measured({name: everything[name] for name in names})
    print(table(done), file=sys.stderr)
    failed = [measurement for measurement in done if measurement.failed]
    for measurement in failed:
        print(f"MISSED {measurement.miss()}", file=sys.stderr)
    for name, reason in unavailable.items():
        print(f"NOT MEASURED {name}: {reason}", file=sys.stderr)
    sys.exit(1 if failed or unavailable else 0)


def _measured(wanted: dict[str, Part]) -> tuple[list[Measurement], dict[str, str]]:
    """What was measured, and what could not be, with the reason."""
    done: list[Measurement] = []
    unavailable = {}
    for number, (name, part) in enumerate(wanted.items(), 1):
        print(f"[{number}/{len(wanted)}] {name} …", file=sys.stderr, flush=True)
        try:
            for measurement in part():
                print(json.dumps(measurement.as_object()), flush=True)
                done.append(measurement)
        except Unavailable as error:
            unavailable[name] = str(error)
    return done, unavailable


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure the handlers; JSON lines on standard output, a table on standard error.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="parts with this in their name")
    parser.add_argument("--list", action="store_true", help="print the names of the parts and stop")
    quick = f"{QUICK_REPEATS} repeats instead of {REPEATS}, {QUICK_COMMITS} commits instead of {COMMITS}"
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser.parse_args()


if __name__ == "__main__":
    main()
