"""Most memory that a process needs that imports a handler and handles three events: `peak_memory.py FUNCTION`.

Prints [before, peak] in MB. The clients for AWS are loaded besides, as they would be in Lambda; the outputs, which
would be in S3, stay in memory, so the figure is too high rather than too low.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import ours

EVENTS = 3
_MAKE_EVENT = "import inputs, sys; print(getattr(inputs, sys.argv[1])(int(sys.argv[2]), 1))"
# ru_maxrss is in KiB, on macOS in bytes.
_UNITS_PER_MB = 1_000_000 if sys.platform == "darwin" else 1_000_000 / 1024


def peak_mb() -> float:
    """The most memory that this process had until now, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _UNITS_PER_MB


def _event(kind: str, number: int) -> str:
    # In a process of its own: making an event needs more memory than handling it.
    command = [sys.executable, "-c", _MAKE_EVENT, kind, str(number)]
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout


def _load_aws_clients() -> None:
    os.environ.setdefault("AWS_REGION", "us-east-1")
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    # Both are on the path of the functions, which `ours` adds.
    import stores  # noqa: PLC0415
    from headrace.settings import Settings  # noqa: PLC0415

    settings = Settings(checkpoints="dynamodb:checkpoints", lake="s3://lake-bucket")
    stores.checkpoint_store(settings)
    stores.outbox(settings)


def main() -> None:
    """Measure one function."""
    (function,) = sys.argv[1:]
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    # The handlers log to standard output.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    handler = ours.Handler(function)
    _load_aws_clients()
    before_mb = peak_mb()
    for number in range(EVENTS):
        handler.handle(json.loads(_event("log_lines" if function == "logs" else "clicks", number)))
    print(json.dumps([before_mb, peak_mb()]), file=answer)


if __name__ == "__main__":
    main()
