"""docs/lake.md's table of types: what it says of the columns is what they are."""

import json
import re
from pathlib import Path

import pytest

from headrace import schema
from headrace.avsc import PRIMITIVES

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "lake.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")]
COLUMNS = {re.match(r"`([a-z-]+)`", row[0])[1]: row[2] for row in ROWS if len(row) == 5 and row[0].startswith("`")}
BASES = {"date": "int", "time-millis": "int", "uuid": "string"}


def test_every_type_of_one_value_is_in_the_table():
    times = ["timestamp-millis", "timestamp-micros", "timestamp-nanos"]
    local = [f"local-{kind}" for kind in times]
    assert list(COLUMNS) == [*PRIMITIVES, "uuid", "date", "time-millis", "time-micros", *times, *local]


@pytest.mark.parametrize("kind", COLUMNS)
def test_its_column_is_the_one_that_the_table_says(kind):
    avro = kind if kind in PRIMITIVES else {"type": BASES.get(kind, "long"), "logicalType": kind}
    text = json.dumps({"type": "record", "name": "R", "fields": [{"name": "x", "type": avro}]})
    assert f"<{COLUMNS[kind]}>" in repr(schema.parse(text).landed_fields()[0].type)
