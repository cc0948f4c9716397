"""How the cost of a commit grows with what is open: 1,000 to 1,000,000 sessions, each size in a process of its own.

What is measured is told by `open_sessions.py`. The counterpart of a batch is the same batch on an empty state. A mean
over the series is what a commit costs in the long run, compactions included; the worst commit is likely one.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from measurement import Measurement, Target

PROGRAM = Path(__file__).with_name("open_sessions.py")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
COMMITS, QUICK_COMMITS = 80, 10
JUDGED = SIZES[-1]
"""The size that targets are set for."""
WARM = Target("ratio", below=3)
COLD_LOAD = Target("ours_value", below=3_000)
KB = 1_000


class Curve(NamedTuple):
    """One size."""

    size: int

    @property
    def name(self) -> str:
        """How its measurements are called."""
        return f"state, {self.size:,} sessions open"

    def measurements(self, commits: int) -> Iterator[Measurement]:
        """All of its measurements.

        Raises:
            SystemExit: the program failed; its own message is above.
        """
        command = [sys.executable, PROGRAM, str(self.size), str(commits)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.name}: the measurement failed")
        yield from self._of(json.loads(done.stdout))

    def _of(self, found: dict[str, Any]) -> Iterator[Measurement]:
        warm_ms, empty_ms, written = found["warm_ms"], found["empty_ms"], found["bytes"]
        warm, cold_load = (WARM, COLD_LOAD) if self.size == JUDGED else (None, None)
        empty = "empty state"
        details = {"commits": len(warm_ms), "peak_mb": found["peak_mb"]}
        yield self._measurement("warm batch", warm_ms, empty, empty_ms, warm, details)
        yield self._measurement("mean batch", [statistics.mean(warm_ms)], empty, [statistics.mean(empty_ms)])
        yield self._measurement("worst batch", [max(warm_ms)], empty, [max(empty_ms)])
        yield self._measurement("cold batch", found["cold_ms"], empty, empty_ms[: len(found["cold_ms"])])
        yield self._measurement("cold load", found["cold_load_ms"], target=cold_load)
        details = {"mean": statistics.mean(written), "worst": max(written), "commits": len(written)}
        yield Measurement(f"{self.name}, written by a commit", "bytes", written, details=details)

    def _measurement(
        self,
        what: str,
        ours_ms: list[float],
        counterpart: str | None = None,
        counterpart_ms: list[float] | None = None,
        target: Target | None = None,
        details: dict[str, Any] | None = None,
    ) -> Measurement:
        name = f"{self.name}, {what}"
        return Measurement(name, "ms CPU", ours_ms, counterpart, counterpart_ms or (), target, details)


CURVES = [Curve(size) for size in SIZES]
