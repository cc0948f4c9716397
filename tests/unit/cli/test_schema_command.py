"""`headrace schema`: what it prints and how it ends."""

import json

import pytest

from headrace_cli.main import run


@pytest.fixture
def avsc(tmp_path):
    def write(name, *fields):
        path = tmp_path / f"{name}.avsc"
        path.write_text(json.dumps({"type": "record", "name": "R", "fields": list(fields)}))
        return str(path)

    return write


ID = {"name": "id", "type": "int"}


def changes(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_new_version_that_can_follow_ends_with_0_and_lists_what_changes(avsc, capsys):
    old = avsc("old", ID, {"name": "gone", "type": "string"})
    new = avsc("new", {"name": "number", "type": "long", "aliases": ["id"]})
    assert run(["schema", "check", old, new, "--json"]) == 0
    assert changes(capsys) == [
        {"field": "number", "change": "renamed", "detail": "was id", "problem": None, "iceberg": True},
        {"field": "number", "change": "widened", "detail": "int → long", "problem": None, "iceberg": True},
        {"field": "gone", "change": "removed", "detail": "string", "problem": None, "iceberg": True},
    ]


def test_one_that_cannot_ends_with_1_and_says_why(avsc, capsys):
    assert run(["schema", "check", avsc("old", ID), avsc("new", {"name": "id", "type": "string"})]) == 1
    said = capsys.readouterr()
    assert "int cannot be read as string" in said.out
    assert said.err.endswith("1 of 1 changes cannot be made\n")


def test_the_same_schema_has_no_changes(avsc, capsys):
    assert run(["schema", "check", avsc("old", ID), avsc("new", ID)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.endswith(": compatible\n")


def test_what_an_iceberg_table_cannot_follow_is_refused_on_demand(avsc):
    files = [avsc("old", ID), avsc("new", {"name": "id", "type": "double"})]
    assert run(["schema", "check", *files]) == 0
    assert run(["schema", "check", *files, "--iceberg"]) == 1


@pytest.mark.parametrize("command", [["check"], ["show"]], ids=" ".join)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not Avro", "not JSON"),
        ('{"type":"record","name":"R","fields":[]}', "a record needs at least one field"),
        ("", "not JSON"),
    ],
)
def test_a_file_that_is_no_schema_ends_with_2_and_one_line(tmp_path, capsys, command, content, message):
    path = tmp_path / "bad.avsc"
    path.write_text(content)
    assert run(["schema", *command, *[str(path)] * (2 if command == ["check"] else 1)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"headrace: {path}: {message}")
    assert said.err.count("\n") == 1


def test_a_files_columns_are_shown(avsc, capsys):
    fields = [
        ID,
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
        {"name": "kind", "type": "string", "default": "view"},
    ]
    assert run(["schema", "show", avsc("one", *fields), "--json"]) == 0
    assert changes(capsys) == [
        {"field": "id", "avro": "int", "arrow": "Int32", "needed": "yes"},
        {"field": "at", "avro": "timestamp-millis or null", "arrow": 'Timestamp(µs, "UTC")', "needed": "no"},
        {"field": "kind", "avro": "string", "arrow": "Utf8", "needed": "has a default"},
    ]
