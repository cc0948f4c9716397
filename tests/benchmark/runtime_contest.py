"""Two contestants under the real Lambda runtime client, its own parse of the event included.

The client and everything that the function does are in one process, whose CPU time is read from outside. Ours gets the
raw bytes, as with `RawEvents=true`; the detail `parsed_value` is ours with the runtime's parse, as without. The
counterpart gets the parsed event: it knows no other.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import worker
from contest import Answer, Contest
from measurement import Measurement

from kafka_esm import Function, RuntimeInvoker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / ".aws-sam" / "build-host"

APP = """
import os
import worker

contestant = worker.CONTESTANTS[os.environ["CONTESTANT"]]()

def handler(event, context):
    if len(event) > 2:  # bytes, or an event's four members
        contestant.handle(event)
        return None
    return worker.digests(contestant)
"""


class RuntimeContest(Contest):
    """A contest whose turns are invocations."""

    @property
    def name(self) -> str:
        """How the measurement is called."""
        return f"{super().name}, in the Lambda runtime"

    def measure(self, repeats: int) -> Measurement:
        """Let all handle `repeats` events after the warm-up.

        Raises:
            SystemExit: they did not write the same rows.
        """
        inputs = self.input, self.input, self.counterpart_input or self.input
        with ExitStack() as stack:
            environments = [
                stack.enter_context(_environment(who, raw=raw))
                for who, raw in ((self.function, True), (self.function, False), (self.counterpart, False))
            ]
            turns = []
            for number in range(self.warm_up + repeats):
                texts = [worker.INPUTS[name](number, self.partitions) for name in inputs]
                turns.append([environment.handle(text) for environment, text in zip(environments, texts, strict=True)])
            ours, parsed, theirs = (environment.rows() for environment in environments)
            rows = self._same_rows(ours, theirs)
            self._same_rows(parsed, theirs)
        measured = self._measurement([(ours, theirs) for ours, _, theirs in turns[self.warm_up :]], rows)
        speed = statistics.median(answer["records"] / answer["cpu_s"] for _, answer, _ in turns[self.warm_up :])
        return measured._replace(details={**(measured.details or {}), "parsed_value": speed})


class Environment:
    """An execution environment, and its CPU time."""

    def __init__(self, invoker: RuntimeInvoker) -> None:
        self._invoker = invoker

    def handle(self, text: str) -> Answer:
        """Invoke with an event."""
        records = worker.records_of(json.loads(text))
        if self._invoker.pid is None:  # there is no process before the first event
            self.rows()
        start = _cpu_s(self._invoker.pid)
        self._invoker.invoke(text.encode())
        return {"cpu_s": _cpu_s(self._invoker.pid) - start, "records": records, "event_bytes": len(text)}

    def rows(self) -> Any:
        """What came out."""
        return self._invoker.invoke(b"{}")


@contextmanager
def _environment(contestant: str, *, raw: bool) -> Iterator[Environment]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(APP)
        variables = {"CONTESTANT": contestant, "HEADRACE_RAW_EVENTS": "true" if raw else "false"}
        function = Function("Contestant", "app.handler", Path(folder), (), variables, timeout_seconds=120)
        # What the layer does not have, for counterparts and digests, is found last.
        others = [HERE, ROOT / "functions", *map(Path, sys.path)]
        invoker = RuntimeInvoker(function, layer_dirs=[BUILT / "layer" / "python", *others])
        try:
            yield Environment(invoker)
        finally:
            invoker.close()


def _cpu_s(pid: int | None) -> float:
    """Of all threads of the process: nanoseconds on a processor."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
