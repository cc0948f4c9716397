"""`make chaos`: any number of schedules, and the way from a failing seed to its story.

    python -m chaos.run --seeds 10000 --seed0 0        ends with `N schedules, M faults, 0 differences`
    python -m chaos.run --seeds 1 --seed0 4711         tells the whole story of one
    python -m chaos.run --without skip-by-offset       the same with a clause of the protocol left out

Exit status: 0 no difference and no hole in the coverage, 1 otherwise, 2 wrong usage, 130 Ctrl-C.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from chaos.guards import BY_NAME
from chaos.mutation import install

if TYPE_CHECKING:
    from chaos.schedules import Findings, Story

ENOUGH_FOR_EVERY_CELL = 2_000
"""From so many schedules on, a possible cell of the coverage that is empty is an error."""
STORIES = 3
"""Failing schedules that are told; the others are counted."""


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    if options.without:
        install(BY_NAME[options.without].without)
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--seeds", type=positive, default=500, help="number of schedules (default: %(default)s)")
    add("--seed0", type=int, default=0, help="the first one's seed (default: %(default)s)")
    add("--processes", type=positive, default=os.cpu_count() or 1, help="default: all processors")
    add("--first", action="store_true", help="stop at the first schedule that differs")
    add("--untold", action="store_true", help="do not look for the simplest schedules that fail like those that did")
    add("--without", choices=BY_NAME, metavar="GUARD", help="leave a clause of the protocol out; in one process")
    add("--json", action="store_true", help="print one JSON object instead of the tables")
    return parser.parse_args()


def positive(text: str) -> int:
    """A number of at least one, or argparse's error."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    # The library is imported here: by now a clause may be left out of it.
    from chaos.schedules import story  # noqa: PLC0415

    started_s = time.monotonic()
    findings = _all(options)
    seconds = time.monotonic() - started_s
    complaints = _complaints(findings)
    told = [] if options.untold else sorted(findings.differences)[: 1 if options.first else STORIES]
    stories = {seed: story(seed) for seed in told}
    if options.json:
        print(json.dumps(_as_json(findings, complaints, stories, seconds)))
    else:
        _show(findings, complaints, seconds)
        for seed, told in stories.items():
            _tell_failure(seed, findings.differences[seed], told, options)
        if options.seeds == 1 and not stories:
            _tell_all(options.seed0)
    return 1 if findings.differences or complaints else 0


def _all(options: argparse.Namespace) -> "Findings":
    from chaos.schedules import CHUNK, Findings, run  # noqa: PLC0415 - as above

    findings = Findings()
    processes = 1 if options.without else options.processes
    for chunk in run(options.seed0, options.seeds, processes, CHUNK // 5 if options.first else CHUNK):
        findings += chunk
        if sys.stderr.isatty():
            done = f"{findings.schedules} of {options.seeds} schedules, {len(findings.differences)} differ"
            print(f"\r{done}", end="", file=sys.stderr)
        if options.first and findings.differences:
            break
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return findings


def _complaints(findings: "Findings") -> list[str]:
    """What is wrong with the run itself."""
    from chaos import coverage  # noqa: PLC0415 - as above

    found = [f"the table of steps lacks {step}" for step in sorted(coverage.unknown(findings.steps))]
    if findings.schedules >= ENOUGH_FOR_EVERY_CELL:
        holes = coverage.holes(findings.coverage) + coverage.missing(findings.windows)
        found += [f"never happened: {hole}" for hole in holes]
    return found


def _show(findings: "Findings", complaints: list[str], seconds: float) -> None:
    from chaos import coverage  # noqa: PLC0415 - as above

    print("\n".join(coverage.table(findings.coverage)))
    events = sorted(findings.events.items(), key=lambda item: -item[1])
    print("\nbesides: " + ", ".join(f"{name} {count:,}" for name, count in events))
    print(
        f"on average {findings.faults_per_schedule:.1f} faults a schedule, "
        f"{findings.invocations_per_partition:.1f} invocations a partition; {findings.rows:,} rows compared"
    )
    print("rows of windows: " + _counted(findings.windows))
    confirmed = Counter(findings.confirmed)
    split = confirmed.pop("split", 0)
    print(f"second opinion (DuckDB): confirmed {_counted(confirmed)}; {split:,} sessions are not comparable by SQL")
    for complaint in complaints:
        print(complaint)
    sums = f"{findings.schedules:,} schedules, {findings.faults:,} faults, {len(findings.differences)} differences"
    print(f"{sums} ({seconds:.0f} s)")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _as_json(
    findings: "Findings", complaints: list[str], stories: "dict[int, Story | None]", seconds: float
) -> dict[str, Any]:
    cells: dict[str, dict[str, int]] = {}
    for (step, fault), count in sorted(findings.coverage.items()):
        cells.setdefault(step, {})[fault] = count
    return {
        "schedules": findings.schedules,
        "faults": findings.faults,
        "differences": {str(seed): texts for seed, texts in findings.differences.items()},
        "stories": {str(seed): told.lines if told else [] for seed, told in stories.items()},
        "complaints": complaints,
        "faults_per_schedule": round(findings.faults_per_schedule, 2),
        "invocations_per_partition": round(findings.invocations_per_partition, 2),
        "rows": findings.rows,
        "windows": findings.windows,
        "confirmed": findings.confirmed,
        "events": findings.events,
        "coverage": cells,
        "seconds": round(seconds, 1),
    }


def _tell_failure(seed: int, differences: list[str], told: "Story | None", options: argparse.Namespace) -> None:
    print(f"\nseed {seed} differs: {differences[0]}")
    if told is None:
        print("  by the second opinion only")
    else:
        print(f"the simplest schedule found that fails like it, {told.decisions} decisions:")
        print("\n".join(f"  {line}" for line in told.lines))
    without = f" WITHOUT={options.without}" if options.without else ""
    print(f"again: make chaos SEEDS=1 SEED0={seed}{without}")


def _tell_all(seed: int) -> None:
    from chaos.choices import Choices  # noqa: PLC0415 - as above
    from chaos.schedules import played  # noqa: PLC0415 - as above
    from chaos.simulation import Simulation  # noqa: PLC0415 - as above

    simulation = Simulation(Choices(seed))
    played(simulation)
    print(f"\nthe story of seed {seed}:")
    print("\n".join(f"  {line}" for line in simulation.world.calls.story))


if __name__ == "__main__":
    sys.exit(main())
