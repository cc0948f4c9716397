"""`make bench`: what the handlers do in a second of CPU time, and what they weigh.

Measured is a handler's own function under its own decorators (logger and metrics; only the dry run's printing is
left out), on stores in memory, for full batches of 10,000 records of 245 bytes, from the dict that the Lambda
runtime passes until everything is published. All of the protocol is included: checkpoint, snapshot, staging, copies.
Six batches come before those that count, so windows and some 19,000 sessions are open; the session gap is 5 minutes,
not 30, for sessions to close as well. The garbage collector is set as the handler sets it.

Counterparts make the same rows, which is checked, and do less, which their modules tell. They get the same batches
turn by turn, in a process of their own, with the interpreter's own garbage collector settings. Figures are medians,
in CPU time because machines are shared; even so a busy one makes them waver by a third, and ratios by less.

Prints one JSON object per measurement on standard output and a table on standard error. Exit status 1 when a target
is missed; each miss is explained in a line.
"""

import argparse
import json
import sys
from collections.abc import Iterator

import footprint
from contest import Contest
from measurement import Measurement, Target, table

# ruff: noqa: T201 - printing is what this is for

REPEATS = 9
QUICK_REPEATS = 3
WINDOWS = Target("ratio", at_least=3)
LANDING = Target("ratio", at_least=2)

CONTESTS = [
    Contest("clickstream", "powertools", "clicks", 1, WINDOWS),
    Contest("clickstream", "powertools", "clicks", 8, WINDOWS),
    Contest("landing", "json+pyarrow", "clicks", 1, LANDING),
    Contest("landing", "json+pyarrow", "clicks", 8, LANDING),
    Contest("landing", "orjson+pyarrow", "clicks", 1),
    Contest("logs", "json+re", "logs", 1),
    Contest("logs", "json+re", "logs", 8),
]


def measurements(repeats: int) -> Iterator[Measurement]:
    """Everything, one after the other."""
    for contest in CONTESTS:
        yield contest.measure(repeats)
    yield from footprint.measurements(repeats)


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description="Measure the handlers; JSON lines on standard output.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_REPEATS} repeats instead of {REPEATS}")
    repeats = QUICK_REPEATS if parser.parse_args().quick else REPEATS
    done = []
    for measurement in measurements(repeats):
        print(json.dumps(measurement.as_object()), flush=True)
        print(f"{measurement.name} …", file=sys.stderr)
        done.append(measurement)
    print(table(done), file=sys.stderr)
    missed = [measurement for measurement in done if not measurement.met]
    for measurement in missed:
        print(f"MISSED {measurement.miss()}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
