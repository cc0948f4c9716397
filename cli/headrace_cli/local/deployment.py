"""The functions of this project's template, set up to run on this machine."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from headrace_cli.audit.expectation import Rules
from headrace_cli.errors import CommandError
from headrace_cli.local.broker import RunBroker
from kafka_esm import Function, InProcessInvoker, Invoker, RuntimeInvoker, SamTemplate
from kafka_esm import Mapping as SourceMapping

Runtime = Literal["inprocess", "rie"]
"""The functions run in this process, or under Lambda's own runtime client and interface emulator."""
LogLine = Callable[[str], None]

CHAOS_BATCH_SIZE = 2_000
"""Under chaos, so that there are enough batches for everything to happen to."""

ROOT = Path(__file__).resolve().parents[3]
"""The checkout."""
SWEEPER = "SweeperFunction"
BUILD_TIMEOUT_S = 900

_TEMPLATE = ROOT / "template.yaml"
_BUILD = ROOT / ".aws-sam" / "build-host"


class Deployment:
    """What `sam deploy` would make of the template, with the stores and the broker of this machine."""

    def __init__(self, broker: RunBroker, stores: Mapping[str, str], runtime: Runtime, *, chaos: bool = False) -> None:
        """Read the template.

        Args:
            broker: what the mappings read.
            stores: environment variables that say where the stores are.
            runtime: where functions run; `rie` needs `build_for_runtime` before.
            chaos: whether faults will be injected: many small batches then.

        Raises:
            CommandError: there is no template.
            TemplateError: it cannot be used.
        """
        if not _TEMPLATE.is_file():
            raise CommandError(f"no {_TEMPLATE}: this command runs the functions of a checkout of the project")
        overrides = {
            "ClicksTopic": broker.roles.clicks,
            "LogsTopic": broker.roles.logs,
            "ConsumerGroupPrefix": broker.group_prefix,
            # Nobody waits five seconds for the last batch of a demo.
            "BatchingWindowSeconds": "1",
        }
        if chaos:
            overrides["BatchSize"] = str(CHAOS_BATCH_SIZE)
        self._runtime = runtime
        self._environment = {
            **stores,
            "HEADRACE_BOOTSTRAP_SERVERS": broker.servers,
            "HEADRACE_KAFKA_AUTH": "plaintext",
            # All that is produced has been consumed when the sweeper runs here: what is idle is over.
            "HEADRACE_IDLE_TIMEOUT_MS": "1",
            # And nothing more comes: that everything is silent then is no alert.
            "HEADRACE_DRAIN": "true",
        }
        self._template = SamTemplate.load(_TEMPLATE, overrides)

    def mappings(self) -> list[SourceMapping]:
        """The event source mappings, their functions set up for this machine."""
        return [replace(mapping, function=self._local(mapping.function)) for mapping in self._template.mappings()]

    def sweeper(self) -> Function:
        """The function that closes the windows of idle partitions."""
        return self._local(self._template.function(SWEEPER))

    @property
    def application(self) -> str:
        """Whose checkpoints the functions write."""
        return self.sweeper().environment["HEADRACE_APPLICATION"]

    def rules(self) -> Rules:
        """What the functions are configured with."""
        environment = self.sweeper().environment
        return Rules(**{name: int(environment[f"HEADRACE_{name.upper()}"]) for name in Rules._fields})

    def invoker(self, function: Function, on_log: LogLine) -> Invoker:
        """Start an execution environment."""
        if self._runtime == "inprocess":
            return InProcessInvoker(function)
        return RuntimeInvoker(function, layer_dirs=[_BUILD / "layer" / "python"], on_log=on_log)

    def _local(self, function: Function) -> Function:
        code = _BUILD / "functions" if self._runtime == "rie" else function.code_uri
        return replace(function, code_uri=code, environment={**function.environment, **self._environment})


def build_for_runtime(on_log: LogLine) -> None:
    """Build functions and layer for this machine, unless that was done from the same sources.

    Raises:
        CommandError: the build failed or took too long.
    """
    command = [sys.executable, "-c", "import build; build.build('host')"]
    try:
        done = subprocess.run(  # noqa: S603 - the project's own build, without its report
            command,
            cwd=ROOT / "scripts",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"the functions cannot be built: {error}") from error
    on_log(done.stdout)
    if done.returncode:
        last = (done.stdout.strip() or "no output").splitlines()[-1]
        raise CommandError(f"the functions cannot be built ({last}): see `make build-host`")
