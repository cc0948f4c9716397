"""Registers in the catalog what the lake holds: only what is published is in the folders that it looks into.

    lake/<pipeline>/<table>/date=…/hour=…/     folders are listed, not files: a request per thousand of them

A date of which all hours are registered needs no look. Of the others, a run looks into the newest ones and into some of
the rest, other ones each time, so that what it costs is bounded and nothing is forgotten: hours of late records come by
their turn. A file's footer tells the columns: of each new hour one, and the newest file of the current hour.

Nothing is remembered between runs. Two at once, a table that was changed and a partition that was deleted make no
difference: what is missing is found missing by the next run.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from zlib import crc32

import msgspec
from arro3.core import Schema

from headrace import footer
from headrace.catalog import (
    DATE,
    HOUR,
    LAKE_TABLE,
    Catalog,
    Changes,
    Partition,
    Table,
    Values,
    folder,
    table_names,
)
from headrace.catalog_changes import (
    Listed,
    columns_of,
    desired_table,
    merged_table,
    partition_changes,
    partition_location,
    table_changes,
    wanted_values,
)
from headrace.errors import CatalogConflict, HeadraceError
from headrace.lake import LAKE

MAX_PARTITIONS = 500
"""Changed of one table in one run; the next one goes on."""
MAX_FRUITLESS = 12
"""Dates of one table that a run looks into without finding a new hour."""
NEWEST_DATES = 2
"""Dates that every run looks into: mostly today and yesterday."""
MAX_DEPTH = 4
"""Folders between the lake's and a table's dates."""
END_BYTES = 32 * 1024
"""Most footers are shorter."""
RING, GOLDEN = 2**32, 2_654_435_769
TURN_MS = 300_000
"""So often other dates are looked into."""
DAY_HOURS = 24

_DATE, _HOUR = f"{DATE}=", f"{HOUR}="
_IS_DATE = re.compile(rf"{_DATE}\d{{4}}-\d\d-\d\d", re.ASCII)
_IS_HOUR = re.compile(rf"{_HOUR}([01]\d|2[0-3])", re.ASCII)


class Folders(Protocol):
    """The part of the lake's objects that a registrar takes."""

    def below(self, prefix: str) -> Any:
        """Names of the folders directly in a folder, as `folders`, and whether it `has_files`."""
        ...

    def newest_ends(self, prefixes: Sequence[str], length: int) -> Sequence[Any]:
        """Of the file last written in each folder its `key`, `written_ms`, last bytes as `data`, and `size`."""
        ...

    def read_end(self, key: str, length: int) -> tuple[bytes, int]:
        """The last bytes of a file, and its size."""
        ...


class Plan(msgspec.Struct):
    """What one table of the lake needs in the catalog."""

    lake_table: str
    name: str
    """In the catalog."""
    changes: Changes | None = None
    """None if it cannot be told."""
    left_out: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Columns that the table cannot have, and why."""
    unlooked: int = 0
    """Dates not looked into this time of which not every hour is registered."""
    skipped: bool = False
    """Left for a later run, for want of time."""
    failure: Exception | None = None


class Registration(msgspec.Struct):
    """What a run did."""

    tables: int = 0
    created: int = 0
    updated: int = 0
    added: int = 0
    """Partitions, as those below."""
    replaced: int = 0
    removed: int = 0
    unlooked: int = 0
    """Dates left for later runs."""
    skipped: int = 0
    """Tables left for later runs, for want of time."""
    left_out: dict[str, Mapping[str, str]] = msgspec.field(default_factory=dict)
    """Table of the lake to its columns that the catalog cannot have, and why."""
    failures: dict[str, Exception] = msgspec.field(default_factory=dict)
    """Table of the lake to what went wrong with it."""


class Registrar:
    """Keeps the catalog's tables up to date with one lake."""

    def __init__(
        self,
        folders: Folders,
        catalog: Catalog,
        location: str,
        *,
        max_partitions: int = MAX_PARTITIONS,
        max_fruitless: int = MAX_FRUITLESS,
    ) -> None:
        """Wire it.

        Args:
            folders: the lake's objects.
            catalog: where its tables are registered.
            location: of the lake, as readers of the catalog find it: `s3://BUCKET[/PREFIX]`.
            max_partitions: see `MAX_PARTITIONS`.
            max_fruitless: see `MAX_FRUITLESS`.
        """
        self._folders = folders
        self._catalog = catalog
        self._location = location.rstrip("/")
        self._max_partitions = max_partitions
        self._max_fruitless = max_fruitless

    def register(self, now_ms: int, has_time: Callable[[], bool] = lambda: True) -> Registration:
        """Bring the catalog up to date, as far as one run goes; a failure of one table stops none of the others.

        Args:
            now_ms: the time.
            has_time: asked before each table.

        Raises:
            InfrastructureError, ConfigurationError: the lake or the catalog cannot be read at all.
        """
        done = Registration()
        for plan in self.applied(now_ms, has_time):
            _count(done, plan)
        return done

    def applied(self, now_ms: int, has_time: Callable[[], bool] = lambda: True) -> Iterator[Plan]:
        """The same, table by table, as they are done."""
        for plan in self.plans(now_ms, has_time):
            if plan.changes:
                try:
                    self._catalog.apply(plan.changes)
                except HeadraceError as error:
                    plan.failure = error
            yield plan

    def plans(self, now_ms: int, has_time: Callable[[], bool] = lambda: True) -> Iterator[Plan]:
        """What each table needs, in another order each turn. Arguments and errors as of `register`."""
        known = self._catalog.tables()
        dates_of = dict(self._lake_tables(LAKE, MAX_DEPTH))
        names = table_names(dates_of, known)
        turn = now_ms // TURN_MS
        for lake_table in sorted(names, key=lambda name: _wait(turn, name)):
            plan = Plan(lake_table, names[lake_table])
            plan.skipped = not has_time()
            try:
                if not plan.skipped:
                    self._plan(plan, dates_of[lake_table], known.get(plan.name), now_ms)
            except HeadraceError as error:
                plan.failure = error
            yield plan

    def _lake_tables(self, prefix: str, depth: int) -> Iterator[tuple[str, list[str]]]:
        """Each table below a folder, with its dates, the newest first."""
        names = self._folders.below(prefix).folders
        dates = [name.removeprefix(_DATE) for name in names if _IS_DATE.fullmatch(name)]
        if dates:
            yield prefix.removeprefix(f"{LAKE}/"), dates[::-1]
        elif depth:
            for name in names:
                yield from self._lake_tables(f"{prefix}/{name}", depth - 1)

    def _plan(self, plan: Plan, dates: list[str], known: Table | None, now_ms: int) -> None:
        location = f"{self._location}/{LAKE}/{plan.lake_table}/"
        registered = self._catalog.partitions(plan.name) if known and _is_ours(known, plan, location) else {}
        listed, plan.unlooked = self._listed(plan.lake_table, dates, location, registered, now_ms)
        new = [v for v in sorted(wanted_values(listed), reverse=True) if v not in registered]
        schemas = self._schemas(plan.lake_table, [*new[: self._max_partitions], *_current(listed, now_ms)])
        if not schemas and known is None:
            raise CatalogConflict(f"no file of {plan.lake_table} can be read: its columns are not known")
        desired = desired_table(plan.name, plan.lake_table, location, schemas, by_hour=listed.by_hour)
        table = merged_table(desired, known) if schemas or known is None else known
        plan.left_out = {**columns_of(schemas).left_out, **_hidden(desired, table)}
        update = table_changes(table, known) if known else ()
        partitions = partition_changes(table, listed, registered, self._max_partitions)
        plan.changes = Changes(table, known is None, update, *partitions)

    def _listed(
        self, lake_table: str, dates: list[str], location: str, registered: Mapping[Values, Partition], now_ms: int
    ) -> tuple[Listed, int]:
        """The hours of some dates, and how many dates were left for later."""
        complete = _complete_dates(location, registered)
        today = _soon(now_ms)[0]
        # A date of the future is a wrong clock's: it would be among the newest for ever.
        newest = [date for date in dates if date <= today][:NEWEST_DATES]
        waiting = [date for date in dates if date not in complete and date not in newest]
        waiting.sort(key=lambda date: _wait(now_ms // TURN_MS, date))
        hours: dict[str, list[str]] = {}
        found = fruitless = 0
        for date in [*newest, *waiting]:
            if found >= self._max_partitions or fruitless >= self._max_fruitless:
                break
            below = self._folders.below(f"{LAKE}/{lake_table}/{_DATE}{date}")
            hours[date] = [name.removeprefix(_HOUR) for name in below.folders if _IS_HOUR.fullmatch(name)]
            if below.has_files:
                if any(hours.values()):
                    raise CatalogConflict(f"{lake_table} has files by the hour and by the day: no table can have both")
                return Listed(dates, {}, by_hour=False), 0
            new = sum((date, hour) not in registered for hour in hours[date])
            found, fruitless = found + new, fruitless + (not new)
        return Listed(dates, hours), len(waiting) - sum(date in hours for date in waiting)

    def _schemas(self, lake_table: str, partitions: Sequence[Values]) -> list[Schema]:
        """The schema of the newest file of each partition, the newest one's last; unreadable files are passed over."""
        prefixes = list(dict.fromkeys(f"{LAKE}/{lake_table}/{folder(values)}" for values in partitions))
        ends = sorted(self._folders.newest_ends(prefixes, END_BYTES), key=lambda end: (end.written_ms, end.key))
        return [schema for end in ends if (schema := footer.schema(end.data, end.size) or self._long_footer(end))]

    def _long_footer(self, end: Any) -> Schema | None:
        length = footer.length(end.data)
        if not len(end.data) < length <= min(end.size, footer.MAX_BYTES):
            return None
        return footer.schema(*self._folders.read_end(end.key, length))


def _count(done: Registration, plan: Plan) -> None:
    done.tables += 1
    done.unlooked += plan.unlooked
    done.skipped += plan.skipped
    if plan.left_out:
        done.left_out[plan.lake_table] = plan.left_out
    if plan.failure is not None:
        done.failures[plan.lake_table] = plan.failure
    elif plan.changes is not None:
        done.created += plan.changes.create
        done.updated += bool(plan.changes.update)
        done.added += len(plan.changes.add)
        done.replaced += len(plan.changes.replace)
        done.removed += len(plan.changes.remove)


def _is_ours(known: Table, plan: Plan, location: str) -> bool:
    return known.parameters.get(LAKE_TABLE) == plan.lake_table or known.location.rstrip("/") == location.rstrip("/")


def _complete_dates(location: str, registered: Mapping[Values, Partition]) -> set[str]:
    """Dates of which every hour is registered, and at its place."""
    counts: dict[str, int] = {}
    for values, partition in registered.items():
        if partition.location == partition_location(location, values):
            counts[values[0]] = counts.get(values[0], 0) + 1
    return {date for date, count in counts.items() if count >= DAY_HOURS}


def _current(listed: Listed, now_ms: int) -> list[Values]:
    """The newest hour that is not in the future, where files still come; of nothing but future ones, the newest."""
    soon = _soon(now_ms)
    found = sorted(wanted_values(listed))
    return ([values for values in found if values <= soon] or found)[-1:]


def _soon(now_ms: int) -> Values:
    """The next hour: clocks differ, and events may be a little ahead."""
    soon = datetime.fromtimestamp(now_ms / 1000, UTC) + timedelta(hours=1)
    return soon.date().isoformat(), f"{soon.hour:02d}"


def _hidden(desired: Table, table: Table) -> dict[str, str]:
    """Columns that were not there when the table got partition columns of their names."""
    has = {column.name.lower() for column in table.columns}
    return {
        column.name: "the table has a partition column of this name: drop the table in the catalog, it is made again"
        for column in desired.columns
        if column.name not in has
    }


def _wait(turn: int, name: str) -> int:
    """How long the name has to wait for its turn: names are on a ring, of which each turn begins elsewhere.

    Steps of the golden ratio leave no part of the ring out for long, however many turns a run skips.
    """
    return (crc32(name.encode()) - turn * GOLDEN) % RING
