"""Two contestants on the same input, turn by turn, each in a process of its own; both must write the same rows.

`Contest`: a turn is a batch. Batches follow one another, so windows and sessions of the ones before are open: the first
`WARM_UP` are not counted.

`RunContest`: a turn is a run over all batches, in fresh processes, and the end of the input closes what is open: for
counterparts that have no notion of a batch that is over.
"""

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import peer_interpreter
from measurement import Measurement, Published, Target

WORKER = Path(__file__).with_name("worker.py")
WARM_UP = 6
"""Batches until about as many sessions are closed by a batch as are opened."""
MOST_RUNS = 3
"""A run is as long as ten batches."""
PEERS = {"bytewax", "quix"}
"""Contestants that have an environment of their own."""

BESIDES = {"alerts", "pattern_minutes", "new_patterns"}
"""Tables that we write besides, at our own cost: no counterpart looks for what is in them."""

Answer = dict[str, Any]
Turn = tuple[Answer, Answer]
"""Ours and theirs."""


class Contest(NamedTuple):
    """Who competes with whom over what."""

    function: str
    counterpart: str
    input: str
    partitions: int
    target: Target | None = None
    warm_up: int = WARM_UP
    published: Published | None = None
    counterpart_input: str | None = None
    """Where the same rows come to it in another form."""

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
        ours, theirs = self._workers()
        with ours, theirs:
            turns = [(ours.ask(f"batch {n}"), theirs.ask(f"batch {n}")) for n in range(self.warm_up + repeats)]
            rows = self._same_rows(ours.ask("rows"), theirs.ask("rows"))
        return self._measurement(turns[self.warm_up :], rows)

    def _workers(self) -> tuple["Worker", "Worker"]:
        ours = Worker(self.function, self.input, self.partitions)
        return ours, Worker(self.counterpart, self.counterpart_input or self.input, self.partitions)

    def _measurement(self, turns: Sequence[Turn], rows: dict[str, int]) -> Measurement:
        return Measurement(
            self.name,
            "records per CPU second",
            [_speed(mine) for mine, _ in turns],
            self.counterpart,
            [_speed(other) for _, other in turns],
            self.target,
            {"event_bytes": turns[-1][0].get("event_bytes"), "mb_per_cpu_s": _mb_per_cpu_s(turns), "rows_equal": rows},
            self.published,
        )

    def _same_rows(self, ours: Answer, theirs: Answer) -> dict[str, int]:
        ours = {table: rows for table, rows in ours.items() if table not in BESIDES}
        if ours != theirs or not ours:
            raise SystemExit(f"{self.name}: {self.counterpart} wrote other rows: {theirs} against our {ours}")
        return {table: number for table, (number, _) in ours.items()}


class RunContest(Contest):
    """The same, over whole runs."""

    def measure(self, repeats: int) -> Measurement:
        """Let both run over as many batches as a contest of turns would have had, up to `MOST_RUNS` times.

        Raises:
            SystemExit: they did not write the same rows.
        """
        turns, rows = [], {}
        for _ in range(min(repeats, MOST_RUNS)):
            ours, theirs = self._workers()
            with ours, theirs:
                command = f"run {self.warm_up + MOST_RUNS}"
                turns.append((ours.ask(command), theirs.ask(command)))
                rows = self._same_rows(ours.ask("rows"), theirs.ask("rows"))
        return self._measurement(turns, rows)


class Worker:
    """A contestant's process."""

    def __init__(self, contestant: str, input_name: str, partitions: int) -> None:
        self._contestant = contestant
        python = peer_interpreter.python() if contestant in PEERS else sys.executable
        self._process = subprocess.Popen(
            [python, WORKER, contestant, input_name, str(partitions)],
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


def _mb_per_cpu_s(turns: Sequence[Turn]) -> float | None:
    """Of ours, by the events' size; None where there is no event."""
    rates = [mine["event_bytes"] / 1e6 / mine["cpu_s"] for mine, _ in turns if "event_bytes" in mine]
    return round(statistics.median(rates), 1) if rates else None


def _speed(answer: Answer) -> float:
    return float(answer["records"] / answer["cpu_s"])
