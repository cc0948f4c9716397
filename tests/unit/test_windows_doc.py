"""docs/windows.md says what is so: its code runs, its picture comes out, its links and sources lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
from samples import hit, topology

from clickstream import topology as clickstream
from headrace import schema
from headrace.aggregates import Count
from headrace.codec import JsonCodec
from headrace.records import TopicPartition
from headrace.topology import Topology
from headrace.windowed import Windowed
from headrace.windows import TumblingWindows, Windows

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "windows.md").read_text()
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def declared() -> list[Windowed]:
    """What the document's Python declares."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", DOC, re.DOTALL):
        exec(block, names)
    return [each for each in names.values() if isinstance(each, Windowed)]


def test_each_of_the_five_windows_is_declared_and_works_on_clicks(declared: list[Windowed]) -> None:
    assert {type(operator.window) for operator in declared} == set(Windows.__args__)
    codec = JsonCodec(schema.load(clickstream.SCHEMA).project(clickstream.FIELDS), keep_unknown=False)
    Topology(codec, tuple(declared), event_time="timestamp").build(TopicPartition("clicks", 0), None)


def test_the_picture_comes_out() -> None:
    """docs/windows.svg: seven records, minutes after noon."""
    window = Windowed(
        table="pages",
        window=TumblingWindows(size_ms=5 * MINUTE_MS),
        key=("page",),
        aggregates={"events": Count()},
        early_results=True,
    )
    made = topology(window, out_of_orderness_ms=MINUTE_MS, allowed_lateness_ms=3 * MINUTE_MS)
    logic = made.build(TopicPartition("hits", 0), None)
    logic.apply([hit(n, int(minute * MINUTE_MS)) for n, minute in enumerate([1, 4, 3.5, 6.5, 2, 9.5, 4.5])])
    tables = {rows.table.name: rows for rows in logic.rows}
    assert columns(tables["pages_early"], "events", "revision", "retracted") == [(3, 0, False), (4, 1, False)]
    assert columns(tables["pages"], "events") == [(4,)]
    assert columns(tables["late"], "_offset", "windows", "late_by_ms") == [(6, 1, 30_000)]


def columns(rows: Any, *names: str) -> list[tuple[Any, ...]]:
    places = [[field.name for field in rows.table.fields].index(name) for name in names]
    return list(zip(*(rows.columns[place].to_pylist() for place in places), strict=True))


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", DOC))))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


def test_every_source_is_named_and_every_named_one_is_used() -> None:
    text, sources = DOC.split("## Sources")
    defined = re.findall(r"^- \[([FKBQ]\d+)\]", sources, re.MULTILINE)
    assert len(set(defined)) == len(defined)
    assert set(re.findall(r"\[([FKBQ]\d+)\]", text)) == set(defined)


def test_every_answer_has_a_source_or_says_that_it_was_not_verified() -> None:
    (table,) = re.findall(r"^\| question \|.*?\n\n", DOC, re.MULTILINE | re.DOTALL)
    _, _, *rows = table.strip().splitlines()
    assert len(rows) >= 18
    for row in rows:
        question, _ours, _why, *others = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(others) == 4, question
        for answer in others:
            known = re.search(r"\[[FKBQ]\d+\]", answer) or "not verified" in answer
            assert known, f"{question}: {answer}"
