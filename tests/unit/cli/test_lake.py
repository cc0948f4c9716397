"""`headrace lake` on small lakes: in memory for the reading, in a folder for the commands."""

import csv
import io
import json

import pyarrow.parquet
import pytest
from arro3.core import Array, DataType, Field, RecordBatch, Table
from arro3.io import write_parquet

from headrace.lake import (
    HOUR_MS,
    RECORD_FIELDS,
    TIMESTAMP,
    LakeTable,
    Rows,
    column,
    encode,
    final_key,
    record_columns,
    split,
)
from headrace.outbox import MemoryOutbox
from headrace.records import Record
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.lake_reader import BATCH_ROWS, TableSchema, batches, contents, rows, table_files, tables
from headrace_cli.main import run

NOON_MS = 1_710_331_200_000  # 2024-03-13T12:00:00Z
OLD = LakeTable("clicks", (Field("page", DataType.string(), nullable=False), *RECORD_FIELDS), complete=True)
NEW = LakeTable(
    "clicks",
    (*OLD.fields, Field("at", TIMESTAMP, nullable=False), Field("extra", RECORD_FIELDS[-1].type, nullable=True)),
    complete=True,
)


def record(offset, **fields):
    headers = [{"h": [-1, 0]}]
    return Record("clicks", 0, offset, NOON_MS, key=b"user", raw_headers=headers, **fields)


def published(table, offsets, *, hour=0, version=1):
    """Key and content of the files with one row for each offset."""
    records = [record(offset) for offset in offsets]
    pages = Array([f"/{offset}" for offset in offsets], DataType.string())
    columns = [pages, *record_columns(records)]
    times_ms = [NOON_MS + hour * HOUR_MS + offset for offset in offsets]
    if table is NEW:
        columns += [column(times_ms, TIMESTAMP), columns[-1]]
    place = {"pipeline": "landing", "generation": "1", "topic": "clicks", "partition": 0, "version": version}
    return {
        final_key(file, number=number, **place): file.content
        for number, file in enumerate(encode(part, {}) for part in split(Rows(table, times_ms, columns)))
    }


def objects_of(*parts):
    objects = MemoryOutbox()
    for part in parts:
        objects.stage(part)
    return objects


@pytest.fixture
def mixed():
    """Two old files and a newer one with two more columns, of two hours; and another table."""
    sessions = {"lake/clickstream/sessions/date=2024-03-13/hour=12/1-clicks-0-1-0.parquet": parquet(user=["a"])}
    return objects_of(
        published(NEW, [5, 6], hour=1, version=3), published(OLD, [1, 2]), published(OLD, [3], version=2), sessions
    )


def parquet(**columns):
    """A file of text columns."""
    arrays = [Array(values, DataType.string()) for values in columns.values()]
    buffer = io.BytesIO()
    write_parquet(Table.from_batches([RecordBatch.from_arrays(arrays, names=list(columns))]), buffer)
    return buffer.getvalue()


@pytest.fixture
def folder(mixed, tmp_path):
    """The same as files."""
    root = tmp_path / "lake-root"
    for key in mixed.keys("lake/"):
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mixed.read(key))
    return root


class TestReading:
    def test_tables_have_their_files_by_hour_and_nothing_else_is_one(self, mixed):
        mixed.stage({"staging/x/0": b"", "state/y": b"", "lake/landing/clicks/_notes.txt": b""})
        found = tables(mixed)
        assert list(found) == ["clickstream/sessions", "landing/clicks"]
        assert [file.hour for file in found["landing/clicks"]] == ["2024-03-13T12", "2024-03-13T12", "2024-03-13T13"]

    def test_contents_are_counted(self, mixed):
        files = table_files(mixed, "landing/clicks")
        counted = contents(mixed, "landing/clicks", files)
        assert counted == (
            *("landing/clicks", 3, 5, sum(len(mixed.read(file.key)) for file in files)),
            *("2024-03-13T12", "2024-03-13T13", "complete"),
        )

    def test_the_last_part_of_a_name_is_enough_if_it_is_one_tables(self, mixed):
        assert table_files(mixed, "clicks") == table_files(mixed, "landing/clicks")
        mixed.stage({"lake/other/clicks/date=2024-03-13/hour=12/x.parquet": parquet(a=["1"])})
        with pytest.raises(OptionError, match=r"could be several .* landing/clicks, other/clicks"):
            table_files(mixed, "clicks")

    def test_a_table_that_does_not_exist_is_answered_with_those_that_do(self, mixed):
        with pytest.raises(OptionError, match="it has clickstream/sessions, landing/clicks"):
            table_files(mixed, "landing/click")
        with pytest.raises(OptionError, match="it has none"):
            table_files(MemoryOutbox(), "clicks")

    @pytest.mark.parametrize("newest_first", [False, True])
    def test_added_columns_are_null_in_older_rows_whatever_their_type(self, mixed, newest_first):
        files = table_files(mixed, "clicks")
        files = files[::-1] if newest_first else files
        schema = TableSchema(mixed, files)
        read = [row for batch in batches(mixed, files, schema) for row in batch.to_struct_array().to_pylist()]
        assert {(row["page"], row["at"] is None, row["extra"] is None) for row in read} == {
            *(("/1", True, True), ("/2", True, True), ("/3", True, True)),
            *(("/5", False, False), ("/6", False, False)),
        }
        nullable = {name: schema.schema.field(name).nullable for name in schema.schema.names}
        assert (nullable["page"], nullable["at"], nullable["extra"]) == (False, True, True)

    def test_a_column_that_only_older_files_have_is_null_in_newer_rows(self):
        objects = objects_of(
            {
                "lake/p/t/date=2024-03-13/hour=12/a.parquet": parquet(a=["1"], b=["2"]),
                "lake/p/t/date=2024-03-13/hour=13/b.parquet": parquet(a=["3"]),
            }
        )
        files = table_files(objects, "t")
        (first, second) = batches(objects, files, TableSchema(objects, files))
        assert first.column("b").to_pylist() + second.column("b").to_pylist() == ["2", None]

    def test_a_column_of_two_types_is_an_error_that_names_it(self, mixed):
        number = RecordBatch.from_arrays([Array([1], DataType.int64())], names=["page"])
        buffer = io.BytesIO()
        write_parquet(Table.from_batches([number]), buffer)
        mixed.stage({"lake/landing/clicks/date=2024-03-14/hour=00/x.parquet": buffer.getvalue()})
        with pytest.raises(CommandError, match=r"hour=00/x.parquet: column page is .*Int64"):
            TableSchema(mixed, table_files(mixed, "clicks"))

    @pytest.mark.parametrize("content", [b"", b"no parquet at all", b"PAR1 cut off", parquet(a=["1"])[:-4]])
    def test_a_file_that_is_no_parquet_is_an_error_that_names_it(self, content):
        objects = objects_of({"lake/p/t/date=2024-03-13/hour=12/x.parquet": content})
        with pytest.raises(CommandError, match=r"hour=12/x.parquet is not a Parquet file"):
            list(rows(objects, table_files(objects, "t")))

    def test_a_damaged_file_is_an_error_that_names_it(self):
        content = parquet(a=["1"])
        damaged = content[:-8] + b"\xff\xff\xff\x7f" + b"PAR1"  # a footer longer than the file
        objects = objects_of({"lake/p/t/date=2024-03-13/hour=12/x.parquet": damaged})
        with pytest.raises(CommandError, match=r"hour=12/x.parquet is a damaged Parquet file"):
            list(rows(objects, table_files(objects, "t")))


class TestCommands:
    @pytest.mark.parametrize("scheme", ["", "file:"])
    def test_tables_as_json(self, folder, scheme, capsys):
        assert run(["lake", "tables", f"{scheme}{folder}", "--json"]) == 0
        listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(each["table"], each["files"], each["rows"]) for each in listed] == [
            ("clickstream/sessions", 1, 1),
            ("landing/clicks", 3, 5),
        ]
        assert (listed[1]["first_hour"], listed[1]["last_hour"]) == ("2024-03-13T12", "2024-03-13T13")

    def test_tables_for_a_person(self, folder, capsys):
        assert run(["lake", "tables", str(folder)]) == 0
        assert "landing/clicks" in capsys.readouterr().out

    def test_an_empty_lake_says_so(self, tmp_path, capsys):
        assert run(["lake", "tables", str(tmp_path)]) == 0
        assert "has no tables yet" in capsys.readouterr().err

    def test_show_as_json_lines(self, folder, capsys):
        assert run(["lake", "show", str(folder), "clicks", "--limit", "4", "--json"]) == 0
        shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["_offset"] for row in shown] == [1, 2, 3, 5]
        assert [row["at"] for row in shown] == [None, None, None, "2024-03-13T13:00:00.005Z"]
        assert shown[0]["_headers"] == [{"key": "h", "value": "base64:/wA="}]
        assert shown[0]["_key"] == "user"

    def test_show_one_hour_only(self, folder, capsys):
        assert run(["lake", "show", str(folder), "clicks", "--where-hour", "2024-03-13T13", "--json"]) == 0
        assert [json.loads(line)["page"] for line in capsys.readouterr().out.splitlines()] == ["/5", "/6"]

    def test_show_for_a_person_takes_no_value_for_markup(self, tmp_path, capsys):
        path = tmp_path / "lake/p/t/date=2024-03-13/hour=12/x.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(parquet(a=["[red]x[/red]"]))
        assert run(["lake", "show", str(tmp_path), "t"]) == 0
        assert "[red]x[/red]" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["show", "LAKE", "landing/click"], "it has clickstream/sessions, landing/clicks"),
            (["show", "LAKE", "clicks", "--where-hour", "2024-03-14T00"], "there are hours 2024-03-13T12 to"),
            (["copy", "LAKE", "clicks", "--out", "x.xlsx"], "must end with .parquet, .csv, .ndjson"),
            (["tables", "LAKE/missing"], "no such folder"),
        ],
    )
    def test_errors_are_one_line_with_the_way_out(self, folder, arguments, message, capsys):
        assert run(["lake", *(argument.replace("LAKE", str(folder)) for argument in arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert not (folder / "missing").exists()

    def test_copy_to_parquet_has_every_row_and_type(self, folder, tmp_path):
        out = tmp_path / "out.parquet"
        assert run(["lake", "copy", str(folder), "clicks", "--out", str(out)]) == 0
        copied = pyarrow.parquet.read_table(out)
        assert copied.column("_offset").to_pylist() == [1, 2, 3, 5, 6]
        assert str(copied.schema.field("at").type) == "timestamp[ms, tz=UTC]"
        assert copied.column("at").null_count == 3
        assert copied.column("_headers").to_pylist()[0] == [{"key": "h", "value": b"\xff\x00"}]
        assert copied.column("extra").to_pylist()[-1] == [{"key": "h", "value": b"\xff\x00"}]

    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            (["rule 1", "rule 1"], {b"headrace.rows": b"partial", b"headrace.merge": b"rule 1"}),
            (["rule 1", "rule 2"], {b"headrace.rows": b"partial"}),
            (["rule 1", None], {b"headrace.rows": b"partial"}),
        ],
    )
    def test_a_copy_says_of_its_rows_what_all_files_say(self, tmp_path, said, kept):
        """Without it nobody can merge a copy's partial rows; of generations that disagree, no rule is right."""
        for number, rule in enumerate(said):
            path = tmp_path / f"lake/p/t/date=2024-03-13/hour=12/{number}-c-0-1-0.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            metadata = {"headrace.rows": "partial", "headrace.ledger": f"{number}"}
            table = pyarrow.table({"a": ["x"]}).replace_schema_metadata(
                metadata | ({} if rule is None else {"headrace.merge": rule})
            )
            pyarrow.parquet.write_table(table, path)
        out = tmp_path / "out.parquet"
        assert run(["lake", "copy", str(tmp_path), "t", "--out", str(out)]) == 0
        found = pyarrow.parquet.read_schema(out).metadata
        assert {name: value for name, value in found.items() if name.startswith(b"headrace.")} == kept

    def test_copy_to_csv(self, folder, tmp_path):
        out = tmp_path / "out.csv"
        assert run(["lake", "copy", str(folder), "clicks", "--out", str(out)]) == 0
        with out.open(newline="") as file:
            copied = list(csv.DictReader(file))
        assert [row["page"] for row in copied] == ["/1", "/2", "/3", "/5", "/6"]
        assert [row["at"] for row in copied][2:4] == ["", "2024-03-13T13:00:00.005Z"]

    def test_copy_to_ndjson(self, folder, tmp_path):
        out = tmp_path / "out.ndjson"
        assert run(["lake", "copy", str(folder), "clicks", "--out", str(out), "--where-hour", "2024-03-13T12"]) == 0
        assert [json.loads(line)["page"] for line in out.read_text().splitlines()] == ["/1", "/2", "/3"]

    @pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson"])
    def test_a_copy_that_fails_leaves_nothing_that_looks_like_one(self, folder, tmp_path, suffix, capsys):
        out = tmp_path / f"out.{suffix}"
        out.write_text("from before")
        cut = folder / "lake/landing/clicks/date=2024-03-13/hour=13/1-clicks-0-9-0.parquet"
        content = bytearray(parquet(page=[f"/{number:050}" for number in range(3 * BATCH_ROWS)]))
        middle = len(content) // 2  # footer and first rows, and so the schema, are intact
        content[middle : middle + 100] = b"\xff" * 100
        cut.write_bytes(content)
        assert run(["lake", "copy", str(folder), "clicks", "--out", str(out)]) == 1
        assert "1-clicks-0-9-0.parquet" in capsys.readouterr().err
        assert out.read_text() == "from before"
        assert not list(tmp_path.glob("*.part"))
