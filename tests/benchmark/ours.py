"""Our handlers as they are deployed, on stores in memory."""

import atexit
import importlib
import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import orders
from inputs import AVSC

from headrace.topology import Topology

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
ENVIRONMENT = {
    "HEADRACE_SESSION_GAP_MS": "300000",
    "HEADRACE_LANDING_CODECS": "clicks=json:clicks.avsc,orders=json:orders.avsc",
    "POWERTOOLS_SERVICE_NAME": "benchmark",
    "POWERTOOLS_METRICS_NAMESPACE": "Headrace",
}
CONTEXT = SimpleNamespace(
    function_name="benchmark",
    memory_limit_in_mb=1024,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:benchmark",
    aws_request_id="00000000-0000-0000-0000-000000000000",
)


class Handler:
    """One function's handler: its own code under its own decorators.

    One decorator is left out: stores in memory mean a dry run, which prints every row.
    """

    def __init__(
        self,
        function: str,
        change: Callable[[Topology], Topology] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Import the handler.

        Args:
            function: its package.
            change: what is computed instead of the function's own topology.
            environment: of the function, besides `ENVIRONMENT`.
        """
        os.environ.update({**ENVIRONMENT, **(environment or {})})
        if str(FUNCTIONS) not in sys.path:
            sys.path.insert(0, str(FUNCTIONS))
        if function == "landing":
            importlib.import_module("landing.topology").SCHEMAS = _schemas()
        self._app = importlib.import_module(f"{function}.app")
        if change:
            self._app.TOPOLOGY = change(self._app.TOPOLOGY)
        self.pipeline = self._app.pipeline
        undecorated = inspect.unwrap(self._app.lambda_handler)
        self._handler = self._app.logger.inject_lambda_context(self._app.metrics.log_metrics(undecorated))
        stores = importlib.import_module("stores")
        self._outbox = stores.outbox(self._app.settings)
        self._checkpoints = stores.checkpoint_store(self._app.settings)

    def handle(self, event: dict[str, Any] | bytes) -> None:
        """Process one event until everything is published."""
        self._handler(event, CONTEXT)

    def run(self, events: Iterable[dict[str, Any]]) -> None:
        """Process all events, then close what is open by a tick, as the sweeper does when nothing comes any more."""
        for event in events:
            self.handle(event)
        for checkpoint in self._checkpoints.checkpoints(self._app.settings.application):
            self.pipeline.tick(checkpoint)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every published file."""
        for key in self._outbox.keys("lake/"):
            yield "/".join(key.split("/")[2:-3]), self._outbox.read(key)


def _schemas() -> Path:
    """The functions' schemas and the benchmark's in one folder."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    for path in (AVSC, orders.AVSC):
        shutil.copy(path, folder)
    return folder


def reading_avro(topology: Topology) -> Topology:
    """The same over Avro payloads."""
    from headrace import schema  # noqa: PLC0415 - with fastavro, only here
    from headrace.avro import AvroCodec  # noqa: PLC0415

    codec = AvroCodec(topology.codec.schema, schema.load(AVSC))
    return msgspec.structs.replace(topology, codec=codec)
