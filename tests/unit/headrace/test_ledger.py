"""The page of the books that a published file carries."""

import io

import msgspec
import pyarrow.parquet as pq
import pytest
from faults import Calls, Killed, kill_at
from protocol import FIRST, SECOND, World, deliver, points_of
from samples import hit

from headrace import ledger
from headrace.lake import LAKE, read_final_key
from headrace.ledger import Commit, Page
from headrace.outbox import STAGING

COMMIT = Commit(
    "p",
    "1",
    "hits",
    0,
    version=3,
    first_offset=10,
    next_offset=20,
    added={"applied": 10, "files": 3, "rows": 6, "files.a": 2, "rows.a": 5, "files.b": 1, "rows.b": 1},
    totals={"applied": 20, "files": 8, "rows": 31, "files.a": 6, "rows.a": 30, "files.b": 1, "rows.b": 1},
)


def test_files_and_rows_of_a_table_are_numbered_on_from_the_commits_before():
    pages = list(ledger.pages(COMMIT, [("a", 2), ("b", 1), ("a", 3)]))
    assert [(page.table, page.number, page.file, page.row) for page in pages] == [
        ("a", 0, 5, 27),
        ("b", 1, 1, 1),
        ("a", 2, 6, 30),
    ]
    assert all(page.commit is COMMIT for page in pages)


def test_what_files_add_to_the_totals_is_counted_as_a_whole_and_by_table():
    assert ledger.written([("a", 2), ("b", 1), ("a", 3)]) == {
        name: COMMIT.added[name] for name in COMMIT.added if name != "applied"
    }
    assert ledger.written([]) == {}


def test_a_page_is_read_as_it_was_written():
    (page,) = ledger.pages(COMMIT, [("a", 2)])
    assert ledger.read(page.metadata()) == page


def test_a_file_from_before_there_were_pages_has_none():
    assert ledger.read({"headrace.rows": "complete"}) is None


@pytest.mark.parametrize("field", ["version", "first_offset", "next_offset", "partition"])
@pytest.mark.parametrize("value", [-1, 2**63, "7", None])
def test_what_is_no_page_is_an_error(field, value):
    page = msgspec.to_builtins(Page(COMMIT, "a", 0, 1, 1))
    page["commit"][field] = value
    with pytest.raises(ValueError, match=field):
        ledger.read({ledger.METADATA_KEY: msgspec.json.encode(page).decode()})


def published(world):
    """Every published file: its name, its page, and pyarrow's view of it."""
    for key in world.outbox.keys(f"{LAKE}/"):
        file = pq.ParquetFile(io.BytesIO(world.outbox.read(key)))
        metadata = {name.decode(): value.decode() for name, value in file.metadata.metadata.items()}
        yield read_final_key(key), ledger.read(metadata), file


def test_every_published_file_says_which_commit_made_it_and_where_it_stands():
    world = World()
    deliver(world.process(), FIRST)
    deliver(world.process(), SECOND)
    world.process().tick(world.checkpoint())
    pages = {}
    for name, page, file in published(world):
        commit = page.commit
        assert (commit.pipeline, commit.generation, commit.topic, commit.partition) == ("p", "1", "hits", 0)
        assert (page.table, commit.version, page.number) == (name.table, name.version, name.number)
        assert (commit.first_offset, commit.next_offset) == {1: (0, 5), 2: (5, 9), 3: (9, 9)}[commit.version]
        pages.setdefault(page.table, []).append((page.file, page.row, file.metadata.num_rows))
    totals = world.checkpoint().totals
    assert set(pages) == {"hits", "pages", "sessions", "late", "dead_letters"}
    for table, found in pages.items():
        row = 0
        for number, (file, last_row, rows) in enumerate(sorted(found), 1):
            row += rows
            assert (file, last_row) == (number, row)
        assert (totals[f"files.{table}"], totals[f"rows.{table}"]) == (len(found), row)
    assert totals["files"] == sum(map(len, pages.values()))


def test_a_commits_line_is_the_checkpoints():
    world = World()
    deliver(world.process(), FIRST)
    _, page, _ = next(published(world))
    checkpoint = world.checkpoint()
    assert page.commit.totals == checkpoint.totals == page.commit.added
    assert (page.commit.version, page.commit.next_offset) == (checkpoint.version, checkpoint.next_offset)


def test_the_page_is_not_in_the_schema_which_all_files_of_a_table_share():
    world = World()
    deliver(world.process(), FIRST)
    deliver(world.process(), SECOND)
    schemas = [file.schema_arrow for name, _, file in published(world) if name.table == "hits"]
    assert len(schemas) > 1
    assert all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)


def test_the_same_commit_staged_again_is_the_same_bytes():
    """So that whoever reads a staged file of an attempt that failed reads nothing else than what is published."""
    world = World()
    with pytest.raises(Killed):
        deliver(world.process(Calls(kill_at(points_of(FIRST).index("before commit")))), FIRST)
    deliver(world.process(), FIRST)
    staged = {}
    for key in world.outbox.keys(f"{STAGING}/"):
        staged.setdefault(key.split("/")[2], []).append(world.outbox.read(key))
    assert len(staged) > 3
    assert all(one == other for one, other in staged.values())


def test_a_turn_answers_what_it_wrote_by_table_and_a_tick_too():
    world = World()
    assert deliver(world.process(), FIRST).items() >= {"files.hits": 1, "rows.hits": 4, "rows.dead_letters": 1}.items()
    done = world.process().tick(world.checkpoint())
    assert done["ticks"] == 1
    assert done["rows"] == sum(count for name, count in done.items() if name.startswith("rows."))
    assert not world.process().tick(world.checkpoint())


def test_a_page_costs_a_file_less_than_a_kilobyte():
    world = World()
    deliver(world.process(), [hit(n, n) for n in range(100)])
    assert max(len(page.metadata()[ledger.METADATA_KEY]) for _, page, _ in published(world)) < 1000
