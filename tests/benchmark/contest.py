"""Two contestants on the same batches, turn by turn, each in a process of its own.

Batches follow one another, so windows and sessions of the ones before are open: the first `WARM_UP` are not
counted. Afterwards both must have written the same rows.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, Self

from measurement import Measurement, Target

WORKER = Path(__file__).with_name("worker.py")
WARM_UP = 6
"""Batches until about as many sessions are closed by a batch as are opened."""


class Contest(NamedTuple):
    """Who competes with whom over what."""

    function: str
    counterpart: str
    input: str
    partitions: int
    target: Target | None = None

    @property
    def name(self) -> str:
        """How the measurement is called."""
        plural = "s" if self.partitions > 1 else ""
        return f"{self.function}, {self.partitions} partition{plural}, against {self.counterpart}"

    def measure(self, repeats: int) -> Measurement:
        """Let both handle `repeats` batches after the warm-up.

        Raises:
            SystemExit: they did not write the same rows, so the figures would mean nothing.
        """
        ours, theirs = (Worker(who, self.input, self.partitions) for who in (self.function, self.counterpart))
        with ours, theirs:
            answers = [(ours.ask(f"batch {n}"), theirs.ask(f"batch {n}")) for n in range(WARM_UP + repeats)]
            rows = self._same_rows(ours.ask("rows"), theirs.ask("rows"))
        counted = answers[WARM_UP:]
        return Measurement(
            self.name,
            "records per CPU second",
            [_speed(mine) for mine, _ in counted],
            self.counterpart,
            [_speed(other) for _, other in counted],
            self.target,
            {"event_bytes": answers[-1][0]["event_bytes"], "rows_equal": rows},
        )

    def _same_rows(self, ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, int]:
        if ours != theirs or not ours:
            raise SystemExit(f"{self.name}: {self.counterpart} wrote other rows: {theirs} against our {ours}")
        return {table: number for table, (number, _) in ours.items()}


class Worker:
    """A contestant's process."""

    def __init__(self, contestant: str, input_name: str, partitions: int) -> None:
        self._contestant = contestant
        self._process = subprocess.Popen(
            [sys.executable, WORKER, contestant, input_name, str(partitions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str) -> Any:
        """Give a command, wait for the answer.

        Raises:
            SystemExit: the contestant died; its own error message is above.
        """
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # it is dead: the missing answer tells
            print(command, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self._contestant} failed at {command!r}")
        return json.loads(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


def _speed(answer: dict[str, float]) -> float:
    return answer["records"] / answer["cpu_s"]
