"""When the records of a generated stream happen, and which of them are bad."""

from collections.abc import Callable, Iterator

SPAN_MS = 6 * 3_600_000
"""Event time that a stream covers."""
OUT_OF_ORDER_MS = 45_000
"""A record that is not late comes less than this after a newer one."""
LATE_MS = (180_000, 900_000)
"""By how much a late record is: from, and below."""
BAD_SHARE = 0.002

_OUT_OF_ORDER_SHARE = 0.3
_LATE_SHARE = 0.001
_LATE_FROM_MS = 20 * 60_000
_FEWEST_PER_BAD = 10


def ticks(records: int, kinds: int) -> Iterator[tuple[int, int | None]]:
    """For each record the milliseconds since the start, and which kind of bad it is (None: good).

    The bad ones are evenly spread and take turns: with at least `10 * kinds` records there is one of every kind.
    """
    bad = min(max(kinds, round(records * BAD_SHARE)), records // _FEWEST_PER_BAD)
    interval = records // bad if bad else records + 1
    for index in range(records):
        elapsed_ms = index * SPAN_MS // records
        turn, place = divmod(index, interval)
        yield elapsed_ms, turn if place == interval // 2 and turn < bad else None


def event_ms(now_ms: int, elapsed_ms: int, draw: Callable[[], float]) -> int:
    """When a record that is sent now happened: now, a little earlier, or far too early."""
    chance = draw()
    if chance < _LATE_SHARE and elapsed_ms > _LATE_FROM_MS:
        least, most = LATE_MS
        return now_ms - least - int(draw() * (most - least))
    if chance < _OUT_OF_ORDER_SHARE:
        return now_ms - int(draw() * OUT_OF_ORDER_MS)
    return now_ms


def weighted(choices: dict[str, int]) -> tuple[str, ...]:
    """Each choice as often as its weight: one draw and one index pick one."""
    return tuple(choice for choice, weight in choices.items() for _ in range(weight))
