"""Bids as the Nexmark benchmark makes them: its proportions, its skew, its rate.

From the generator of github.com/nexmark/nexmark (`nexmark-flink/src/main/java/com/github/nexmark/flink`: `generator/`
and the defaults of `NexmarkConfiguration.java`), as far as the queries over bids can tell:

- of 50 events, in this order, 1 is a person, 3 are auctions and 46 are bids; 10,000 events a second, in order of time;
- every second bid (`hotAuctionRatio` 2) is for the hot auction: the first of the latest hundred; the others are for one
  of the 100 in flight or of 10 that are yet to come;
- three of four bids (`hotBiddersRatio` 4) are the hot bidder's: the second of the latest hundred people; the others are
  one of the 1,000 active people's or of 10 that are yet to come;
- prices are 10 to the power of 0 to 6, in cents; half of the bids come through one of four channels.

Persons and auctions are counted, for the ids grow with them, and not sent: the queries drop them unread. The random
numbers are Python's, seeded.
"""

import random
from functools import cache

from inputs import NOON_MS, RECORDS, Payload, compact, event

PERSONS, AUCTIONS, BIDS = 1, 3, 46
EPOCH = PERSONS + AUCTIONS + BIDS
"""Events until the order begins again."""
EVENTS_PER_S = 10_000
HOT_AUCTION_RATIO, HOT_BIDDERS_RATIO = 2, 4
HOT_EVERY = 100
"""Of so many auctions or people one becomes hot."""
IN_FLIGHT_AUCTIONS, ACTIVE_PEOPLE, LEAD = 100, 1_000, 10
FIRST_ID = 1_000
CHANNELS = 10_000
BID_BYTES, ID_BYTES = 100, 32
"""The average size of a bid as Nexmark counts it, of which four numbers are 32 bytes: the rest is padding."""


def bids(number: int, partitions: int) -> str:
    """The JSON text of a batch of bids, keyed by bidder."""

    def payload(chance: random.Random, index: int, _arrival_ms: int) -> Payload:
        return _bid(chance, number * RECORDS + index)

    return event("bids", number, partitions, payload)


def _bid(chance: random.Random, bid_number: int) -> Payload:
    epoch, place = divmod(bid_number, BIDS)
    event_number = epoch * EPOCH + PERSONS + AUCTIONS + place
    last_auction, last_person = epoch * AUCTIONS + AUCTIONS - 1, epoch * PERSONS + PERSONS - 1
    bidder = FIRST_ID + _bidder(chance, last_person)
    channel, url = _channel(chance)
    bid = {
        "auction": FIRST_ID + _auction(chance, last_auction),
        "bidder": bidder,
        "price": round(10 ** (chance.random() * 6) * 100),
        "channel": channel,
        "url": url,
        "dateTime": NOON_MS + event_number * 1_000 // EVENTS_PER_S,
        "extra": _padding(chance),
    }
    return str(bidder).encode(), compact(bid)


def _auction(chance: random.Random, last: int) -> int:
    if chance.randrange(HOT_AUCTION_RATIO):
        return last // HOT_EVERY * HOT_EVERY
    first = max(last - IN_FLIGHT_AUCTIONS, 0)
    return first + chance.randrange(last - first + 1 + LEAD)


def _bidder(chance: random.Random, last: int) -> int:
    if chance.randrange(HOT_BIDDERS_RATIO):
        return last // HOT_EVERY * HOT_EVERY + 1
    active = min(last + 1, ACTIVE_PEOPLE)
    return last + 1 - active + chance.randrange(active + LEAD)


def _channel(chance: random.Random) -> tuple[str, str]:
    if chance.randrange(2):
        return chance.choice(HOT_CHANNELS)
    return _cold_channel(chance.randrange(CHANNELS))


@cache
def _cold_channel(number: int) -> tuple[str, str]:
    suffix = f"&channel_id={number * 7919 % 2**31}" if number % 10 else ""
    return f"channel-{number}", _url(random.Random(number)) + suffix


def _url(chance: random.Random) -> str:
    folders = "/".join(_word(chance, 3 + chance.randrange(2)) for _ in range(3))
    return f"https://www.nexmark.com/{folders}/item.htm?query=1"


def _word(chance: random.Random, length: int) -> str:
    return f"{chance.getrandbits(4 * length):0{length}x}"


def _padding(chance: random.Random) -> str:
    average = BID_BYTES - ID_BYTES
    spread = round(average * 0.2)
    return _word(chance, average - spread + chance.randrange(2 * spread))


HOT_CHANNELS = [(name, _url(random.Random(name))) for name in ("Google", "Facebook", "Baidu", "Apple")]
