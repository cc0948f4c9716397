"""A progress bar for what takes longer than two seconds, on a terminal only."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

DELAY_S = 2.0
"""What is over sooner needs no bar."""
LOOK_EVERY = 256
"""Items between two looks at the clock."""


def tracked(
    items: Iterable[T], description: str, fraction: Callable[[], float | None], *, look_every: int = LOOK_EVERY
) -> Iterator[T]:
    """The items, with a bar on stderr after two seconds if that is a terminal.

    Args:
        items: what is to be passed on.
        description: what is being done, e.g. `Producing to clicks`.
        fraction: how much is done, 0 to 1, or None if nobody knows.
        look_every: items between two looks at the clock; 1 if each takes long.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    yield from _with_bar(items, description, fraction, look_every)


def _with_bar(
    items: Iterable[T], description: str, fraction: Callable[[], float | None], look_every: int
) -> Iterator[T]:
    due_s = time.monotonic() + DELAY_S
    bar: Progress | None = None
    try:
        for number, item in enumerate(items, 1):
            yield item
            if number % look_every:
                continue
            if bar is None and time.monotonic() >= due_s:
                bar = _started(description)
            if bar is not None:
                bar.update(bar.task_ids[0], completed=fraction(), total=_total(fraction()), records=number)
    finally:
        if bar is not None:
            bar.stop()


def _total(fraction: float | None) -> float | None:
    return None if fraction is None else 1.0


def _started(description: str) -> "Progress":
    from rich.console import Console  # noqa: PLC0415 - 60 ms that only a bar pays
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - same

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[records]:,}"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task(description, total=None, records=0)
    bar.start()
    return bar
