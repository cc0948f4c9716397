"""The audit's pure parts: footers, running numbers, places of holes, sets of offsets, Kafka's ends."""

import contextlib
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from arro3.core import Array, DataType, RecordBatch, Table
from arro3.io import write_parquet
from hypothesis import given
from hypothesis import strategies as st

from headrace.checkpoint import Checkpoint, CheckpointKey
from headrace.lake import FileName
from headrace.ledger import Commit, Page
from headrace_cli.ledger import log_ends
from headrace_cli.ledger.finding import Finding, LogEnds, Place
from headrace_cli.ledger.footer import TAIL, DamagedFile, footer_length, parse_footer
from headrace_cli.ledger.location import Segment, locate
from headrace_cli.ledger.offsets import OffsetRange, count, text, without
from headrace_cli.ledger.shelf import Beyond, Doubled, Hole, Shelf, Spot, WrongRows


def footer_of(content):
    return content[-TAIL - footer_length(content) : -TAIL]


class TestFooter:
    @pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 8191, 100_000])
    def test_tells_the_rows_and_the_metadata(self, rows):
        buffer = io.BytesIO()
        batch = RecordBatch.from_arrays([Array([*range(rows)], DataType.int64())], names=["a"])
        write_parquet(Table.from_batches([batch]), buffer, key_value_metadata={"x": "ä" * 300, "y": ""})
        footer = parse_footer(footer_of(buffer.getvalue()))
        assert footer.rows == rows
        assert footer.metadata.items() >= {"x": "ä" * 300, "y": ""}.items()

    def test_of_another_writer_with_everything_on_is_read_too(self):
        """Statistics, page indexes, many row groups, nested columns, long lists."""
        table = pa.table({f"c{n}": [[n, None], None] * 500 for n in range(40)} | {"flag": [True, None] * 500})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=10, write_page_index=True, write_page_checksum=True)
        assert parse_footer(footer_of(buffer.getvalue())).rows == 1000

    @pytest.mark.parametrize(
        "end", [b"", b"PAR1", b"x" * 20, b"\0" * 4 + b"PAR1", b"\xff" * 4 + b"PAR1", b"\5\0\0\0PAR2"]
    )
    def test_has_a_length_and_a_mark(self, end):
        with pytest.raises(DamagedFile):
            footer_length(end)

    @given(data=st.binary(max_size=200))
    def test_of_garbage_is_damaged_and_nothing_worse(self, data):
        with contextlib.suppress(DamagedFile):
            assert parse_footer(data).rows >= 0

    @given(data=st.data())
    def test_with_wrong_bytes_is_damaged_or_readable_and_nothing_worse(self, data):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}), buffer)
        footer = bytearray(footer_of(buffer.getvalue()))
        for _ in range(data.draw(st.integers(1, 4))):
            footer[data.draw(st.integers(0, len(footer) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(DamagedFile):
            parse_footer(bytes(footer[: data.draw(st.integers(1, len(footer)))]))

    def test_nested_without_end_is_damaged(self):
        with pytest.raises(DamagedFile, match="deeply"):
            parse_footer(b"\x1c" * 10_000)

    def test_that_promises_a_list_without_end_is_damaged_at_once(self):
        with pytest.raises(DamagedFile, match="cannot be read"):
            parse_footer(b"\x19\xf7" + b"\xff" * 8 + b"\x7f" + b"\0" * 100)


class TestOffsets:
    @pytest.mark.parametrize(
        ("whole", "offsets", "left"),
        [
            ((3, 8), [], [(3, 8)]),
            ((3, 8), [3, 4], [(5, 8)]),
            ((3, 8), [7, 6], [(3, 6)]),
            ((3, 8), [5, 5, 5], [(3, 5), (6, 8)]),
            ((3, 8), [2, 8, 9], [(3, 8)]),
            ((3, 8), range(20), []),
            ((3, 3), [3], []),
        ],
    )
    def test_a_range_without_some_offsets(self, whole, offsets, left):
        assert without(OffsetRange(*whole), offsets) == left

    @given(first=st.integers(0, 20), length=st.integers(0, 30), offsets=st.lists(st.integers(0, 60)))
    def test_what_is_left_is_the_difference_of_the_sets(self, first, length, offsets):
        left = without(OffsetRange(first, first + length), offsets)
        named = [offset for each in left for offset in range(*each)]
        assert named == sorted(set(range(first, first + length)) - set(offsets))
        assert count(left) == len(named)

    def test_a_person_reads_both_ends_and_not_too_many(self):
        assert text([OffsetRange(3, 4), OffsetRange(6, 9)]) == "3, 6-8"
        many = [OffsetRange(n, n + 1) for n in range(0, 40, 2)]
        assert text(many) == "0, 2, 4, 6, 8, 10, 12, 14 … and 12 more ranges up to 38"


def shelf_of(*files):
    """A shelf of (running number, running row, rows); the version is the number."""
    shelf = Shelf()
    for file, row, rows in files:
        commit = Commit("p", "1", "t", 0, file, 0, 0, {}, {})
        shelf.add(Page(commit, "a", 0, file, row), FileName("p", "1", "t", 0, "a", 0, file, 0), rows)
    return shelf


def spot(file, row, rows):
    return Spot(file, row, rows, version=file, number=0, hour_ms=0)


ONE, TWO, THREE, FOUR = (1, 10, 10), (2, 15, 5), (3, 16, 1), (4, 20, 4)


class TestShelf:
    @pytest.mark.parametrize(
        ("files", "faults"),
        [
            pytest.param([ONE, TWO, THREE, FOUR], [], id="all there"),
            pytest.param([FOUR, TWO, ONE, THREE], [], id="in any order"),
            pytest.param([TWO, THREE, FOUR], [Hole(1, 1, None, spot(*TWO), 0, 10)], id="the first is missing"),
            pytest.param([ONE, FOUR], [Hole(2, 3, spot(*ONE), spot(*FOUR), 10, 16)], id="two are missing"),
            pytest.param([ONE, TWO, THREE], [Hole(4, 4, spot(*THREE), None, 16, 20)], id="the last is missing"),
            pytest.param([], [Hole(1, 4, None, None, 0, 20)], id="all are missing"),
            pytest.param(
                [ONE, THREE],
                [Hole(2, 2, spot(*ONE), spot(*THREE), 10, 15), Hole(4, 4, spot(*THREE), None, 16, 20)],
                id="every other one is missing",
            ),
            pytest.param([ONE, TWO, TWO, THREE, FOUR], [Doubled(spot(*TWO), spot(*TWO))], id="one is there twice"),
            pytest.param([ONE, TWO, THREE, FOUR, (5, 21, 1)], [Beyond(spot(5, 21, 1))], id="one was never counted"),
            pytest.param(
                [ONE, (2, 15, 4), THREE, FOUR], [WrongRows(spot(2, 15, 4), 5)], id="one has lost a row without a trace"
            ),
            pytest.param([ONE, TWO, THREE, (4, 19, 3)], [WrongRows(spot(4, 19, 3), 4)], id="the last has too few rows"),
        ],
    )
    def test_says_what_differs_from_four_files_with_twenty_rows(self, files, faults):
        assert list(shelf_of(*files).faults(4, 20, 0)) == faults

    def test_rows_from_before_files_were_numbered_count_before_the_first(self):
        files = [(file, row + 100, rows) for file, row, rows in (ONE, TWO, THREE, FOUR)]
        assert list(shelf_of(*files).faults(4, 120, 100)) == []
        assert list(shelf_of(*files).faults(4, 120, None)) == [], "unknown: nothing to compare with"
        (hole,) = shelf_of(*files[1:]).faults(4, 120, None)
        assert (hole.row_before, hole.row) == (None, 110)

    def test_finds_the_files_of_some_commits(self):
        shelf = shelf_of(FOUR, TWO, ONE, THREE)
        assert [each.file for each in shelf.of_versions(1, 3)] == [2, 3]
        assert shelf.of_versions(4, 9) == []
        shelf.add(Page(Commit("p", "1", "t", 0, 9, 0, 0, {}, {}), "a", 0, 5, 21), FileName(*"p1t", 0, "a", 0, 9, 0), 1)
        assert [each.version for each in shelf.of_versions(3, 9)] == [4, 9]


def checkpoint(**fields):
    settings = {
        "key": CheckpointKey("headrace", "p", "1", "t", 0),
        "version": 9,
        "base_offset": 100,
        "next_offset": 190,
        "committed_at_ms": 0,
        "max_timestamp_ms": 0,
        "fingerprint": "",
        "totals": {"files.a": 5, "rows.a": 50},
    }
    return Checkpoint(**settings | fields)


def commit(version, added, total, *, rows=10):
    """A commit that passed ten offsets and added files to table `a`, of ten rows each."""
    first = 100 + 10 * (version - 1)
    return Commit(
        *("p", "1", "t", 0, version, first, first + 10),
        added={"files.a": added, "rows.a": added * rows},
        totals={"files.a": total, "rows.a": total * rows},
    )


def hole(first, last, *, rows=10):
    return Hole(first, last, None, None, (first - 1) * rows, last * rows)


class TestLocation:
    """Files of table `a`: 1 of version 1, 2 and 3 of version 4, 4 of version 6, 5 of version 9."""

    @pytest.mark.parametrize(
        ("missing", "commits", "segments"),
        [
            pytest.param((2, 3), [], [(2, 20, 0, 9, (100, 190))], id="nothing is known: somewhere in the books"),
            pytest.param((2, 2), [(4, 2, 3)], [(1, 10, 3, 4, (130, 140))], id="a file of the same commit is there"),
            pytest.param((2, 3), [(1, 1, 1), (6, 1, 4)], [(2, 20, 1, 5, (110, 150))], id="between two neighbours"),
            pytest.param(
                (2, 3), [(1, 1, 1), (3, 0, 1), (5, 0, 3)], [(2, 20, 3, 4, (130, 140))], id="closed in by other tables"
            ),
            pytest.param(
                (2, 4),
                [(1, 1, 1), (5, 0, 3), (9, 1, 5)],
                [(2, 20, 1, 4, (110, 140)), (1, 10, 5, 8, (150, 180))],
                id="a hole over several commits is parted",
            ),
            pytest.param((5, 5), [(6, 1, 4), (8, 0, 4)], [(1, 10, 8, 9, (180, 190))], id="at the end of the books"),
            pytest.param((1, 1), [(2, 0, 1)], [(1, 10, 0, 1, (100, 110))], id="at the start of the books"),
        ],
    )
    def test_of_a_hole_is_as_narrow_as_the_commits_known_allow(self, missing, commits, segments):
        found = locate(hole(*missing), "a", [commit(*each) for each in commits], checkpoint())
        assert found == [Segment(*each[:4], OffsetRange(*each[4])) for each in segments]

    def test_of_a_tick_is_an_empty_range(self):
        tick = Commit("p", "1", "t", 0, 9, 190, 190, {"files.a": 1, "rows.a": 10}, {"files.a": 5, "rows.a": 50})
        (found,) = locate(hole(5, 5), "a", [tick], checkpoint())
        assert found.offsets == OffsetRange(190, 190)

    @given(data=st.data())
    def test_always_holds_every_missing_file_once_in_its_commit(self, data):
        counts = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=12), label="files by version")
        ends = [sum(counts[: n + 1]) for n in range(len(counts))]
        if not ends[-1]:
            return
        commits = [commit(version, *each) for version, each in enumerate(zip(counts, ends, strict=True), 1)]
        first = data.draw(st.integers(1, ends[-1]))
        last = data.draw(st.integers(first, ends[-1]))
        known = data.draw(st.lists(st.sampled_from(commits), unique_by=lambda each: each.version))
        books = checkpoint(
            version=len(counts),
            next_offset=100 + 10 * len(counts),
            totals={"files.a": ends[-1], "rows.a": 10 * ends[-1]},
        )
        segments = locate(hole(first, last), "a", known, books)
        assert sum(segment.files for segment in segments) == last - first + 1
        file = first
        for segment in segments:
            assert segment.rows == 10 * segment.files or segment.version_before == 0
            for number in range(file, file + segment.files):
                version = next(v for v, end in enumerate(ends, 1) if number <= end)
                assert segment.version_before < version <= segment.version
                assert segment.offsets.first <= 100 + 10 * (version - 1) < segment.offsets.next
            file += segment.files


class TestLogEnds:
    @pytest.mark.parametrize(
        ("low", "high", "behind", "what", "lost"),
        [
            (0, 190, 0, None, None),
            (190, 190, 0, None, None),
            (100, 200, 10, None, None),
            (195, 200, 5, "5 offsets expired before they were read", (190, 195)),
            (0, 189, 0, "beyond the log's end 189: the topic was deleted and made again", None),
            (0, 0, 0, "beyond the log's end 0", None),
        ],
    )
    def test_say_whether_it_is_the_same_log_and_nothing_was_lost(self, low, high, behind, what, lost):
        ends, finding = log_ends.compare(checkpoint(), low, high)
        assert ends == LogEnds(low, high, behind)
        assert (finding is None) is (what is None)
        if finding:
            assert what in finding.what
            assert finding.offsets == ([OffsetRange(*lost)] if lost else None)

    def test_of_an_old_generation_say_nothing(self):
        def books(generation, committed_at_ms, partition=0, pipeline="p"):
            key = CheckpointKey("headrace", pipeline, generation, "t", partition)
            return checkpoint(key=key, committed_at_ms=committed_at_ms)

        found = log_ends.superseded([books("1", 5), books("1", 9, 1), books("2", 10, 1), books("1", 1, pipeline="q")])
        assert found == {Place("p", "1", "t", 0): "2", Place("p", "1", "t", 1): "2"}


PLACE = Place("landing", "1", "clicks", 0)


@pytest.mark.parametrize(
    ("finding", "line"),
    [
        (
            Finding(
                kind="missing", place=PLACE, table="clicks", what="1 file with 4 rows missing", versions=(7, 7),
                offsets=[OffsetRange(3, 5), OffsetRange(8, 10)], exact=True,
            ),
            "landing, generation 1, clicks-0, table clicks: 1 file with 4 rows missing, of version 7, offsets 3-4, 8-9",
        ),
        (
            Finding(
                kind="missing", place=PLACE, table="late", what="2 files missing", versions=(7, 9),
                offsets=[OffsetRange(3, 4)], exact=False,
            ),
            "landing, generation 1, clicks-0, table late: 2 files missing, of a version from 7 to 9, of the offsets 3",
        ),
        (
            Finding(kind="missing", place=PLACE, table="w", what="1 file missing", offsets=[OffsetRange(3, 5)]),
            "landing, generation 1, clicks-0, table w: 1 file missing, written at the offsets 3-4",
        ),
        (
            Finding(kind="missing", place=PLACE, table="w", what="1 file missing", offsets=[OffsetRange(3, 3)]),
            "landing, generation 1, clicks-0, table w: 1 file missing, of a tick at offset 3",
        ),
        (
            Finding(kind="unknown", place=None, what="no table has a file of this name", key="lake/x.parquet"),
            "nobody's: no table has a file of this name: lake/x.parquet",
        ),
    ],
)  # fmt: skip
def test_a_finding_is_one_line(finding, line):
    assert str(finding) == line
