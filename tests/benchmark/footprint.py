"""What a function weighs: import time, unzipped layer, peak memory.

Imports and sizes are those of the host build (`make build-host`), which carries compiled bytecode, as Lambda's does.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from measurement import Measurement, Target

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "scripts"))

import artifacts  # noqa: E402 - scripts/ is no package

MB = 1_000_000
STORES = {
    "in memory": {},
    "on AWS": {
        "HEADRACE_CHECKPOINTS": "dynamodb:checkpoints",
        "HEADRACE_LAKE": "s3://lake-bucket",
        # Clients are only made: nothing is asked of them, so nobody looks at these.
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    },
}
"""Which stores the handlers open at import, and the settings for it."""

_TIMED_IMPORT = """
import importlib, sys, time
start = time.process_time()
importlib.import_module(sys.argv[1])
print(1000 * (time.process_time() - start))
"""


def measurements(repeats: int) -> Iterator[Measurement]:
    """All of them; see `run.py` for the targets' source."""
    for module in artifacts.handler_modules():
        for name, settings in STORES.items():
            times_ms = [_import_cpu_ms(module, settings) for _ in range(repeats)]
            # pyiceberg and pyarrow; it starts every few minutes on a schedule, not with a batch that waits.
            target = Target("ours_value", below=2000 if module.startswith("iceberg.") else 400)
            yield Measurement(f"import {module}, stores {name}", "ms CPU", times_ms, target=target)
    for layer, limit in (("layer", 90), ("iceberg-layer", 260)):
        layer_mb = artifacts.tree_bytes(artifacts.HOST_BUILD / layer) / MB
        yield Measurement(f"{layer}, unzipped", "MB", [layer_mb], target=Target("ours_value", below=limit))
    for function in ("clickstream", "landing", "logs"):
        before_mb, peak_mb = zip(*(_memory_mb(function) for _ in range(min(repeats, 3))), strict=True)
        details = {"before_the_first_event": max(before_mb)}
        target = Target("ours_value", below=256)
        yield Measurement(f"peak memory, {function}", "MB", peak_mb, target=target, details=details)


def _import_cpu_ms(module: str, settings: Mapping[str, str]) -> float:
    """CPU time of one import in a fresh interpreter that has what Lambda would give it and nothing else."""
    environment = artifacts._lambda_like_environment(artifacts.HOST_BUILD) | settings
    return float(_run([sys.executable, "-S", "-c", _TIMED_IMPORT, module], environment))


def _memory_mb(function: str) -> tuple[float, float]:
    """Before the first event and after the third."""
    before_mb, peak_mb = json.loads(_run([sys.executable, str(HERE / "peak_memory.py"), function], None))
    return before_mb, peak_mb


def _run(command: list[str], environment: Mapping[str, str] | None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:])} failed:\n{done.stderr.strip()}")
    return done.stdout.splitlines()[-1]
