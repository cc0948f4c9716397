"""Where landing's time goes: CPU time of each phase of a batch, by functions of the library that are timed in place.

A phase is the time of its functions without what other phases' functions took inside of them. Timed is a process of
its own, because the timers cost some of the time that they measure; only shares are shown.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from headrace import buckets, event, lake, parquet, pipeline, topology
from headrace.operators import _RunningLand

PHASES: dict[str, list[tuple[Any, str]]] = {
    "decode event": [(event, "decode")],
    "decode payloads": [],  # the codec's own, by `watch_codec`
    "event time, watermark": [
        (topology._EventClock, "times_ms"),
        (topology.watermark, "before_each"),
        (buckets, "cut"),
    ],
    "columns": [(_RunningLand, "close")],
    "columns of the record": [(lake, "record_columns")],
    "choose encodings, split": [(pipeline.lake, "split"), (parquet, "encoding_of")],
    "write Parquet": [(parquet, "encode")],
    "all else": [],
}


class Stopwatch:
    """Adds up each phase's own time."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner = [0.0]

    def watch(self, phase: str, owner: Any, name: str) -> None:
        """Time this function from now on."""
        setattr(owner, name, self.timed(phase, getattr(owner, name)))

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def call(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            start = time.process_time()
            try:
                answer = function(*arguments, **named)
                return list(answer) if phase == "choose encodings, split" and name_of(function) == "split" else answer
            finally:
                took = time.process_time() - start
                self.seconds[phase] += took - self._inner.pop()
                self._inner[-1] += took

        return call


def name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "")
