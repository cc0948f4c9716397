"""`make chaos-guards`: leaves out each clause of the protocol in turn, and counts the schedules until that shows.

    python -m chaos.run_guards                          every guard
    python -m chaos.run_guards --guard skip-by-offset   one, with the story of what goes wrong without it

Exit status: 0 every guard that is needed was exposed (and no other), 1 otherwise, 2 wrong usage, 130 Ctrl-C.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from chaos.guards import BY_NAME, GUARDS, Guard
from chaos.run import positive

SCHEDULES = 3_000
"""Without a difference in so many, a guard counts as not needed."""
SCHEDULES_OF_KEPT = 500
"""So many, when it was found out before that it is not."""
_TESTS = Path(__file__).resolve().parents[1]


class Exposed(NamedTuple):
    """What leaving a guard out did."""

    guard: Guard
    schedules: int | None
    """Until the first difference; None: there was none."""
    difference: str
    story: list[str]

    @property
    def as_expected(self) -> bool:
        """Whether a guard that is needed was exposed, and one that is not was not."""
        return (self.schedules is not None) is self.guard.needed


def main() -> int:
    """Run what the command line asks for."""
    options = _options()
    chosen = [BY_NAME[name] for name in options.guard] or GUARDS
    wrong = 0
    try:
        for exposed in expose(chosen, options.schedules):
            wrong += not exposed.as_expected
            print(_as_json(exposed) if options.json else _line(exposed), flush=True)
            if exposed.story and not options.json:
                print("\n".join(f"  {line}" for line in exposed.story))
    except KeyboardInterrupt:
        return 130
    if not options.json:
        print(f"{len(chosen)} guards, {wrong} not as expected")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="chaos-guards", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("--guard", action="append", default=[], choices=BY_NAME, metavar="NAME", help="only this one; repeatable")
    add("--schedules", type=positive, default=SCHEDULES, help="at most, for each (default: %(default)s)")
    add("--json", action="store_true", help="print a JSON object per guard")
    return parser.parse_args()


def expose(guards: Sequence[Guard], schedules: int) -> Iterator[Exposed]:
    """What each guard's absence does, in their order."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(lambda guard: _in_a_process(guard, _limit(guard, schedules), told=len(guards) == 1), guards)


def _limit(guard: Guard, schedules: int) -> int:
    return schedules if guard.needed else min(schedules, SCHEDULES_OF_KEPT)


def _in_a_process(guard: Guard, schedules: int, *, told: bool) -> Exposed:
    """Of its own, because the library is another one there.

    Raises:
        RuntimeError: the guard cannot be left out.
    """
    arguments = [
        "--without",
        guard.name,
        "--seeds",
        str(schedules),
        "--first",
        "--json",
        *([] if told else ["--untold"]),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "chaos.run", *arguments],
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{guard.name}: {done.stderr.strip()[-500:]}") from None
    if not found["differences"]:
        return Exposed(guard, None, "", [])
    first = min(found["differences"], key=int)
    return Exposed(guard, int(first) + 1, found["differences"][first][0], found["stories"].get(first, []))


def _line(exposed: Exposed) -> str:
    guard = exposed.guard
    count = "-" if exposed.schedules is None else exposed.schedules
    effect = exposed.difference[:120] if exposed.schedules else f"nothing; kept: {guard.why_kept or 'NOBODY KNOWS WHY'}"
    return f"{guard.name:<26} {count:>5}  {guard.clause}\n{'':34}without it: {effect}"


def _as_json(exposed: Exposed) -> str:
    guard = exposed.guard
    facts = {"guard": guard.name, "clause": guard.clause, "schedules": exposed.schedules, "needed": guard.needed}
    return json.dumps({**facts, "difference": exposed.difference, "story": exposed.story})


if __name__ == "__main__":
    sys.exit(main())
