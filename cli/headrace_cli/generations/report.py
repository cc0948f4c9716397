"""How far generations are, as cells of a table and as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from headrace_cli.generations.state import Progress

COLUMNS = (
    *("generation", "pipeline", "topic", "state", "partitions", "next_offsets", "versions"),
    *("open_until", "pending", "last_commit", "ticks"),
)


def cells(each: Progress) -> list[str]:
    """A row of the table, in the order of `COLUMNS`."""
    parts = each.partitions.values()
    return [
        *(each.generation, each.pipeline, each.topic, each.state, str(len(parts))),
        _span([c.next_offset for c in parts]),
        _span([c.version for c in parts]),
        _iso(each.open_until_ms),
        *(str(each.pending), _iso(each.committed_at_ms), str(each.ticks)),
    ]


def _span(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least}…{most}"


def _iso(time_ms: int | None) -> str:
    if time_ms is None:
        return ""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_json_object(each: Progress) -> dict[str, Any]:
    """The same with every partition by itself."""
    return {
        "generation": each.generation,
        "pipeline": each.pipeline,
        "topic": each.topic,
        "state": each.state,
        "open_until_ms": each.open_until_ms,
        "pending": each.pending,
        "committed_at_ms": each.committed_at_ms,
        "ticks": each.ticks,
        "partitions": {
            number: {
                "next_offset": c.next_offset,
                "version": c.version,
                "open_until_ms": c.open_until_ms,
                "pending": c.pending,
                "committed_at_ms": c.committed_at_ms,
            }
            for number, c in each.partitions.items()
        },
    }
