"""Which letters a filter takes, which files need not be read for it, and how the options are written."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letters import NOON_MS, dead, late, publish, record
from obstore.store import MemoryStore

from headrace.lake import HOUR_MS
from headrace.objects import ObjectStoreOutbox
from headrace_cli.commands.letter_filters import Instant, Offsets, RecordPosition, letter_filters
from headrace_cli.dead.letters import RecordId, letter_files, letters
from headrace_cli.dead.selection import OffsetRange, Position, Selection
from headrace_cli.errors import CommandError, OptionError

ALL = {
    ("clickstream", "1", "clicks-0@5"),
    ("clickstream", "1", "clicks-0@6"),
    ("clickstream", "2", "clicks-0@5"),
    ("landing", "1", "clicks-0@5"),
    ("landing", "1", "web-logs-3@5"),
}
LATE_ONES = {("clickstream", "1", "clicks-0@9")}


def made_lake():
    """Two hours, two pipelines, two generations; topic names with dashes; a late record that two operators refused."""
    objects = ObjectStoreOutbox(MemoryStore())
    publish(objects, dead([record(5), record(6, at_ms=NOON_MS + HOUR_MS)]))
    publish(objects, dead([record(5)], "missing_field"), generation="2")
    publish(objects, dead([record(5)]), pipeline="landing")
    logs = record(5, topic="web-logs", partition=3)
    publish(objects, dead([logs], "unknown_format"), pipeline="landing", topic="web-logs", partition=3)
    publish(objects, late([record(9, at_ms=NOON_MS + HOUR_MS)], ["pages", "sessions"]), version=2)
    return objects


@pytest.fixture
def lake():
    return made_lake()


def selected(lake, selection):
    files = [file for file in letter_files(lake) if selection.may_be_in(file)]
    found = [letter for letter in letters(lake, files) if selection.takes(letter)]
    return {(letter.pipeline, letter.generation, letter.record.position) for letter in found}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ALL),
        ({"late": True}, ALL | LATE_ONES),
        ({"late": True, "reasons": frozenset({"late"})}, LATE_ONES),
        ({"pipelines": frozenset({"clickstream"})}, {each for each in ALL if each[0] == "clickstream"}),
        ({"generations": frozenset({"2"})}, {("clickstream", "2", "clicks-0@5")}),
        ({"generations": frozenset({"1", "2"}), "topics": frozenset({"clicks"})}, {e for e in ALL if "clicks" in e[2]}),
        ({"topics": frozenset({"web-logs"})}, {("landing", "1", "web-logs-3@5")}),
        ({"topics": frozenset({"web"})}, set()),
        ({"partitions": frozenset({3})}, {("landing", "1", "web-logs-3@5")}),
        ({"reasons": frozenset({"missing_field"})}, {("clickstream", "2", "clicks-0@5")}),
        ({"offsets": frozenset({OffsetRange(6)})}, {("clickstream", "1", "clicks-0@6")}),
        ({"offsets": frozenset({OffsetRange(0, 5), OffsetRange(6, 7)})}, {("clickstream", "1", "clicks-0@6")}),
        ({"positions": frozenset({Position("web-logs", 3, 5)})}, {("landing", "1", "web-logs-3@5")}),
        ({"positions": frozenset({Position("clicks", 0, 6, NOON_MS)})}, set()),
        ({"positions": frozenset({Position("clicks", 0, 6, NOON_MS + HOUR_MS)})}, {("clickstream", "1", "clicks-0@6")}),
        ({"since_ms": NOON_MS + 1}, {("clickstream", "1", "clicks-0@6")}),
        ({"since_ms": NOON_MS, "until_ms": NOON_MS + HOUR_MS}, ALL - {("clickstream", "1", "clicks-0@6")}),
        ({"until_ms": NOON_MS}, set()),
    ],
    ids=str,
)
def test_a_filter_takes_what_it_names(lake, filters, expected):
    assert selected(lake, Selection(**filters)) == expected


@given(
    late=st.booleans(),
    since_ms=st.none() | st.integers(NOON_MS - 2, NOON_MS + HOUR_MS + 2),
    until_ms=st.none() | st.integers(NOON_MS - 2, NOON_MS + HOUR_MS + 2),
    topics=st.frozensets(st.sampled_from(["clicks", "web-logs", "web"])),
    partitions=st.frozensets(st.sampled_from([0, 3])),
    positions=st.frozensets(st.sampled_from([Position("clicks", 0, 5), Position("web-logs", 3, 5, NOON_MS)])),
)
def test_a_file_that_is_not_read_holds_nothing_of_the_selection(**filters):
    objects = made_lake()
    selection = Selection(**filters)
    for file in letter_files(objects):
        for letter in letters(objects, [file]):
            wanted = (
                selection.takes(letter)
                and (file.table == "dead_letters" or selection.late)
                and (not selection.topics or letter.record.topic in selection.topics)
                and (not selection.partitions or letter.record.partition in selection.partitions)
            )
            assert selection.may_be_in(file) or not wanted


@pytest.mark.parametrize("at_ms", [-1, -(10**18), 10**18])
def test_a_record_without_a_usable_timestamp_is_found_by_it_all_the_same(at_ms):
    objects = ObjectStoreOutbox(MemoryStore())
    publish(objects, dead([record(5, at_ms=at_ms)]))
    assert selected(objects, Selection(since_ms=at_ms, until_ms=at_ms + 1)) == {("clickstream", "1", "clicks-0@5")}


def test_letters_come_in_the_order_of_their_commits():
    """By name, version 10 would come before version 9."""
    objects = ObjectStoreOutbox(MemoryStore())
    for version in (10, 9, 100):
        publish(objects, dead([record(version)]), version=version)
    assert [letter.record.offset for letter in letters(objects, letter_files(objects))] == [9, 10, 100]


def test_a_letter_has_everything_that_was_sent(lake):
    (found, again) = letters(lake, [file for file in letter_files(lake) if file.table == "late"])
    assert found.record == again.record == RecordId("clicks", 0, 9, NOON_MS + HOUR_MS)
    assert str(found.record) == f"clicks-0@9/{NOON_MS + HOUR_MS}"
    assert (found.reason, found.key, found.value, found.headers) == ("late", b"user", b"{", ())
    assert found.detail.startswith("pages: the window 2024-03-13T11:58:00+00:00 to ")


def test_headers_keep_their_order_their_doubles_and_their_nulls():
    objects = ObjectStoreOutbox(MemoryStore())
    raw = [{"b": [1]}, {"a": None}, {"b": []}, {"headrace-redrive": [120]}]
    publish(objects, dead([record(5, key=None, value=None, raw_headers=raw)]))
    (letter,) = letters(objects, letter_files(objects))
    assert letter.headers == (("b", b"\1"), ("a", None), ("b", b""), ("headrace-redrive", b"x"))
    assert (letter.key, letter.value, letter.times_redriven) == (None, None, 1)


@pytest.mark.parametrize("name", ["mine.parquet", "1-clicks-0-1.parquet"])
def test_a_file_that_nobody_published_is_named(name):
    objects = ObjectStoreOutbox(MemoryStore())
    key = f"lake/landing/dead_letters/date=2024-03-13/hour=12/{name}"
    objects.stage({key: b""})
    with pytest.raises(CommandError, match=key):
        letter_files(objects)


def test_a_file_with_other_columns_is_named(lake):
    (key, *_) = publish(lake, late([record(5)]), version=7)
    stolen = key.replace("/late/", "/dead_letters/")
    lake.stage({stolen: lake.read(key)})
    with pytest.raises(CommandError, match=f"{stolen} has no column 'reason'"):
        list(letters(lake, letter_files(lake)))


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        (Offsets(), "41", OffsetRange(41, 42)),
        (Offsets(), "41:", OffsetRange(41, None)),
        (Offsets(), ":50", OffsetRange(0, 50)),
        (Offsets(), "41:50", OffsetRange(41, 50)),
        (RecordPosition(), "clicks-0@41", Position("clicks", 0, 41)),
        (RecordPosition(), "web-2-logs-3@41/-1", Position("web-2-logs", 3, 41, -1)),
        (Instant(), "2024-03-13T12:00", NOON_MS),
        (Instant(), "2024-03-13T13:00:00.001+01:00", NOON_MS + 1),
        (Instant(), "2024-03-13", NOON_MS - 12 * HOUR_MS),
    ],
)
def test_an_option_is_read(option, text, value):
    assert option.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("option", "text"),
    [
        *((Offsets(), text) for text in ("", ":", "a", "1:2:3", "-1", "٣", "1" * 19)),
        *((RecordPosition(), text) for text in ("", "clicks", "clicks-0", "clicks@4", "a b-0@4", "clicks-0@٣")),
        *((Instant(), text) for text in ("", "noon", "2024-13-01", "12:00")),
    ],
)
def test_a_wrong_option_says_how_it_is_written(option, text):
    with pytest.raises(click.BadParameter, match=r"is no .*(41|2024|empty)"):
        option.convert(text, None, None)


def test_positions_come_from_a_file_too(tmp_path):
    """One per line, as `headrace dead show --json | jq -r .position` writes them."""
    taken = []

    def take(selection):
        taken.append(selection)

    command = click.command()(letter_filters(take))
    listed = tmp_path / "positions"
    listed.write_text("clicks-0@41\n\n  web-logs-3@5/7 \n")
    command.main(["--positions", str(listed), "--position", "clicks-0@42"], standalone_mode=False)
    expected = {Position("clicks", 0, 41), Position("web-logs", 3, 5, 7), Position("clicks", 0, 42)}
    assert taken[0].positions == expected
    for text, message in (("clicks\n", "line 1 is no position"), ("\n", "has no positions")):
        listed.write_text(text)
        with pytest.raises(OptionError, match=message):
            command.main(["--positions", str(listed)], standalone_mode=False)
