"""Rules: what the last pane, or the last two, have to say for an alert."""

import math

import pytest

from headrace.alert_rules import Absence, NewPattern, RateOfChange, Ratio
from headrace.errors import ConfigurationError

RATIO = Ratio("r", "errors", "events", above=0.25, at_least=20)
SURGE = RateOfChange("c", "events", factor=5, at_least=20)
SLUMP = RateOfChange("c", "events", factor=0.2, at_least=20)


def events(*counts):
    return [{} if count is None else {"events": count} for count in counts]


@pytest.mark.parametrize(
    ("rule", "panes", "value"),
    [
        (RATIO, [{"events": 20, "errors": 6}], 0.3),
        (RATIO, [{"events": 20, "errors": 5}], None),  # not above
        (RATIO, [{"events": 19, "errors": 19}], None),  # too few
        (RATIO, [{"events": 20, "errors": None}], None),
        (RATIO, [{"events": 100, "errors": 100}, {}], None),
        (RATIO, [{}, {"events": 100, "errors": 100}], 1),
        (RATIO, [{"events": 20, "errors": math.nan}], None),
        (Ratio("r", "errors", "events", above=0), [{"events": 0, "errors": 0}], None),
        (SURGE, events(20, 100), 5),
        (SURGE, events(20, 99), None),
        (SURGE, events(1, 19), None),
        (SURGE, events(1, 20), 20),
        (SURGE, events(100), None),  # nothing to compare with
        (SURGE, events(None, 100), None),
        (SURGE, events(0, 100), None),
        (SURGE, events(10, None, 100), None),
        (SLUMP, events(100, 20), 0.2),
        (SLUMP, events(100, 21), None),
        (SLUMP, events(100, None), 0),
        (SLUMP, events(19, 0), None),
        (Absence("a", at_least=2), events(2), 2),
        (Absence("a", at_least=2), events(1), None),
        (NewPattern("n"), [{"severity": "ERROR"}], 1),
        (NewPattern("n"), [{"severity": "WARN"}], None),
        (NewPattern("n"), [{"severity": None}], None),
        (NewPattern("n", "level", ("x",)), [{"level": "x"}], 1),
    ],
)
def test_a_rule_judges_the_last_pane(rule, panes, value):
    verdict = rule.judge(panes)
    assert (None if verdict is None else verdict.value) == value
    assert verdict is None or verdict.says


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: Ratio("", "a", "b", 0.1), "name must be 1 to 64"),
        (lambda: Ratio("Up", "a", "b", 0.1), "name must be 1 to 64"),
        (lambda: Ratio("r" * 65, "a", "b", 0.1), "name must be 1 to 64"),
        (lambda: Ratio("r", "a", "b", math.nan), "above must be a finite number"),
        (lambda: Ratio("r", "a", "b", 0.1, at_least=0), "at_least must be positive"),
        (lambda: RateOfChange("r", "a", math.inf), "factor must be a finite number"),
        (lambda: RateOfChange("r", "a", 1), "factor must be above 0, and not 1"),
        (lambda: RateOfChange("r", "a", -2), "factor must be above 0, and not 1"),
        (lambda: Absence("r", at_least=0), "at_least must be positive"),
        (lambda: NewPattern("r", one_of=()), "one_of must be positive"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(declare, says):
    with pytest.raises(ConfigurationError, match=says):
        declare()
