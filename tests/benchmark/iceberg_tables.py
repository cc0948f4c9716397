"""Iceberg tables' upkeep: committing and compacting a landed hour of 2,000 files, beside what others have for it.

The hour is made once: batches of clicks through the landing pipeline, a quarter of a batch per file, their files under
2,000 names of 16 partitions. (So offsets repeat from file to file, which costs neither side anything.) Committing is
compared with pyiceberg's own `add_files`, compacting with one DuckDB `copy` on one thread with the same codec. Bytes
are those of the small files. Each side has a process of its own: `iceberg_tables.py SIDE FOLDER` prints its figures.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measurement import Measurement, Target
from peak_memory import peak_mb

FILES, PARTITIONS, BATCHES, SLICES = 2000, 16, 12, 4
RUNS = 1
"""Either side takes some 15 s of CPU."""
MB = 1_000_000
HOUR_MS = 3_600_000
RATE = Target("ours_value", at_least=150, informative=True)
"""Of the plan. Not reached by decoding and encoding anything, ours or DuckDB's: see docs/lake.md."""


def measurements() -> Iterator[Measurement]:
    """Both, and the peak of memory."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        hour = Path(folder, "hour")
        _in_process("make", hour)
        runs = [{side: _on_a_copy(side, hour, Path(folder, "run")) for side in ("ours", "theirs")} for _ in range(RUNS)]
    of = {
        (side, name): [run[side][name] for run in runs]
        for side in ("ours", "theirs")
        for name in ("commit_s", "compact_mb_s", "peak_mb")
    }
    details = {"files": FILES, "input_mb": runs[0]["ours"]["input_mb"], "rows": runs[0]["ours"]["rows"]}
    yield Measurement(
        "commit 1,000 files to Iceberg", "s CPU", of["ours", "commit_s"], "add_files", of["theirs", "commit_s"]
    )
    yield Measurement(
        "compact an hour",
        "MB of Parquet/s CPU",
        of["ours", "compact_mb_s"],
        "duckdb",
        of["theirs", "compact_mb_s"],
        RATE,
        details,
    )
    yield Measurement("peak memory, compaction", "MB", of["ours", "peak_mb"], target=Target("ours_value", below=512))


def _on_a_copy(side: str, hour: Path, run: Path) -> dict[str, float]:
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(hour, run)
    return _in_process(side, run)


def _in_process(side: str, folder: Path) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, __file__, side, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def make(folder: Path) -> dict[str, float]:
    import inputs

    sys.path.insert(0, str(Path(__file__).parents[2] / "functions"))
    from headrace.checkpoint import (
        Checkpoint,
        CheckpointKey,
        MemoryCheckpointStore,
    )
    from headrace.folder import FolderCheckpointStore
    from headrace.lake import read_final_key
    from headrace.objects import open_lake
    from headrace.outbox import MemoryOutbox
    from headrace.pipeline import Pipeline
    from headrace.settings import Settings
    from landing.topology import topologies

    outbox = MemoryOutbox()
    landing = Pipeline(
        "landing", topologies(Settings(landing_codecs={"clicks": "json:clicks.avsc"})), MemoryCheckpointStore(), outbox
    )
    for number in range(BATCHES):
        batch = json.loads(inputs.clicks(number, 1))
        ((place, records),) = batch["records"].items()
        size = len(records) // SLICES
        for start in range(0, len(records), size):
            landing.handle({**batch, "records": {place: records[start : start + size]}})
    contents: dict[int, list[bytes]] = {}
    for key in outbox.keys("lake/landing/clicks"):
        name = read_final_key(key)
        contents.setdefault(name.hour_ms, []).append(outbox.read(key))
    hour_ms, files = max(contents.items(), key=lambda item: len(item[1]))
    day = time.strftime("date=%Y-%m-%d/hour=%H", time.gmtime(hour_ms / 1000))
    target = folder / "lake" / "landing" / "clicks" / day
    target.mkdir(parents=True)
    for number in range(FILES):
        partition, version = number % PARTITIONS, number // PARTITIONS + 1
        (target / f"1-clicks-{partition}-{version}-0.parquet").write_bytes(files[number % len(files)])
    store = FolderCheckpointStore(folder / "checkpoints")
    for partition in range(PARTITIONS):
        versions = FILES // PARTITIONS
        key = CheckpointKey("headrace", "landing", "1", "clicks", partition)
        totals = {"files.clicks": versions}
        store.commit(Checkpoint(key, versions, 0, 1, 0, 0, "", totals=totals), 0)
    open_lake(f"file:{folder}")
    return {}


def ours(folder: Path) -> dict[str, float]:
    import pyarrow as pa

    from headrace.folder import FolderCheckpointStore
    from headrace.objects import open_lake
    from headrace_iceberg.committer import Committer
    from headrace_iceberg.compaction import Compaction, Rules
    from headrace_iceberg.tables import TableId, Tables, sql_catalog

    pa.set_cpu_count(1)
    lake = f"file:{folder}"
    tables = Tables(sql_catalog(folder / "iceberg.db"), "headrace", lake)
    checkpoints = FolderCheckpointStore(folder / "checkpoints")
    committer = Committer(tables, open_lake(lake), checkpoints, application="headrace", pipeline="landing")
    run, commit_s = _timed(committer.run)
    run.raise_failures()
    assert run.added[0].files == FILES
    failures: dict[str, Exception] = {}
    compaction = Compaction(tables, Rules(), lambda: 2**52)
    done, compact_s = _timed(lambda: compaction.run(TableId("landing", "clicks", "1"), failures))
    assert (failures, done.files_before) == ({}, FILES)
    return {
        "commit_s": commit_s * 1000 / FILES,
        "compact_mb_s": done.bytes_before / MB / compact_s,
        "peak_mb": peak_mb(),
        "input_mb": done.bytes_before / MB,
        "rows": run.added[0].rows,
    }


def theirs(folder: Path) -> dict[str, float]:
    import duckdb
    import pyarrow.parquet as pq
    from pyiceberg.catalog import load_catalog

    files = sorted(str(path) for path in folder.glob("lake/landing/clicks/*/*/*.parquet"))
    catalog = load_catalog("peer", type="sql", uri=f"sqlite:///{folder}/peer.db", warehouse=f"file://{folder}/peer")
    catalog.create_namespace("peer")
    table = catalog.create_table("peer.clicks", pq.read_schema(files[0]))
    _, commit_s = _timed(lambda: table.add_files([f"file://{path}" for path in files]))
    connection = duckdb.connect(config={"threads": 1, "memory_limit": "2GB"})
    copy = f"copy (select * from read_parquet(?)) to '{folder}/out.parquet' (format parquet, compression zstd)"
    _, compact_s = _timed(lambda: connection.execute(copy, [files]))
    size = sum(Path(path).stat().st_size for path in files)
    return {"commit_s": commit_s * 1000 / FILES, "compact_mb_s": size / MB / compact_s, "peak_mb": peak_mb()}


def _timed(action: Callable[[], object]):
    start = time.process_time()
    result = action()
    return result, time.process_time() - start


if __name__ == "__main__":
    print(json.dumps({"make": make, "ours": ours, "theirs": theirs}[sys.argv[1]](Path(sys.argv[2]))))
