"""Windowed tables of a lake: one generation's files, and what they say about how their rows merge over partitions.

A new generation starts from nothing beside the old one's rows, so that rows of two generations never merge.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from arro3.core import Schema

from headrace.lake import MERGE, read_final_key
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.lake_reader import LakeObjects, TableFile, completeness, file_schema, find_table, of_hour, said

Bounds = Literal["window", "session"]


class Top(msgspec.Struct, frozen=True):
    """The operator's `top`."""

    count: int
    """How many keys."""
    by: str
    """The result that they are the best by."""


class Merging(msgspec.Struct, frozen=True):
    """What files say under `headrace.merge`; see `aggregates.merge_rule`."""

    group_by: tuple[str, ...]
    """The columns that are equal in rows of one window and key."""
    columns: dict[str, str]
    """Result column to the SQL expression over the partial rows of a group."""
    sketches: dict[str, str] = {}
    """Result column to its aggregate's class, for those that no SQL expression merges."""
    aggregates: dict[str, tuple[str, dict[str, Any]]] = {}
    """Result column to its aggregate's class and members."""
    window: str = ""
    """The class of the operator's windows."""
    top: Top | None = None
    """Which keys each partition kept of a window; None: all."""


class WindowedTable(NamedTuple):
    """A windowed table of one generation."""

    name: str
    """`pipeline/table`."""
    generation: str
    files: list[TableFile]
    """By hour; within an hour by topic, partition and commit."""
    schema: Schema
    """The first file's."""
    bounds: Bounds
    """What the columns of start and end are named after."""
    merging: Merging | None
    """None: its rows are complete."""

    @property
    def bound_columns(self) -> tuple[str, str]:
        """Start and end."""
        return f"{self.bounds}_start", f"{self.bounds}_end"

    @property
    def key_columns(self) -> list[str]:
        """The key's fields; nothing to say of a table whose rows are complete."""
        group_by = self.merging.group_by if self.merging else ()
        return [name for name in group_by if name not in self.bound_columns]


def open_windows(objects: LakeObjects, table: str, generation: str | None) -> tuple[WindowedTable, list[str]]:
    """A windowed table by name, and all its generations. Reads one file.

    Args:
        objects: the lake.
        table: `pipeline/table`, or its last part.
        generation: None is the newest one.

    Raises:
        OptionError: there is no such table or generation, or its rows are not of windows that merge.
        CommandError: its files do not say how their rows merge.
    """
    name, files = find_table(objects, table)
    by_generation = _by_generation(files)
    chosen = _newest(by_generation) if generation is None else generation
    if chosen not in by_generation:
        raise OptionError(f"--generation {chosen}: {name} has {', '.join(sorted(by_generation))}")
    files = by_generation[chosen]
    schema = file_schema(objects, files[0])
    bounds = _bounds(name, schema)
    merging = _merging(files[0], schema)
    if merging is not None and merging.window == "SlidingWindows":
        raise OptionError(
            f"{name} has sliding windows: a partition has rows for the times of its own events only, so that nothing "
            "merges with the rows of other times. Key the topic by the table's key, and its rows are complete"
        )
    return WindowedTable(name, chosen, files, schema, bounds, merging), sorted(by_generation)


def files_of_hour(table: WindowedTable, hour: str | None) -> WindowedTable:
    """The table with the files of one hour only; None: all. Raises as `of_hour`."""
    return table._replace(files=of_hour(table.files, hour))


def check_same(table: WindowedTable, file: TableFile, schema: Schema) -> None:
    """Rows of files that say different things do not merge.

    Raises:
        CommandError: this file and the table's first one differ.
    """
    first = table.files[0].key
    if _merging(file, schema) != table.merging:
        raise CommandError(f"{file.key} says another thing about how rows merge than {first}: merge them apart")
    for name in table.schema.names:
        if name not in schema.names:
            raise CommandError(f"{file.key} has no column {name}, which {first} has")
        mine, its = schema.field(name).type, table.schema.field(name).type
        if mine != its:
            raise CommandError(f"{file.key}: column {name} is {mine}, in {first} it is {its}")


def _by_generation(files: Sequence[TableFile]) -> dict[str, list[TableFile]]:
    found: dict[str, list[tuple[Any, TableFile]]] = {}
    for file in files:
        name = read_final_key(file.key)
        if name is None:
            raise CommandError(f"{file.key} has a name that no function gives: it says no generation")
        place = (file.hour, name.topic, name.partition, name.version, name.number)
        found.setdefault(name.generation, []).append((place, file))
    return {generation: [file for _, file in sorted(placed)] for generation, placed in found.items()}


def _newest(generations: Sequence[str] | dict[str, Any]) -> str:
    """The only one, or the largest number."""
    if len(generations) == 1:
        return next(iter(generations))
    if not all(name.isascii() and name.isdigit() for name in generations):
        raise OptionError(f"which generation? name it with --generation: {', '.join(sorted(generations))}")
    return max(generations, key=int)


def _bounds(name: str, schema: Schema) -> Bounds:
    has = set(schema.names)
    if "revision" in has and name.endswith("_early"):
        final = name.removesuffix("_early")
        raise OptionError(f"{name} has early results, each superseded by its next revision: merge {final} instead")
    if "_offset" not in has:  # else a row for each record, such as those of the late table
        if {"window_start", "window_end"} <= has:
            return "window"
        if {"session_start", "session_end"} <= has:
            return "session"
    raise OptionError(f"{name} is not a windowed table: its rows belong to one partition each, and do not merge")


def _merging(file: TableFile, schema: Schema) -> Merging | None:
    if completeness(schema) == "complete":
        return None
    text = said(schema, MERGE)
    if text is None:
        raise CommandError(
            f"{file.key} does not say how its rows merge: an older version of Headrace wrote it. "
            "`headrace lake show` has the rows as they are; files of a new generation will say it"
        )
    try:
        return msgspec.json.decode(text, type=Merging)
    except msgspec.DecodeError as error:
        raise CommandError(f"{file.key}: its metadata {MERGE} cannot be read ({error})") from None
