"""Generated visits to a shop: users with several sessions each, few pages with most of the views."""

from collections import deque
from collections.abc import Callable, Iterator
from random import Random

from headrace_cli.generator.bad_records import BAD_CLICKS, ODD_CLICKS, Sprinkle
from headrace_cli.generator.rhythm import SPAN_MS, event_ms, ticks, weighted
from headrace_cli.sources.source import SourceRecord

PAGES = 60
REST_MS = 35 * 60_000
"""A user comes back after this at the earliest: longer than a session gap of 30 minutes with disorder."""

_BETWEEN_CLICKS_MS = 40_000
_MEAN_CLICKS = 9
_RETURNING_SHARE = 0.7

_EVENT_TYPES = weighted({"view": 70, "click": 18, "add_to_cart": 8, "purchase": 4})
_PLATFORMS = weighted({',"platform":"desktop"': 10, ',"platform":"mobile"': 7, ',"platform":"tablet"': 1, "": 2})
_REFERRERS = weighted({"": 8, ',"referrer":"https://search.example/"': 3, ',"referrer":"https://news.example/"': 1})
_UNKNOWN = weighted({"": 98, ',"experiment":"blue_button"': 1, ',"screen":{"width":390,"dpr":3}': 1})
_HEADERS = weighted({"": 49, "shop": 1})


def clicks(records: int, seed: int, start_ms: int) -> Iterator[SourceRecord]:
    """Clicks keyed by user, as `clicks.avsc` declares them, with a sprinkle of bad ones.

    Values are quarters of a unit of money: sums of doubles are then exact in whatever order they are added.
    """
    draw = Random(seed).random  # noqa: S311 - reproducible, not secret
    shop = _Shop(draw, max(records, 1))
    sprinkle = Sprinkle(BAD_CLICKS, ODD_CLICKS)
    for elapsed_ms, turn in ticks(records, sprinkle.kinds):
        now_ms = start_ms + elapsed_ms
        visit = shop.next_visit(elapsed_ms)
        if turn is None:
            yield _click(visit, event_ms(now_ms, elapsed_ms, draw), draw)
        else:
            yield sprinkle.record(turn, visit.user.encode(), now_ms)


class _Visit:
    __slots__ = ("clicks_left", "fixed", "referrer", "user")

    def __init__(self, user: str, number: int, draw: Callable[[], float]) -> None:
        self.user = user
        self.clicks_left = 1 + int(draw() * 2 * _MEAN_CLICKS)
        # What is the same in all of the visit's records.
        self.fixed = f',"session_id":"visit-{number:07}"{_one(_PLATFORMS, draw)}'
        self.referrer = _one(_REFERRERS, draw)


class _Shop:
    """Who is there: a fixed number of visits at a time; whoever leaves is followed by a new or an old user."""

    def __init__(self, draw: Callable[[], float], records: int) -> None:
        self._draw = draw
        self._users = self._visits = 0
        self._resting: deque[tuple[int, str]] = deque()
        at_once = max(2, _BETWEEN_CLICKS_MS * records // SPAN_MS)
        self._present = [self._enter(0) for _ in range(at_once)]

    def next_visit(self, elapsed_ms: int) -> _Visit:
        """Somebody who is there clicks."""
        place = int(self._draw() * len(self._present))
        visit = self._present[place]
        if not visit.clicks_left:
            self._resting.append((elapsed_ms + REST_MS, visit.user))
            visit = self._present[place] = self._enter(elapsed_ms)
        visit.clicks_left -= 1
        return visit

    def _enter(self, elapsed_ms: int) -> _Visit:
        self._visits += 1
        rested = bool(self._resting) and self._resting[0][0] <= elapsed_ms
        if rested and self._draw() < _RETURNING_SHARE:
            return _Visit(self._resting.popleft()[1], self._visits, self._draw)
        self._users += 1
        return _Visit(f"user-{self._users:06}", self._visits, self._draw)


def _click(visit: _Visit, time_ms: int, draw: Callable[[], float]) -> SourceRecord:
    event_type = _EVENT_TYPES[int(draw() * len(_EVENT_TYPES))]
    value = f',"value":{(4 + int(draw() * 800)) / 4}' if event_type in {"add_to_cart", "purchase"} else ""
    text = (
        f'{{"user_id":"{visit.user}","page":"{_ZIPF[int(draw() * len(_ZIPF))]}","event_type":"{event_type}",'
        f'"timestamp":{time_ms}{visit.fixed}{value}{visit.referrer}{_UNKNOWN[int(draw() * len(_UNKNOWN))]}}}'
    )
    visit.referrer = ""  # only the first click has come from somewhere else
    sender = _HEADERS[int(draw() * len(_HEADERS))]
    headers = (("sender", sender.encode()),) if sender else ()
    return SourceRecord(visit.user.encode(), text.encode(), time_ms, headers)


def _one(choices: tuple[str, ...], draw: Callable[[], float]) -> str:
    return choices[int(draw() * len(choices))]


def _pages() -> list[str]:
    first = ["/home", "/search", "/cart", "/checkout", "/account"]
    return first + [f"/product/{number}" for number in range(1, PAGES - len(first) + 1)]


# Zipf's law: the n-th page is looked at 1/n as often as the first.
_ZIPF = weighted({page: 2000 // rank for rank, page in enumerate(_pages(), 1)})
