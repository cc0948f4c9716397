"""How far generations are, for a person and as JSON."""

from collections.abc import Sequence
from typing import Any

from headrace_cli.commands.rendering import columns_text, minute
from headrace_cli.generations.state import Progress


def as_text(rows: Sequence[Progress]) -> str:
    """The table of `headrace generation show`: what says whether a generation can end."""
    return columns_text([_cells(each) for each in rows])


def _cells(each: Progress) -> dict[str, Any]:
    parts = each.partitions.values()
    return {
        "generation": each.generation,
        "pipeline": each.pipeline,
        "topic": each.topic,
        "state": each.state,
        "partitions": len(parts),
        "next_offsets": _span([c.next_offset for c in parts]),
        "pending": each.pending,
        "open_until": None if each.open_until_ms is None else minute(each.open_until_ms),
        "last_commit": minute(each.committed_at_ms),
    }


def _span(values: Sequence[int]) -> str:
    least, most = min(values), max(values)
    return str(least) if least == most else f"{least}…{most}"


def as_json_object(each: Progress) -> dict[str, Any]:
    """Everything that is known, every partition by itself."""
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
