"""The harness: schedules without a difference, that are the same again, and that find what is missing."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from chaos import coverage, lake_guards
from chaos.calls import Fault
from chaos.choices import Choices, shrunk
from chaos.guards import GUARDS
from chaos.mutation import OriginalMissing, Replacement, changed
from chaos.schedules import run_chunk

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = 100
"""Here; `make chaos` runs any number."""


def chaos(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "chaos.run", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def findings():
    return run_chunk(range(SCHEDULES))


def test_no_schedule_differs(findings):
    assert findings.differences == {}
    assert findings.schedules == SCHEDULES


def test_schedules_are_hard_enough(findings):
    assert findings.faults_per_schedule >= 5
    assert findings.invocations_per_partition >= 3


def test_a_second_opinion_is_had_of_windows_and_sessions(findings):
    assert findings.confirmed["tumbling"] > 100
    assert findings.confirmed["sessions"] > 100


def test_every_step_that_happens_is_in_the_table(findings):
    assert coverage.unknown(findings.steps) == set()


def test_a_cell_that_is_possible_and_empty_is_a_hole():
    everything = {(step, fault): 1 for step in coverage.STEPS for fault in Fault}
    assert coverage.holes(everything) == []
    del everything["turn 6 commit", Fault.LOST_ANSWER]
    assert coverage.holes(everything) == ["turn 6 commit, answer lost"]
    del everything["turn 6 commit", Fault.PARTIAL]
    assert len(coverage.holes(everything)) == 1, "a commit cannot be done in part"


def test_every_kind_of_window_has_rows(findings):
    assert coverage.missing(findings.windows) == []


def test_a_kind_of_window_without_rows_is_missing():
    assert coverage.missing(Counter(dict.fromkeys(coverage.WINDOWS[1:], 1))) == ["rows of tumbling"]


def test_chains_of_state_grow_and_environments_are_used_again(findings):
    assert findings.events["delta"] > 50
    assert findings.events["chain ended"] > 20
    assert findings.events["warm start"] > findings.events["cold start"] / 4


def test_the_same_seed_makes_the_same_run():
    first, again = (chaos("--seeds", "1", "--seed0", "13", PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.returncode == again.returncode == 0, first.stderr
    stories = [done.stdout.partition("the story of seed 13")[2] for done in (first, again)]
    assert stories[0].count("\n") > 20
    assert stories[0] == stories[1]


def test_a_failing_schedule_is_told_as_a_short_story_with_the_command_that_repeats_it():
    done = chaos("--without", "clear-after-every-copy", "--seeds", "5", "--first")
    assert done.returncode == 1
    story = done.stdout.partition("the simplest schedule found")[2]
    assert "!! success was answered before" in story
    assert story.count("\n") < 30
    assert re.search(r"again: make chaos SEEDS=1 SEED0=\d WITHOUT=clear-after-every-copy", story)


def test_the_outcome_is_there_for_programs_too():
    outcome = json.loads(chaos("--seeds", "3", "--json").stdout)
    assert outcome["schedules"] == 3
    assert outcome["differences"] == {}


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--seeds", "many"], ["--without", "nothing"]])
def test_wrong_usage_is_told(arguments):
    assert chaos(*arguments).returncode == 2


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_that_can_be_left_out_is_in_the_source(guard):
    """Whether it is exposed, `make chaos-guards` shows."""
    for each in guard.without:
        assert changed(f"headrace.{each.module}", [each])


def test_a_guard_whose_clause_was_rewritten_is_told():
    with pytest.raises(OriginalMissing, match=r"headrace\.pipeline has 0 times"):
        changed("headrace.pipeline", [Replacement("pipeline", "no such line", "")])


def test_decisions_are_repeated_by_their_script_and_harmless_after_it():
    drawn = Choices(seed=3)
    values = [drawn.below(10) for _ in range(20)]
    again = Choices(script=drawn.made)
    assert [again.below(10) for _ in range(25)] == [*values, *[0] * 5]
    assert not again.chance(50)
    assert again.among("xy") == "x"
    assert again.shuffled([1, 2, 3]) == [1, 2, 3]


def test_shrinking_keeps_only_what_the_failure_needs():
    script = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
    assert shrunk(script, lambda candidate: 9 in candidate and 6 in candidate) == [9, 6]


DOCUMENT = (ROOT / "docs" / "exactness.md").read_text()


def test_the_document_has_every_guard_once():
    named = re.findall(r"^\| `([a-z0-9-]+)` \|", DOCUMENT, re.MULTILINE)
    assert named == [guard.name for guard in (*GUARDS, *lake_guards.GUARDS)]


@pytest.mark.parametrize("command", re.findall(r"`(make [^`]+)`", DOCUMENT))
def test_a_command_of_the_document_is_a_target_with_variables_that_it_knows(command):
    target, *variables = command.split()[1:]
    rule = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert rule is not None, target
    for variable in variables:
        name, _, value = variable.partition("=")
        assert f"$({name}" in rule[1] or f"({name}," in rule[1], command
        assert name != "WITHOUT" or value in {guard.name for guard in GUARDS}
