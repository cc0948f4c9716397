"""State that stays in memory from one turn of a partition to the next.

A Lambda execution environment often gets the same partitions again. What it keeps of one is right for exactly the
checkpoint that it committed: for any other, somebody else was faster, and the state has to be loaded.
"""

from headrace.checkpoint import Checkpoint, CheckpointKey
from headrace.topology import Logic, Topology


class WarmStates:
    """The logic of partitions, each with the checkpoint that it is the state of."""

    def __init__(self, rows: int) -> None:
        """Keep nothing yet.

        Args:
            rows: of state, of all partitions together, that may be kept; the least recently used go first.
        """
        self._limit = rows
        self._kept: dict[CheckpointKey, tuple[Checkpoint, Logic]] = {}

    def take(self, checkpoint: Checkpoint, topology: Topology) -> Logic | None:
        """The logic at exactly this checkpoint, published or not; None: load it.

        It is not kept any longer: a turn changes it, and may fail before its commit.
        """
        committed, logic = self._kept.pop(checkpoint.key, (None, None))
        if committed is None or logic is None or logic.topology is not topology:
            return None
        return logic if committed.published() == checkpoint.published() else None

    def keep(self, committed: Checkpoint, logic: Logic) -> None:
        """Keep the logic that has just been committed, as far as there is room."""
        if logic.open_rows > self._limit:
            return  # there is no room for it, whoever makes room
        self._kept[committed.key] = committed, logic
        rows = sum(kept.open_rows for _, kept in self._kept.values())
        for key in list(self._kept):
            if rows <= self._limit:
                break
            rows -= self._kept.pop(key)[1].open_rows
