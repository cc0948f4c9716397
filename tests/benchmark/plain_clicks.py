"""The click-stream's windows without a framework: base64, a parser per record, plain dictionaries (`click_windows`)."""

import io
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from click_windows import ClickWindows
from inputs import AVSC


class Clicks:
    """The contestant, with one parser or another."""

    def __init__(self, parse: Callable[[bytes], dict[str, Any]]) -> None:
        self._parse = parse
        self._windows = ClickWindows()
        self.files = self._windows.files

    def handle(self, event: dict[str, Any]) -> None:
        """Process one event until everything is written."""
        parse = self._parse
        changed = []
        for records in event["records"].values():
            partition = self._windows.of(records[0]["topic"], records[0]["partition"])
            add = partition.add
            for record in records:
                add(parse(b64decode(record["value"])))
            changed.append(partition)
        self._windows.write_closed(changed)


def avro_parser() -> Callable[[bytes], dict[str, Any]]:
    """fastavro, with times as numbers: its logical types would make an object of each."""
    import fastavro  # noqa: PLC0415 - the other parser does without

    schema = fastavro.schema.load_schema(AVSC)
    for field in schema["fields"]:
        if isinstance(field["type"], dict):
            field["type"].pop("logicalType", None)
    read = fastavro.schemaless_reader

    def parse(payload: bytes) -> dict[str, Any]:
        return read(io.BytesIO(payload), schema)

    return parse
