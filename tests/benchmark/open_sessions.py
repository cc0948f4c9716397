"""What a batch costs on a partition with so many sessions open: `open_sessions.py SIZE COMMITS`, one process each.

Every batch has 10,000 records of 245 bytes and touches 5,000 sessions (all of them, where there are fewer). After each
on the big state (warm: the pipeline did the turn before) comes the same batch on an empty one. A few times in the
series the pipeline is made anew on the same stores, as in a fresh execution environment, and gets first one record and,
made anew again, a whole batch (cold). Nothing closes, so all that is staged is state.

Prints one JSON object: CPU times in ms, and bytes, of each commit.
"""

import gc
import json
import random
import sys
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import ours
from inputs import CLICK_BYTES, NOON_MS, RECORDS
from peak_memory import peak_mb

from headrace import janitor
from headrace.checkpoint import Checkpoint, MemoryCheckpointStore
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.settings import Settings
from headrace.topology import Topology

TOUCHED = 5_000
FILL_EVENTS = 20
"""The state is filled in at most so many larger batches."""
COLD_STARTS = 5
GAP_MS = 86_400_000
WARM_ROWS = 2_000_000
"""More than are ever open: what stays in memory is the subject here."""
TWO_DAYS_MS = 2 * janitor.DAY_MS


class CountingOutbox(MemoryOutbox):
    """Counts the bytes that are staged."""

    written = 0

    def stage(self, objects: Mapping[str, bytes]) -> None:
        """See `Outbox.stage`."""
        self.written += sum(map(len, objects.values()))
        super().stage(objects)


class CountingStore(MemoryCheckpointStore):
    """Counts the bytes of the state that is in checkpoints."""

    written = 0

    def commit(self, checkpoint: Checkpoint, expected_version: int) -> None:
        """See `CheckpointStore.commit`."""
        self.written += len(checkpoint.state or b"")
        super().commit(checkpoint, expected_version)


class Partition:
    """One partition's stores, and the execution environment that works on them."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._outbox, self._store = CountingOutbox(), CountingStore()
        self.restart()

    def restart(self) -> None:
        """A fresh execution environment on the same stores."""
        self._pipeline = Pipeline(
            "clickstream", lambda _topic: self._topology, self._store, self._outbox, warm_rows=WARM_ROWS
        )

    def cpu_ms(self, event: dict[str, Any]) -> float:
        """Process an event."""
        start = time.process_time()
        self._pipeline.handle(event)
        return 1000 * (time.process_time() - start)

    def bytes_written(self) -> int:
        """By the commits since this was last asked. What no checkpoint names any more is then cleaned up."""
        written = self._outbox.written + self._store.written
        self._outbox.written = self._store.written = 0
        now_ms = time.time_ns() // 1_000_000 + TWO_DAYS_MS
        janitor.clean(self._outbox, self._outbox, self._store, application="headrace", now_ms=now_ms)
        return written


class Clicks:
    """Events of one click after the other."""

    def __init__(self) -> None:
        self._offset = 0

    def event(self, users: Iterable[int]) -> dict[str, Any]:
        """The parsed event of a click by each user."""
        records = [self._record(user) for user in users]
        return {"eventSource": "aws:kafka", "records": {"clicks-0": records}}

    def _record(self, user: int) -> dict[str, Any]:
        time_ms = NOON_MS + self._offset
        click = (
            f'{{"user_id":"user-{user:07}","page":"/product/{user % 500}","event_type":"view","timestamp":{time_ms}'
            f',"value":null,"referrer":"'
        )
        value = click.ljust(CLICK_BYTES - 2, "x") + '"}'
        self._offset += 1
        return {
            "topic": "clicks",
            "partition": 0,
            "offset": self._offset - 1,
            "timestamp": time_ms,
            "value": b64encode(value.encode()).decode(),
        }


def sessions_only() -> Topology:
    """The function's sessions, with a gap that closes none."""
    ours.Handler("clickstream")  # sets the path of the functions
    from clickstream.topology import topology  # noqa: PLC0415

    whole = topology(Settings(session_gap_ms=GAP_MS))
    (sessions,) = (operator for operator in whole.operators if operator.table == "sessions")
    return msgspec.structs.replace(whole, operators=(sessions,))


def touching(chance: random.Random, size: int) -> list[int]:
    """The users of a batch: as many clicks of each, in any order."""
    users = chance.sample(range(size), min(TOUCHED, size))
    clicks = users * (RECORDS // len(users))
    chance.shuffle(clicks)
    return clicks


def measure(size: int, commits: int) -> dict[str, Any]:
    """Fill the state, then do the series."""
    topology, clicks, chance = sessions_only(), Clicks(), random.Random(size)
    partition = Partition(topology)
    step = max(RECORDS, size // FILL_EVENTS)
    for first in range(0, size, step):
        partition.cpu_ms(clicks.event(range(first, min(first + step, size))))
        partition.bytes_written()
    result: dict[str, list[float]] = {name: [] for name in ("warm_ms", "empty_ms", "cold_ms", "cold_load_ms", "bytes")}
    for commit in range(commits):
        if commit % (commits // COLD_STARTS) == 0:
            partition.restart()
            result["cold_load_ms"].append(partition.cpu_ms(clicks.event([0])))
            partition.restart()
            result["cold_ms"].append(partition.cpu_ms(clicks.event(touching(chance, size))))
            partition.bytes_written()
        event = clicks.event(touching(chance, size))
        result["warm_ms"].append(partition.cpu_ms(event))
        result["bytes"].append(partition.bytes_written())
        result["empty_ms"].append(Partition(topology).cpu_ms(event))
    return {**result, "peak_mb": peak_mb()}


def main() -> None:
    """Measure one size."""
    size, commits = map(int, sys.argv[1:])
    # As `deployment.pipeline` sets it.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    print(json.dumps(measure(size, commits)))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
