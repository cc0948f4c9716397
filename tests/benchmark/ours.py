"""Our handlers as they are deployed, on stores in memory."""

import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
ENVIRONMENT = {
    "HEADRACE_SESSION_GAP_MS": "300000",
    "HEADRACE_LANDING_CODECS": "clicks=json:clicks.avsc,logs=log",
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

    def __init__(self, function: str) -> None:
        os.environ.update(ENVIRONMENT)
        if str(FUNCTIONS) not in sys.path:
            sys.path.insert(0, str(FUNCTIONS))
        app = importlib.import_module(f"{function}.app")
        undecorated = inspect.unwrap(app.lambda_handler)
        self._handler = app.logger.inject_lambda_context(app.metrics.log_metrics(undecorated))
        self._outbox = importlib.import_module("stores").outbox(app.settings)

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is published."""
        self._handler(event, CONTEXT)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every published file."""
        for key in self._outbox.keys("lake/"):
            yield "/".join(key.split("/")[2:-3]), self._outbox.read(key)
