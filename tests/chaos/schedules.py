"""Schedules run, one after the other or on all processors, and what they say together."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from chaos.calls import Fault
from chaos.choices import Choices, shrunk
from chaos.invariants import DIFFERS
from chaos.second_opinion import Case, opinion
from chaos.simulation import Simulation
from chaos.verdict import judge
from chaos.world import World

CHUNK = 50
"""Schedules that one process runs at a time: DuckDB looks at all of them at once."""


@dataclass
class Findings:
    """What some schedules say."""

    schedules: int = 0
    partitions: int = 0
    rows: int = 0
    """Compared with the oracle's."""
    coverage: Counter[tuple[str, Fault]] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    confirmed: Counter[str] = field(default_factory=Counter)
    """Rows that DuckDB found as well, by kind of window."""
    windows: Counter[str] = field(default_factory=Counter)
    """What came out of each kind of window: `hopping`, `hopping late`, `sessions early`, `sessions retracted`,
    `alerts surge`."""
    differences: dict[int, list[str]] = field(default_factory=dict)
    """Seed to what differs."""

    @property
    def faults(self) -> int:
        """How many happened."""
        return self.coverage.total()

    @property
    def invocations_per_partition(self) -> float:
        """Batches that a partition had records in, of invocations that began."""
        return self.events["partitions delivered to"] / max(1, self.partitions)

    @property
    def faults_per_schedule(self) -> float:
        """On average."""
        return self.faults / max(1, self.schedules)

    def __iadd__(self, other: "Findings") -> Self:
        """Take the other's in."""
        self.schedules += other.schedules
        self.partitions += other.partitions
        self.rows += other.rows
        self.coverage += other.coverage
        self.steps += other.steps
        self.events += other.events
        self.confirmed += other.confirmed
        self.windows += other.windows
        self.differences |= other.differences
        return self


def run(seed0: int, seeds: int, processes: int, chunk: int = CHUNK) -> Iterator[Findings]:
    """Run the schedules of the seeds from `seed0` on, and answer the findings chunk by chunk."""
    chunks = [range(start, min(start + chunk, seed0 + seeds)) for start in range(seed0, seed0 + seeds, chunk)]
    if processes == 1:
        yield from map(run_chunk, chunks)
        return
    with ProcessPoolExecutor(processes) as pool:
        try:
            yield from pool.map(run_chunk, chunks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_chunk(seeds: Sequence[int]) -> Findings:
    """Run these, and ask DuckDB about all of them."""
    findings = Findings()
    cases: list[Case] = []
    for seed in seeds:
        simulation = Simulation(Choices(seed))
        cases += played(simulation, seed)
        _add(findings, simulation.world, seed)
    found = opinion(cases)
    findings.confirmed += found.confirmed
    findings.rows = sum(rows.total() for case in cases for rows in case.judged.expected.tables.values())
    findings.windows = sum((_windows(case) for case in cases), Counter())
    for seed, text in found.differences:
        findings.differences.setdefault(seed, []).append(f"second opinion: {text}")
    return findings


def _windows(case: Case) -> Counter[str]:
    found: Counter[str] = Counter()
    for output in case.judged.expected.operators.values():
        kind = output.declared.kind
        found[kind] += output.rows.total()
        for what, rows in (("late", output.late), ("early", output.early), ("retracted", output.taken_back)):
            found[f"{kind} {what}"] += rows.total()
        found += Counter(f"alerts {rule}" for _, rule, *_ in output.alerts.elements())
        if output.declared.top is not None:
            found[f"{kind} top"] += output.rows.total()
    return found


def played(simulation: Simulation, seed: int = 0) -> list[Case]:
    """Run one schedule and compare; its watch has the differences."""
    try:
        simulation.run()
        return [Case(seed, judged) for judged in judge(simulation.world)]
    except Exception as error:  # noqa: BLE001 - a schedule that breaks the harness is a finding too
        simulation.world.watch.difference(f"{type(error).__name__}: {error}")
        return []


def _add(findings: Findings, world: World, seed: int) -> None:
    findings.schedules += 1
    findings.partitions += len(world.watch.history)
    findings.coverage += world.calls.coverage
    findings.steps += world.calls.steps
    findings.events += world.events + sum((Counter(topic.kinds) for topic in world.topics), Counter())
    if world.watch.differences:
        findings.differences[seed] = world.watch.differences


@dataclass
class Story:
    """A failing schedule made as simple as it can be, and told."""

    differences: list[str]
    lines: list[str]
    decisions: int
    """How many are left that are not the harmless ones."""


def story(seed: int) -> Story | None:
    """The shortest schedule that fails as the seed's does; None if that one does not fail by itself."""
    choices = Choices(seed)
    simulation = Simulation(choices)
    played(simulation)
    if not simulation.world.watch.differences:
        return None
    kind = _kind(simulation.world.watch.differences[0])

    def fails(script: Sequence[int]) -> bool:
        candidate = Simulation(Choices(script=script))
        played(candidate)
        return kind in map(_kind, candidate.world.watch.differences)

    script = shrunk(choices.made, fails)
    simplest = Simulation(Choices(script=script))
    played(simplest)
    lines = simplest.world.calls.story
    end = max(number for number, line in enumerate(lines) if line.startswith(DIFFERS)) + 1
    return Story(simplest.world.watch.differences, lines[:end], sum(map(bool, script)))


def _kind(difference: str) -> str:
    """What is the same of a difference whatever its rows, keys and numbers are."""
    words = difference.partition(": [")[0].split()
    return " ".join(word for word in words if not any(character.isdigit() or character in "/#'" for character in word))
