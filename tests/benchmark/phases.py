"""Where landing's time goes: the share of each phase in the CPU time of a batch.

A phase's time is that of some of the library's functions, timed in place, without what other phases took inside of
them. It is measured in a process of its own (`phases.py INPUT`), because timers take part of what they measure: shares
mean something, their sum less than a contest's figure.
"""

import contextlib
import io
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import worker
from measurement import Measurement

WARM_UP = 2
BATCHES = 8
INPUTS = {
    "clicks": ("landing", "clicks"),
    "orders": ("landing", "orders"),
    "avro": ("landing (Avro)", "clicks"),
    "avro orders": ("landing of orders (Avro)", "orders"),
}
"""Contestant and topic of each."""


def measurements(_repeats: int) -> Iterator[Measurement]:
    """A line per size and format of record: milliseconds of a batch, and what they are made of."""
    for name in INPUTS:
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        records, milliseconds = json.loads(done.stdout)
        total = sum(milliseconds.values())
        shares = {phase: f"{value / total:.0%}" for phase, value in milliseconds.items()}
        details = {"records": records, "phases": shares}
        yield Measurement(
            f"landing {name}, where its time goes", "ms a batch, timers included", [total], details=details
        )


class Stopwatch:
    """Adds up the CPU time of each phase."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._of_others = [0.0]

    def watch(self, phase: str, owner: Any, name: str) -> None:
        """Time this function of a module or object from now on."""
        setattr(owner, name, self.timed(phase, getattr(owner, name)))

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def call(*arguments: Any, **named: Any) -> Any:
            self._of_others.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                took = time.process_time() - start
                self.seconds[phase] += took - self._of_others.pop()
                self._of_others[-1] += took

        return call


def _watched(stopwatch: Stopwatch, handler: Any, topic: str) -> Callable[[Any], None]:
    """The handler, its phases timed."""
    from headrace import event, event_clock, lake, operators, parquet, topology  # noqa: PLC0415 - after the handler's own imports

    codec = handler.pipeline._topology_of(topic).codec
    for phase, owner, name in (
        ("decode the event", event, "decode"),
        ("decode payloads", codec, "decode"),
        ("event times, cut", event_clock.EventClock, "times_ms"),
        ("event times, cut", topology.buckets, "end"),
        ("fields of the values", operators, "members"),
        ("columns of the fields", operators._RunningLand, "close"),
        ("columns of place, key, headers", lake, "record_columns"),
        ("choose encodings", parquet, "encoding_of"),
        ("write Parquet", parquet, "encode"),
    ):
        stopwatch.watch(phase, owner, name)
    watched: Callable[[Any], None] = stopwatch.timed("all else", handler.handle)
    return watched


def main() -> None:
    """Print records of a batch and milliseconds of each phase."""
    name = sys.argv[1]
    contestant, topic = INPUTS[name]
    stopwatch = Stopwatch()
    texts = [worker.INPUTS[name](number, 1).encode() for number in range(WARM_UP + BATCHES)]
    with contextlib.redirect_stdout(io.StringIO()):
        handle = _watched(stopwatch, worker.CONTESTANTS[contestant](), topic)
        for number, text in enumerate(texts):
            if number == WARM_UP:
                stopwatch.seconds.clear()
            handle(text)
    milliseconds = {phase: 1000 * seconds / BATCHES for phase, seconds in stopwatch.seconds.most_common()}
    print(json.dumps([worker.records_of(json.loads(texts[-1])), milliseconds]))  # noqa: T201


if __name__ == "__main__":
    main()
