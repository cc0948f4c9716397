"""One schedule of a lake: functions land while others commit to Iceberg tables, compact and expire them.

All of them are killed, disturbed and overtaken at every call. At the end of the calm stretch one run of each is enough,
and every offset is once in the landing prefix, by pyarrow and by DuckDB, and once in the Iceberg table.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
from chaos.choices import Choices
from chaos.lake_world import LakeWorld, Place, dead
from chaos.schedules import played
from chaos.simulation import Simulation
from chaos.topic import TOPIC
from chaos.world import DAY_MS


class LakeSimulation(Simulation):
    """One schedule at work."""

    world: LakeWorld
    steps = 700

    def __init__(self, choices: Choices, root: Path) -> None:
        super().__init__(choices, LakeWorld(choices, root))

    def run(self) -> None:
        """Chaos, calm, and one run of each function over what is there."""
        super().run()
        for start in (self.world.start_commit, *[self.world.start_compaction] * 3, self.world.start_expiry):
            start()
            self.world.run_all()
        self.world.time_passes(4 * DAY_MS)
        self.world.start_expiry()
        self.world.run_all()
        self._compare()

    def actions(self) -> list[tuple[int, Callable[[], None]]]:
        """Those of any schedule, and the functions of the tables."""
        world, actions = self.world, super().actions()
        _, go_on = actions[0]
        return [*actions, (200, go_on), (20, world.start_commit), (12, world.start_compaction), (6, world.start_expiry)]

    def _compare(self) -> None:
        world = self.world
        letters, applied = dead(world), _applied(world)
        for name, rows in {
            "pyarrow": world.reader.prefix,
            "DuckDB": _by_duckdb(world),
            "Iceberg": world.reader.table,
        }.items():
            if rows + letters != applied:
                missing, more = applied - (rows + letters), (rows + letters) - applied
                world.watch.difference(f"{name} lacks {sorted(missing)} and has besides {sorted(more)}")


def schedule(seed: int, root: Path) -> LakeSimulation:
    """Run one, in an empty folder; its watch has the differences."""
    simulation = LakeSimulation(Choices(seed), root)
    played(simulation, seed)
    return simulation


def _applied(world: LakeWorld) -> Counter[Place]:
    """Every record that a checkpoint says is behind it."""
    return Counter(
        (checkpoint.key.generation, checkpoint.key.partition, record.offset)
        for checkpoint in world.watch.checkpoints()
        for record in world.topic_of(checkpoint.key.generation).logs[checkpoint.key.partition].records
        if record.offset < checkpoint.next_offset
    )


def _by_duckdb(world: LakeWorld) -> Counter[Place]:
    """The rows of the landing prefix; the generation is the first part of a file's name."""
    files = [str(path) for path in world.reader.files(TOPIC)]
    if not files:
        return Counter()
    query = (
        "select split_part(parse_filename(filename), '-', 1), _partition, _offset from read_parquet(?, filename=true)"
    )
    return Counter(duckdb.execute(query, [files]).fetchall())
