"""The environment of the counterparts that the project itself must not depend on: `peers/`, with a lock of its own."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from measurement import Unavailable

PEERS = Path(__file__).with_name("peers")
OTHER_ENVIRONMENTS = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONHOME", "PYTHONPATH")
"""Would have another environment made, or another's packages found."""


@cache
def python() -> str:
    """Its interpreter; the environment is made or refreshed first, from the package registry.

    Raises:
        Unavailable: it cannot be made; uv's own message is above.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OTHER_ENVIRONMENTS}
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "sync", "--frozen", "--quiet", "--project", PEERS, "--python", sys.executable]
    if subprocess.run(command, env=environment, check=False).returncode:
        raise Unavailable("the counterparts' environment cannot be made: they need Python 3.11 or 3.12")
    return str(PEERS / ".venv" / "bin" / "python")
