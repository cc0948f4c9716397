"""Measures what was built: unzipped sizes, and the CPU time of a cold import of each handler.

Imports run against the host build alone (functions, layer, what the runtime brings), without this environment's
own packages: a module that the layer lacks is an error here, not in Lambda.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
HOST_BUILD = ROOT / ".aws-sam" / "build-host"
UNZIPPED_LIMIT_BYTES = 250 * 1024 * 1024
"""Lambda's limit for a function together with its layers."""

IMPORT_RUNS = 3

# CPU, not wall: the machine is shared. What the interpreter itself needs is not counted.
_TIMED_IMPORT = """
import importlib, sys, time
start = time.process_time_ns()
importlib.import_module(sys.argv[1])
print((time.process_time_ns() - start) // 1000)
"""


class Weight(NamedTuple):
    """One folder or file at the top of a layer, and its size."""

    name: str
    size_bytes: int


def tree_bytes(path: Path) -> int:
    """The unzipped size of a file or folder, in bytes."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def heaviest(folder: Path, count: int = 5) -> list[Weight]:
    """The largest entries at the top of a folder, largest first."""
    weights = [Weight(entry.name, tree_bytes(entry)) for entry in folder.iterdir()]
    return sorted(weights, key=lambda weight: -weight.size_bytes)[:count]


def handler_modules(host_build: Path = HOST_BUILD) -> list[str]:
    """The handler modules of a host build: one `app.py` per function."""
    return [f"{path.parent.name}.app" for path in sorted((host_build / "functions").glob("*/app.py"))]


def import_cpu_ms(module: str, host_build: Path = HOST_BUILD) -> float:
    """Median CPU time of importing a handler module in a fresh interpreter, in milliseconds.

    Raises:
        SystemExit: the module cannot be imported from the build; the interpreter's own message is shown.
    """
    return statistics.median(_import_once(module, host_build) for _ in range(IMPORT_RUNS))


def _import_once(module: str, host_build: Path) -> float:
    command = [sys.executable, "-S", "-c", _TIMED_IMPORT, module]
    done = subprocess.run(
        command,
        env=_lambda_like_environment(module, host_build),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise SystemExit(f"the built {module} cannot be imported:\n{done.stderr.strip()}")
    return int(done.stdout.splitlines()[-1]) / 1000


def _lambda_like_environment(module: str, host_build: Path) -> dict[str, str]:
    layer = "iceberg-layer" if module.startswith("iceberg.") else "layer"
    folders = ("functions", f"{layer}/python", "runtime/python")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(host_build / folder) for folder in folders),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HEADRACE_BOOTSTRAP_SERVERS": "localhost:9098",
        # As deployed: a dry run would leave out what the Iceberg function imports for its catalog.
        "HEADRACE_ICEBERG_CATALOG": "glue:headrace",
        "HEADRACE_LANDING_CODECS": "clicks=json:clicks.avsc,logs=log",
        "POWERTOOLS_METRICS_NAMESPACE": "Headrace",
    }
