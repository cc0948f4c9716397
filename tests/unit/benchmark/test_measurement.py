"""How the benchmark judges."""

import pytest
from benchmark.measurement import Measurement, Published, Target, table


def contest(ours, theirs, at_least=2.0):
    return Measurement("windows", "records/s", ours, "plain", theirs, Target("ratio", at_least=at_least))


def test_the_ratio_is_of_each_turn_so_a_machine_that_slows_down_for_some_turns_changes_nothing():
    """Quotient of the medians: 30 / 20."""
    assert contest([30, 60, 15], [10, 20, 20]).ratio == 3


def test_a_ratio_on_the_limit_meets_its_target_and_anything_less_does_not():
    assert contest([2], [1]).met
    assert not contest([1.999], [1]).met


@pytest.mark.parametrize(("value", "met"), [(89.9, True), (90, False), (91, False)])
def test_a_size_must_stay_below_its_limit(value, met):
    assert Measurement("layer", "MB", [value], target=Target("ours_value", below=90)).met is met


def test_without_a_target_nothing_is_missed():
    assert contest([1], [100])._replace(target=None).met


def test_a_target_for_a_ratio_that_is_not_measured_is_a_mistake_and_not_met():
    with pytest.raises(AssertionError, match="which it lacks"):
        _ = Measurement("layer", "MB", [1], target=Target("ratio", at_least=1)).met


def test_a_miss_is_told_in_words_with_what_was_expected():
    words = contest([1500], [1000]).miss()
    assert words == "windows: ratio is 1.5, the target is >= 2 (1,500 records/s against 1,000 by plain)"


def test_a_line_of_output_has_both_values_the_ratio_and_the_verdict():
    line = contest([5, 4, 6], [2, 2, 2])._replace(details={"event_bytes": 7}).as_object()
    assert line == {
        "name": "windows",
        "ours": "headrace",
        "counterpart": "plain",
        "unit": "records/s",
        "ours_value": 5,
        "counterpart_value": 2,
        "ratio": 2.5,
        "repeats": 3,
        "target": "ratio >= 2",
        "met": True,
        "event_bytes": 7,
    }


def test_a_target_for_a_quiet_machine_is_shown_and_not_judged():
    fast = Measurement("windows", "records/s", [200], target=Target("ours_value", at_least=250, informative=True))
    assert (fast.met, fast.failed) == (False, False)
    assert table([fast]).endswith("ours_value >= 250 on a quiet machine: not met")
    assert contest([1], [1]).failed


def test_what_others_published_stands_beside_ours_with_its_source():
    published = Published(22_140, "Flink", "README.md", "another machine")
    measured = Measurement("q5", "records/s", [250_000], published=published)
    assert table([measured]).endswith("22,140 Flink")
    assert measured.as_object()["published"]["source"] == "README.md"


def test_the_table_marks_what_was_missed():
    _, met, missed = table([contest([5], [1]), contest([1], [1])]).splitlines()
    assert met.endswith("ratio >= 2: met")
    assert missed.endswith("ratio >= 2: MISSED")
