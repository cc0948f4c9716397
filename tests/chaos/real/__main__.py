"""`make chaos-real`: the whole application on real parts, which are killed, paused and restarted at random."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from headrace_cli.errors import CommandError
from headrace_cli.kafka.server import CLUSTER_SIZES
from kafka_esm import KafkaEsmError

from .run import MOST_S, Outcome, run

# ruff: noqa: T201 - printing is what this is for

INTERRUPTED = 130
TERMINATED = 143
"""Exit statuses after SIGINT and SIGTERM, as shells have them."""
EXAMPLES = """\
examples:
  make chaos-real
  make chaos-real MINUTES=5 SEED=7 BROKERS=3
  PYTHONPATH=tests .venv/bin/python -m chaos.real --minutes 1 --json
"""
DESCRIPTION = """\
Produces clicks and log lines to Apache Kafka while the functions consume them under Lambda's real runtime, with
checkpoints in DynamoDB Local and the lake in moto's S3. Meanwhile functions, the sweeper and brokers are killed
(SIGKILL), functions paused and continued after their mapping gave up on them, and mappings restarted. In the end
everything is delivered, and every row of every table is worked out again from the acknowledged records by other code
and compared; Kafka's log, too, is compared with what it acknowledged.

Faults and records are the seed's; which instruction they hit is the machine's. Exit status 0 if all is exact, else 1.
"""


def main(arguments: list[str]) -> int:
    """Run, and tell what came out."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    folder = Path(tempfile.mkdtemp(prefix="headrace-chaos-"))
    outcome: Outcome | None = None
    try:
        outcome = run(
            folder,
            seed=options.seed,
            seconds=options.minutes * 60,
            brokers=options.brokers,
            rate=options.rate,
            tell=_teller(),
        )
    except (CommandError, KafkaEsmError) as error:
        print(f"chaos: seed {options.seed}: {error}", file=sys.stderr)
    except (KeyboardInterrupt, SystemExit) as stopped:
        shutil.rmtree(folder)
        return INTERRUPTED if isinstance(stopped, KeyboardInterrupt) else TERMINATED
    if outcome is not None:
        print(json.dumps(as_json(outcome)) if options.json else as_text(outcome))
    if outcome is None or not outcome.exact:
        print(f"what the functions printed, and Kafka's log, are in {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The facts for a program."""
    return {
        "exact": outcome.exact,
        "seed": outcome.seed,
        "brokers": outcome.brokers,
        "seconds": round(outcome.seconds, 1),
        "records": outcome.records,
        "faults": dict(outcome.faults),
        "missed": dict(outcome.missed),
        "invocations": dict(outcome.invocations),
        "sweeps": dict(outcome.sweeps),
        "sweep_totals": dict(outcome.sweep_totals),
        "zombies": dict(outcome.zombies),
        "zombie_totals": dict(outcome.zombie_totals),
        "totals": dict(outcome.totals),
        "differences": _differences(outcome),
    }


def as_text(outcome: Outcome) -> str:
    """The facts for a person; the verdict comes last."""
    parts = {
        "faults": outcome.faults,
        "missed": outcome.missed,
        "invocations": outcome.invocations,
        "sweeps": outcome.sweeps,
        "sweeps' totals": outcome.sweep_totals,
        "zombies, continued": outcome.zombies,
        "zombies' totals": outcome.zombie_totals,
        "functions' totals": outcome.totals,
    }
    lines = [f"{name}: {_counts(counts)}" for name, counts in parts.items() if counts]
    lines += [f"  {difference}" for difference in _differences(outcome)]
    verdict = "exact" if outcome.exact else f"NOT EXACT: {len(_differences(outcome))} differences shown"
    lines.append(
        f"{outcome.faults.total()} faults, {outcome.records:,} records, {verdict} (seed {outcome.seed},"
        f" {outcome.brokers} broker(s), {outcome.seconds:.0f} s)"
    )
    return "\n".join(lines)


def _differences(outcome: Outcome) -> list[str]:
    return [*outcome.log_differences, *(outcome.verdict.differences[:20] if outcome.verdict else [])]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()) if count)


def _teller() -> Any:
    started_s = time.monotonic()
    return lambda line: print(f"{time.monotonic() - started_s:6.1f} s  {line}", file=sys.stderr, flush=True)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "chaos-real",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=_minutes, default=5.0, help="of faults; at least one round of them (5)")
    parser.add_argument("--seed", type=int, default=0, help="of faults and records (0)")
    parser.add_argument("--brokers", type=int, choices=CLUSTER_SIZES, default=1, help="of Apache Kafka (1)")
    parser.add_argument("--rate", type=_rate, default=200, help="records a second (200)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 <= minutes <= MOST_S / 60:
        raise argparse.ArgumentTypeError(f"from 0 to {MOST_S // 60} minutes")
    return minutes


def _rate(text: str) -> int:
    rate = int(text)
    if not 3 <= rate <= 5_000:
        raise argparse.ArgumentTypeError("from 3 to 5000 records a second")
    return rate


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
