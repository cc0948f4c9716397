"""An alert as a message: a subject for a person, a JSON body for a program, both of bounded size."""

import re
from datetime import datetime
from typing import Any

import msgspec

from alerts.announced import File, Row
from headrace.sns import Message

MAX_SUBJECT_CHARS = 99
MAX_TEXT_CHARS = 1000
"""Of a field of the key."""
MAX_BODY_BYTES = 200_000
"""SNS takes 256 KB with subject and attributes; beyond this the samples are left out."""

_UNPRINTABLE = re.compile(r"[^ -~]+")


def letter(row: Row, file: File, lake_url: str) -> Message:
    """The message of one row of the file."""
    body = {
        "alert_id": row["alert_id"],
        "summary": row["summary"],
        "rule": row["rule"],
        "key": {name: _cut(value) for name, value in msgspec.json.decode(row["key"]).items()},
        "window_start": _iso(row["window_start"]),
        "window_end": _iso(row["window_end"]),
        "value": row["value"],
        "threshold": row["threshold"],
        "samples": row["samples"],
        "pipeline": file.name.pipeline,
        "generation": file.name.generation,
        "topic": row["_topic"],
        "partition": row["_partition"],
        "file": f"{lake_url.rstrip('/')}/{file.key}",
    }
    text = msgspec.json.encode(body)
    if len(text) > MAX_BODY_BYTES:
        text = msgspec.json.encode(body | {"samples": []})
    return Message(row["alert_id"], _subject(row["summary"]), text.decode(), row["rule"])


def _subject(summary: str) -> str:
    """SNS takes less than 100 characters, and e-mail's headers no others than these."""
    text = _UNPRINTABLE.sub("?", summary)
    return text if len(text) <= MAX_SUBJECT_CHARS else f"{text[: MAX_SUBJECT_CHARS - 3]}..."


def _cut(value: Any) -> Any:
    return value[:MAX_TEXT_CHARS] if isinstance(value, str) else value


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
