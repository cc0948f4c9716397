"""`make chaos-lake`: schedules of landing, commit, compaction and expiry at once, with readers that look at every step.

    python -m chaos.run_lake --seeds 200                        ends with `N schedules, M faults, 0 differences`
    python -m chaos.run_lake --seeds 1 --seed0 17               tells the whole story of one
    python -m chaos.run_lake --without commit-over-its-base     a clause left out: schedules until that shows
    python -m chaos.run_lake --guards                           each of the tables' clauses left out in turn

Exit status: 0 no difference (with --guards: one for each), 1 otherwise, 2 wrong usage, 130 Ctrl-C.
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chaos.guards import Guard
from chaos.lake_guards import BY_NAME, GUARDS
from chaos.mutation import install
from chaos.run import positive

FOUND = "found after"
SCHEDULES_OF_GUARD = 300
"""Without a difference in so many, a guard counts as not needed."""
SCHEDULES_OF_KEPT = 60
"""So many, when it was found out before that it is not."""


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    logging.getLogger("pyiceberg").disabled = True  # it tells of every simulated failure
    try:
        if options.guards:
            return _expose_all()
        if options.without:
            install(BY_NAME[options.without].without)
        return _run(options)
    except KeyboardInterrupt:
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="chaos-lake", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=positive, default=100, help="number of schedules (default: %(default)s)")
    add("--seed0", type=int, default=0, help="the first one's seed (default: %(default)s)")
    add("--without", choices=BY_NAME, metavar="GUARD", help="leave a clause out, and stop where that shows")
    add("--guards", action="store_true", help="leave out each clause of the tables in turn")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> int:
    # The library is imported here: by now a clause may be left out of it.
    from chaos.lake_simulation import schedule  # noqa: PLC0415

    faults, different, events = 0, 0, Counter[str]()
    for number, seed in enumerate(range(options.seed0, options.seed0 + options.seeds), 1):
        with tempfile.TemporaryDirectory(prefix="headrace-chaos-") as folder:
            world = schedule(seed, Path(folder)).world
        faults += world.calls.faults
        events += world.events
        if options.seeds == 1:
            print("\n".join(world.calls.story))
        if world.watch.differences:
            different += 1
            print(f"seed {seed} differs: {'; '.join(world.watch.differences)}")
            if options.without:
                print(f"{FOUND} {number}")
                return 1
    print("besides: " + ", ".join(f"{name} {count:,}" for name, count in events.most_common()))
    print(f"{options.seeds:,} schedules, {faults:,} faults, {different} differences")
    return 1 if different else 0


def _expose_all() -> int:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        wrong = list(pool.map(_as_expected, GUARDS)).count(False)
    print(f"{len(GUARDS)} guards of the tables, {wrong} not as expected")
    return 1 if wrong else 0


def _as_expected(guard: Guard) -> bool:
    """Whether leaving it out shows, if it is needed; in a process of its own: the library is another one there."""
    schedules = SCHEDULES_OF_GUARD if guard.needed else SCHEDULES_OF_KEPT
    command = [sys.executable, "-m", "chaos.run_lake", "--without", guard.name, "--seeds", str(schedules)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *told, last = done.stdout.strip().splitlines() or [done.stderr.strip()[-300:]]
    exposed = done.returncode == 1 and last.startswith(FOUND)
    effect = told[-1] if exposed else f"nothing; kept: {guard.why_kept or last}"
    count = last.removeprefix(FOUND) if exposed else "-"
    print(f"{guard.name:<34} {count:>5}  {guard.clause}\n{'':42}without it: {effect[:150]}", flush=True)
    return exposed is guard.needed


if __name__ == "__main__":
    sys.exit(main())
