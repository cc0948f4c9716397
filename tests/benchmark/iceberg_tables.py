"""Iceberg tables' upkeep: committing and compacting a landed hour of 2,000 files, beside what others have for it.

Two hours are made: one of full batches of clicks, a file of 0.43 MB each, and one of quarters of a batch, in files of
0.11 MB. Batches go through the landing pipeline, their files lie under 2,000 names of 16 partitions. (So offsets repeat
from file to file, which costs neither side anything.) Committing is compared with pyiceberg's own `add_files`,
compacting with one DuckDB `copy` on one thread with the same codec; pyarrow's decoding alone is told with it. Bytes are
those of the landed files. Each side has a process of its own: `iceberg_tables.py SIDE FOLDER` prints its figures.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from measurement import Measurement, Target
from peak_memory import peak_mb

FILES, PARTITIONS, BATCHES = 2000, 16, 12
SLICES = {"full batches": 1, "quarter batches": 4}
"""Files of a batch, by what they are called."""
RUNS = 1
"""Either side takes some 25 s of CPU."""
SIDES = ("ours", "theirs", "decoding")
MB = 1_000_000
HOUR_MS = 3_600_000
RATE = Target("ours_value", at_least=150, informative=True)
"""Of the plan, for full batches: with smaller files, what each costs by itself weighs more."""


def measurements() -> Iterator[Measurement]:
    """Committing and compacting both hours, and the peak of memory."""
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        hours = {name: _measured(Path(folder), slices) for name, slices in SLICES.items()}
    small = hours["quarter batches"]
    yield Measurement(
        "commit 1,000 files to Iceberg",
        "s CPU",
        [run["ours"]["commit_s"] for run in small],
        "add_files",
        [run["theirs"]["commit_s"] for run in small],
    )
    for name, runs in hours.items():
        yield Measurement(
            f"compact an hour of {name}",
            "MB of Parquet/s CPU",
            [run["ours"]["compact_mb_s"] for run in runs],
            "duckdb",
            [run["theirs"]["compact_mb_s"] for run in runs],
            RATE if name == "full batches" else Target("ratio", at_least=1),
            {"files": FILES, **{key: runs[0]["ours"][key] for key in ("input_mb", "rows")}, **runs[0]["decoding"]},
        )
    peaks = [max(run["ours"]["peak_mb"] for run in runs) for runs in zip(*hours.values(), strict=True)]
    yield Measurement("peak memory, compaction", "MB", peaks, target=Target("ours_value", below=512))


def _measured(folder: Path, slices: int) -> list[dict[str, dict[str, float]]]:
    hour = folder / "hour"
    _in_process("make", hour, str(slices))
    runs = [{side: _on_a_copy(side, hour, folder / "run") for side in SIDES} for _ in range(RUNS)]
    shutil.rmtree(hour)
    return runs


def _on_a_copy(side: str, hour: Path, run: Path) -> dict[str, float]:
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(hour, run, copy_function=os.link)  # landed files are never written again
    return _in_process(side, run)


def _in_process(side: str, folder: Path, *more: str) -> dict[str, float]:
    answer = subprocess.run(
        [sys.executable, __file__, side, str(folder), *more],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def make(folder: Path, slices: str) -> dict[str, float]:
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
        size = len(records) // int(slices)
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


def decoding(folder: Path) -> dict[str, float]:
    import pyarrow.parquet as pq

    files = list(folder.glob("lake/landing/clicks/*/*/*.parquet"))
    _, decode_s = _timed(lambda: [pq.ParquetFile(file).read(use_threads=False) and None for file in files])
    return {"pyarrow_decoding_alone_mb_s": sum(file.stat().st_size for file in files) / MB / decode_s}


def _timed(action: Callable[[], object]):
    start = time.process_time()
    result = action()
    return result, time.process_time() - start


if __name__ == "__main__":
    side, folder, *more = sys.argv[1:]
    action = {"make": make, "ours": ours, "theirs": theirs, "decoding": decoding}[side]
    print(json.dumps(action(Path(folder), *more)))
