"""docs/logs.md says what is so: formats, names, severities, columns, tables are those of the code; examples parse."""

import re
from pathlib import Path

import pytest

from headrace.errors import ConfigurationError
from headrace.lake import OWN_TABLES
from headrace.land_logs import LandLogs
from headrace.log_event import LogEvent, log_event
from headrace.log_fields import NAMES, severity_number
from headrace.log_formats.cloudwatch import MAX_EVENTS, MAX_HOURS, MAX_UNPACKED_BYTES
from headrace.logs import AUTO, MAX_LINE_BYTES, Lines, declared_format
from headrace.patterns import MAX_LENGTH, READ, pattern_of
from headrace.settings import Settings
from logs.alerting import ALERTS
from logs.topology import topologies

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "logs.md").read_text()
KAFKA_MS = 1_795_773_600_000
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", DOC, re.MULTILINE | re.DOTALL))


def table(section):
    """The cells of a section's first table, without its head."""
    (_, _, *rows), *_ = [block.splitlines() for block in re.findall(r"(?:^\|.*\n)+", SECTIONS[section], re.MULTILINE)]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def code(cell):
    return re.findall(r"`([^`]+)`", cell)


def examples():
    """Format, how it is declared, and a line."""
    name = declared = ""
    for first, second, third in table("Formats"):
        if first:
            ((name,), (declared,)) = code(first), code(second)
        else:
            yield name, (code(second) or [declared])[0], code(third)[0]


@pytest.mark.parametrize(("name", "declared", "line"), list(examples()))
def test_an_example_is_read_by_its_format_declared_and_detected(name, declared, line):
    assert Lines(declared).read(line.encode(), KAFKA_MS).format == name
    if ":" not in declared:
        assert Lines(AUTO).read(line.encode(), KAFKA_MS).format == name


def test_every_format_is_in_the_table():
    listed = {declared.partition(":")[0] for _, declared, _ in examples()}
    with pytest.raises(ConfigurationError) as refused:
        declared_format("?")
    (known,) = re.findall(r"auto, (.*)", str(refused.value))
    assert listed == set(known.split(", "))


def test_names_are_those_of_the_code_in_their_order():
    listed = [(name, code(field)[0]) for field, names in table("Names") for name in code(names)]
    by_field = {field: [n for n, (f, _) in NAMES.items() if f == field] for field, _ in NAMES.values()}
    assert listed == [(name, field) for field, names in by_field.items() for name in names]


def test_words_have_the_severities_of_the_table():
    *rows, nothing = table("Severity")
    for severity, numbers, words in rows:
        groups = [code(group) for group in words.split(" · ")]
        for number, group in zip(map(int, numbers.split(", ")), groups, strict=True):
            assert {severity_number(word) for word in group} == {number}
            assert log_event("json", severity_number=number).severity == code(severity)[0]
    assert nothing[:2] == [f"`{LogEvent(format='json').severity}`", "0"]


def test_columns_are_those_of_events():
    assert [name for cell, _ in table("Events") for name in code(cell)] == list(LogEvent.__struct_fields__)


def test_tables_are_those_of_the_function():
    listed = {name for cell, *_ in table("Tables") for name in code(cell)}
    operators = topologies(Settings())("logs").operators
    assert listed == {name for operator in operators for name in operator.tables} | {ALERTS, *OWN_TABLES}
    for operator in operators:
        if hasattr(operator, "aggregates"):
            (columns,) = [last for cell, _, last in table("Tables") if code(cell) == [operator.table]]
            assert [name for name in code(columns) if not re.fullmatch(r"p\d+", name)] == list(operator.aggregates)


def test_limits_are_those_of_the_code():
    limits = " ".join(" ".join(row) for row in table("Limits"))
    mib, landing = 1 << 20, LandLogs()
    assert MAX_LINE_BYTES == landing.max_characters == mib
    for limit in (f"{MAX_UNPACKED_BYTES // mib} MiB", f"{MAX_EVENTS:,}", f"{MAX_HOURS:,}"):
        assert limit in limits
    assert f"{landing.max_lines} lines; {landing.max_streams} keys and 1 Mi characters" in limits
    assert f"{MAX_LENGTH} characters, of the first {READ:,}" in limits


def test_the_pattern_that_is_shown_comes_out():
    message, pattern = re.search(r"\*\*Patterns\.\*\* `(.*?)` has the pattern `(.*?)`", DOC).groups()
    assert pattern_of(message) == pattern


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", DOC))))
def test_a_link_leads_somewhere(link):
    assert (ROOT / "docs" / link).exists()


@pytest.mark.parametrize("anchor", sorted(set(re.findall(r"\]\(#([^)]+)\)", DOC))))
def test_an_anchor_is_a_heading(anchor):
    headings = re.findall(r"^#+ (.*)", DOC, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
