"""The benchmark's bids have Nexmark's proportions and skew.

events   P A A A B B … B | P A A A B B … B |      1 person, 3 auctions, 46 bids, and again: 50 events in 5 ms
"""

import importlib
import json
from base64 import b64decode
from collections import Counter
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmark"


@pytest.fixture(scope="module")
def bids():
    """Of the third batch: by then there are more auctions than are in flight, but fewer people than may be active."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK)
        text = importlib.import_module("nexmark_bids").bids(2, 1)
    records = json.loads(text)["records"]["bids-0"]
    return [json.loads(b64decode(record["value"])) for record in records]


def share(bids, field, number):
    """Of the bids, how many are for one of the commonest values."""
    return sum(count for _, count in Counter(bid[field] for bid in bids).most_common(number)) / len(bids)


def test_10_000_bids_are_what_10_870_events_hold_at_10_000_a_second(bids):
    times_ms = [bid["dateTime"] for bid in bids]
    assert times_ms == sorted(times_ms)
    assert times_ms[-1] - times_ms[0] == pytest.approx(1_087, abs=1)


def test_every_second_bid_is_for_the_hot_auction(bids):
    """652 auctions in this batch: six or seven of them are hot after one another."""
    assert share(bids, "auction", 7) == pytest.approx(1 / 2, abs=0.03)
    hot = [auction for auction, _ in Counter(bid["auction"] for bid in bids).most_common(6)]
    assert all(auction % 100 == 0 for auction in hot)


def test_three_of_four_bids_are_the_hot_bidders(bids):
    assert share(bids, "bidder", 3) == pytest.approx(3 / 4, abs=0.03)
    hot = [bidder for bidder, _ in Counter(bid["bidder"] for bid in bids).most_common(3)]
    assert all(bidder % 100 == 1 for bidder in hot)


def test_the_others_are_for_auctions_in_flight(bids):
    """The latest 100, and 10 that are yet to come."""
    for number, bid in enumerate(bids):
        last = 1_000 + (20_000 + number) // 46 * 3 + 2
        assert bid["auction"] % 100 == 0 or last - 100 <= bid["auction"] <= last + 10


def test_prices_are_spread_over_six_powers_of_ten(bids):
    digits = Counter(len(str(bid["price"])) for bid in bids)
    assert set(digits) <= set(range(3, 10))
    assert [digits[n] / len(bids) for n in range(3, 9)] == pytest.approx([1 / 6] * 6, abs=0.02)


def test_the_same_number_is_the_same_batch():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARK)
        make = importlib.import_module("nexmark_bids").bids
    assert make(0, 1) == make(0, 1)
    assert make(0, 1) != make(1, 1)
