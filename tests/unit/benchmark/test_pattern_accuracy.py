"""Grouping accuracy, worked out by hand."""

import importlib
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmark"


@pytest.mark.parametrize(
    ("found", "true", "ga", "fga"),
    [
        ("aabb", "xxyy", 1, 1),
        ("abcd", "xxyy", 0, 0),
        ("aaaa", "xxyy", 0, 0),
        ("aabc", "xxyy", 2 / 4, 2 * 1 / (3 + 2)),
        ("aaab", "xxxx", 0, 0),
        ("abab", "xyxz", 2 / 4, 2 * 1 / (2 + 3)),
    ],
)
def test_a_group_is_right_if_it_is_exactly_a_true_one(monkeypatch, found, true, ga, fga):
    monkeypatch.syspath_prepend(BENCHMARK)
    assert importlib.import_module("pattern_accuracy").accuracy(found, true)[:2] == pytest.approx((ga, fga))
