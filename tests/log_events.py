"""Events of log lines as tests compare them."""

import json

import msgspec

from headrace.log_event import LogEvent


def told(event: LogEvent) -> dict:
    """The event's fields that are not at their default, attributes decoded."""
    fields = {
        field.name: value
        for field in msgspec.structs.fields(LogEvent)
        if (value := getattr(event, field.name)) != field.default
    }
    if "attributes" in fields:
        fields["attributes"] = json.loads(fields["attributes"])
    return fields
