"""Our click-stream function behind the local event source mapping, in one process, tumbling windows only.

This process does what AWS's pollers do in theirs: it reads the topic, writes each record as JSON with its payload in
base64, and cuts events of up to 10,000 records or 6 MB. Then comes what Lambda's runtime does (parsing the event) and
what the function does, checkpoint and staging included. The counterparts have one process without that detour.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import ours

from headrace.topology import Topology
from kafka_esm import Emulator, InProcessInvoker
from kafka_esm.mapping import Function, Mapping

FUNCTION = Function("Clickstream", "app.lambda_handler", Path(), timeout_seconds=60)
DRAIN_S = 300.0


class Consumer:
    """The contestant."""

    def __init__(self) -> None:
        self._handler = ours.Handler("clickstream", _tumbling)

    def consume(self, servers: str, topic: str, end_offset: int, group: str) -> None:
        """Process the topic until everything is published and the offsets are committed."""
        mapping = Mapping("clicks", FUNCTION, topic, group, batch_size=10_000)
        with Emulator([mapping], servers, lambda _: InProcessInvoker(FUNCTION, handler=self._handle)) as emulator:
            emulator.wait_drained(DRAIN_S)
            (position,) = emulator.positions().values()
        assert position == end_offset, f"stopped at {position}, not {end_offset}"

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Table and content of every published file."""
        return self._handler.files()

    def _handle(self, event: object, _context: object) -> None:
        self._handler.handle(event)  # type: ignore[arg-type] # a parsed event


def _tumbling(topology: Topology) -> Topology:
    return msgspec.structs.replace(topology, operators=topology.operators[:1])
