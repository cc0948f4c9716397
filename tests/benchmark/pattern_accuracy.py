"""How well patterns group messages that one statement of a program wrote, beside Drain3.

    pattern_accuracy.py FILE…      CSV files with the columns Content (the message) and EventId (its true group)

LogHub's `*_2k.log_structured_corrected.csv` are such files (github.com/logpai/loghub-2.0); they are not part of this
project. For a Java program that one can run, log4j writes the true group itself: with the layout
`%C:%L%x09%enc{%m}{CRLF}%n` it is class and line of the statement.

GA, grouping accuracy (Zhu et al., 2019): the share of messages whose group is exactly a true one. FGA (Khan et al.,
2022; Jiang et al., 2024): the harmonic mean of the shares of found and of true groups that are exactly right: a rare
event counts as much as a frequent one.
"""

import csv
import sys
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

from patterns_contest import Drain3

from headrace.patterns import pattern_of

# ruff: noqa: T201 - printing is what this is for


class Accuracy(NamedTuple):
    """Of one grouping."""

    ga: float
    fga: float
    groups: int


def accuracy(found: Sequence[Hashable], true: Sequence[Hashable]) -> Accuracy:
    """Compare the groups of the same messages."""
    groups, true_groups = _groups(found), _groups(true)
    right = groups & true_groups
    ga = sum(map(len, right)) / len(true)
    return Accuracy(ga, 2 * len(right) / (len(groups) + len(true_groups)), len(groups))


def _groups(labels: Sequence[Hashable]) -> set[tuple[int, ...]]:
    by_label: dict[Hashable, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        by_label[label].append(number)
    return set(map(tuple, by_label.values()))


def main() -> None:
    """A line of Markdown for each file."""
    print("| messages | true groups | GA, FGA, groups | Drain3's |\n| --- | --- | --- | --- |")
    for path in map(Path, sys.argv[1:]):
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.DictReader(file))
        messages, true = [row["Content"] for row in rows], [row["EventId"] for row in rows]
        with Drain3() as drain3:
            theirs = accuracy(drain3.clusters(messages), true)
        ours = accuracy(list(map(pattern_of, messages)), true)
        cells = (f"{each.ga:.3f}, {each.fga:.3f}, {each.groups}" for each in (ours, theirs))
        print(f"| {path.name.split('.')[0]}, {len(rows):,} | {len(set(true))} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
