"""The next generation of a stack: the plan from every state of it, and the way through."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from headrace.checkpoint import Checkpoint, CheckpointKey, MemoryCheckpointStore, OutboxEntry
from headrace.dynamodb import DynamoDBCheckpointStore
from headrace_cli.commands.options import GENERATION_PATTERN
from headrace_cli.errors import CommandError, OptionError
from headrace_cli.generations import replacement as replacing
from headrace_cli.generations.replacement import Deployment, Replacement, Step, Target, plan
from headrace_cli.generations.stack import CloudFormationStack, update_parameter
from headrace_cli.generations.state import described, undrained
from headrace_cli.local.aws_server import LocalAws
from headrace_cli.main import run

ROOT = Path(__file__).resolve().parents[3]
PRESENT = {"Consume": "true", "Generation": "1", "ClicksTopic": "clicks", "MemoryMb": "1769"}
QUIET = Checkpoint(
    key=CheckpointKey("headrace", "clickstream", "1", "clicks", 0),
    version=1,
    base_offset=0,
    next_offset=10,
    committed_at_ms=1,
    max_timestamp_ms=1,
    fingerprint="f",
)
OPEN = replace(QUIET, key=QUIET.key._replace(partition=1), open_until_ms=99)
PENDING = replace(QUIET, key=QUIET.key._replace(partition=2), outbox=(OutboxEntry("staging/a", "lake/a"),))
LISTED = replace(QUIET, key=QUIET.key._replace(partition=3), outbox_manifest="staging/m")


class MemoryStack:
    """A stack whose updates take effect after a few looks at it, or are rolled back."""

    def __init__(self, parameters=None, status="CREATE_COMPLETE", looks=2):
        self.parameters = dict(parameters or PRESENT)
        self.status = status
        self.updates = []
        self.rolls_back = False
        self._looks = looks
        self._left = 0
        self._next = self.parameters

    def describe(self):
        if self._left:
            self._left -= 1
            if not self._left:
                self.parameters = self._next
                self.status = "UPDATE_ROLLBACK_COMPLETE" if self.rolls_back else "UPDATE_COMPLETE"
        return Deployment(self.status, self.parameters, "checkpoints")

    def update(self, changes):
        assert not self.status.endswith("_IN_PROGRESS")
        self.updates.append(dict(changes))
        self._next = self.parameters if self.rolls_back else self.parameters | changes
        self.status, self._left = "UPDATE_IN_PROGRESS", self._looks


class Clock:
    """Time passes only by sleeping; what is planned for a moment happens then."""

    def __init__(self):
        self.now_s = 0.0
        self.planned = []

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds
        while self.planned and self.planned[0][0] <= self.now_s:
            self.planned.pop(0)[1]()


def replacement_of(stack, store, clock, said=None, timeout_s=600):
    say = (said if said is not None else []).append
    return Replacement(stack, store, timeout_s=timeout_s, clock=clock, sleep=clock.sleep, say=say)


def stored(*checkpoints):
    store = MemoryCheckpointStore()
    for checkpoint in checkpoints:
        store.commit(checkpoint, 0)
    return store


STOP = {"Consume": "false"}
START = {"Generation": "2", "Consume": "true"}
PLANS = {
    "all of it": ({}, Target("2", {}), [STOP, {}, START]),
    "another topic": ({}, Target("2", {"ClicksTopic": "c2"}), [STOP, {}, START | {"ClicksTopic": "c2"}]),
    "the topic it has already": ({}, Target("2", {"ClicksTopic": "clicks"}), [STOP, {}, START]),
    "stopped before": ({"Consume": "false"}, Target("2", {}), [{}, START]),
    "done before": ({"Generation": "2"}, Target("2", {}), []),
    "without the old one's end": ({}, Target("2", {}, abandon=True), [STOP, START]),
    "drain only": ({}, Target(None, {}), [STOP, {}]),
    "drain only, stopped before": ({"Consume": "false"}, Target(None, {}), [{}]),
}


@pytest.mark.parametrize("case", PLANS)
def test_the_plan_goes_from_what_is_deployed(case):
    present, target, changes = PLANS[case]
    steps = plan(Deployment("UPDATE_COMPLETE", PRESENT | present, "t"), target)
    assert [step.changes for step in steps] == changes


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target("1", {"ClicksTopic": "c2"}), "generation '1' is the one that is deployed"),
        (Target("2", {"MemoryMb": "256"}), "MemoryMb needs sam deploy only"),
        (Target("2", {"Topic": "c2"}), "the stack has no parameter Topic"),
    ],
)
def test_what_cannot_be_reached_is_refused(target, reason):
    with pytest.raises(OptionError, match=reason):
        plan(Deployment("UPDATE_COMPLETE", PRESENT, "t"), target)


def test_stopped_the_same_generation_is_refused_too():
    stopped = Deployment("UPDATE_COMPLETE", PRESENT | STOP, "t")
    with pytest.raises(OptionError, match="new mappings need a new one"):
        plan(stopped, Target("1", {}))


def test_drained_is_nothing_pending_and_nothing_open_in_the_generation_that_is_left():
    elsewhere = replace(OPEN, key=OPEN.key._replace(generation="0"))
    rest = undrained([QUIET, OPEN, PENDING, LISTED, elsewhere], "1")
    assert [described(each) for each in rest] == [
        "headrace#clickstream#1#clicks-1: open windows",
        "headrace#clickstream#1#clicks-2: output not yet published",
        "headrace#clickstream#1#clicks-3: output not yet published",
    ]


def test_drained_is_read_from_the_table_itself():
    with LocalAws() as aws:
        store = DynamoDBCheckpointStore(aws.table, aws.client("dynamodb"))
        for checkpoint in (QUIET, OPEN, PENDING):
            store.commit(checkpoint, 0)
        assert len(undrained(store.checkpoints("headrace"), "1")) == 2
        store.commit(replace(OPEN, version=2, open_until_ms=None), 1)
        store.clear_outbox(PENDING.key, 1)
        assert undrained(store.checkpoints("headrace"), "1") == []


TEMPLATE = """
Parameters:
  Consume: {Type: String}
  Generation: {Type: String}
  ClicksTopic: {Type: String}
  MemoryMb: {Type: Number}
Resources:
  Topic: {Type: 'AWS::SSM::Parameter', Properties: {Type: String, Name: topic, Value: !Ref ClicksTopic}}
Outputs:
  CheckpointTableName: {Value: checkpoints}
"""


NEW = ["generation", "new", "--stack", "s", "--generation", "2", "--set", "ClicksTopic=c2"]


@pytest.fixture
def aws(monkeypatch):
    """A server with the stack `s`, in which generation 1 is consumed and drained."""
    with LocalAws() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        # All of them: moto forgets a parameter's default, which AWS has as its previous value.
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in PRESENT.items()]
        server.client("cloudformation").create_stack(StackName="s", TemplateBody=TEMPLATE, Parameters=parameters)
        DynamoDBCheckpointStore(server.table).commit(QUIET, 0)
        yield server


def test_the_command_updates_a_stack_of_cloudformation(aws, capsys):
    assert run([*NEW, "--yes"]) == 0
    assert CloudFormationStack("s").describe() == Deployment(
        "UPDATE_COMPLETE",
        PRESENT | START | {"ClicksTopic": "c2"},
        "checkpoints",
    )
    assert aws.client("ssm").get_parameter(Name="topic")["Parameter"]["Value"] == "c2"
    assert run([*NEW, "--yes"]) == 0
    output = capsys.readouterr().out
    assert "[3/3] start" in output
    assert output.endswith("done\nnothing to do: this is what is deployed\n")


@pytest.mark.usefixtures("aws")
def test_without_consent_the_plan_is_shown_and_nothing_is_changed(capsys):
    assert run([*NEW, "--dry-run"]) == 0
    plan_only = capsys.readouterr().out
    assert plan_only.splitlines() == [
        "1. stop: remove the consumers and their mappings Consume=false",
        "2. drain: wait until generation 1 has no pending output and no open window",
        "3. start: consume as generation 2, from the beginning ClicksTopic=c2 Generation=2 Consume=true",
    ]
    assert run(NEW) == 1, "nobody is at the terminal"
    assert capsys.readouterr() == (plan_only, "headrace: not confirmed: nothing was changed (--yes does not ask)\n")
    assert CloudFormationStack("s").describe().parameters == PRESENT


def test_a_generation_whose_checkpoint_cannot_be_read_can_only_be_abandoned(aws, capsys):
    key = {"pk": {"S": "headrace#clickstream#1#clicks"}, "partition": {"N": "0"}}
    aws.client("dynamodb").update_item(TableName=aws.table, Key=key, UpdateExpression="REMOVE totals")
    assert run([*NEW, "--yes"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"DynamoDB table '{aws.table}' cannot be read: restore" in line
    assert line.endswith("headrace generation new --abandon")
    assert run([*NEW, "--yes", "--abandon"]) == 0
    assert "[2/2] start" in capsys.readouterr().out
    assert CloudFormationStack("s").describe().parameters == PRESENT | START | {"ClicksTopic": "c2"}


@pytest.mark.usefixtures("aws")
def test_a_stack_that_is_not_there_is_one_line(capsys):
    assert run(["generation", "drain", "--stack", "none"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "none does not exist" in line


def test_it_starts_the_new_generation_only_when_the_old_one_is_drained():
    stack, store, clock, said = MemoryStack(), stored(OPEN, PENDING), Clock(), []
    started_at = []
    clock.planned = [
        (100, lambda: store.clear_outbox(PENDING.key, 1)),
        (200, lambda: started_at.append(list(stack.updates))),
        (200, lambda: store.commit(replace(OPEN, version=2, open_until_ms=None), 1)),
    ]
    replacement = replacement_of(stack, store, clock, said)
    target = Target("2", {"ClicksTopic": "c2"})
    replacement.run(replacement.plan(target))
    assert started_at == [[STOP]]
    assert stack.updates == [STOP, START | {"ClicksTopic": "c2"}]
    assert stack.parameters == PRESENT | START | {"ClicksTopic": "c2"}
    assert "  1 left, first headrace#clickstream#1#clicks-1: open windows" in said
    assert replacement.plan(target) == []


def test_interrupted_in_any_wait_the_same_command_goes_on():
    """Killed at the n-th sleep, for every n, then repeated: the stack gets the same two updates."""
    for fatal in range(1, 6):
        stack, store, clock = MemoryStack(), stored(OPEN), Clock()
        clock.planned = [(60, lambda store=store: store.commit(replace(OPEN, version=2, open_until_ms=None), 1))]
        naps = []

        def dying_sleep(seconds, clock=clock, naps=naps, fatal=fatal):
            naps.append(seconds)
            clock.sleep(seconds)
            if len(naps) == fatal:
                raise KeyboardInterrupt

        first = Replacement(stack, store, timeout_s=600, clock=clock, sleep=dying_sleep, say=lambda _: None)
        with pytest.raises(KeyboardInterrupt):
            first.run(first.plan(Target("2", {})))
        again = replacement_of(stack, store, clock)
        again.run(again.plan(Target("2", {})))
        assert stack.updates == [STOP, START], fatal


def test_a_wait_is_bounded_and_says_what_is_left():
    stack, clock = MemoryStack(STOP | {"Generation": "1"}), Clock()
    replacement = replacement_of(stack, stored(OPEN), clock, timeout_s=120)
    with pytest.raises(CommandError, match=r"after 2 min still 1 left, first .*clicks-1: open windows"):
        replacement.run(replacement.plan(Target("2", {})))
    assert clock.now_s == 120
    assert stack.updates == []


def test_an_update_that_is_rolled_back_ends_it():
    stack, clock = MemoryStack(), Clock()
    stack.rolls_back = True
    replacement = replacement_of(stack, stored(QUIET), clock)
    with pytest.raises(CommandError, match="the update did not succeed: the stack is UPDATE_ROLLBACK_COMPLETE"):
        replacement.run(replacement.plan(Target("2", {})))
    assert stack.updates == [STOP]


def test_a_broken_stack_is_left_alone():
    replacement = replacement_of(MemoryStack(status="UPDATE_ROLLBACK_FAILED"), stored(), Clock())
    with pytest.raises(CommandError, match="UPDATE_ROLLBACK_FAILED: it must be mended first"):
        replacement.plan(Target("2", {}))


def test_a_generation_is_used_once():
    used = replace(QUIET, key=QUIET.key._replace(generation="2"))
    replacement = replacement_of(MemoryStack(), stored(QUIET, used), Clock())
    with pytest.raises(OptionError, match="generation '2' has been used"):
        replacement.plan(Target("2", {}))


def test_an_update_keeps_every_other_parameter():
    assert update_parameter("MemoryMb", START) == {"ParameterKey": "MemoryMb", "UsePreviousValue": True}
    assert update_parameter("Consume", START)["ParameterValue"] == "true"


@pytest.mark.parametrize(
    "arguments",
    [
        ["new", "--stack", "s"],
        ["new", "--generation", "2"],
        ["new", "somewhere", "--stack", "s", "--generation", "2"],
        ["new", "--stack", "s", "--generation", "A"],
        ["new", "--stack", "s", "--generation", ""],
        ["new", "--stack", "s", "--generation", "2", "--set", "ClicksTopic"],
        ["new", "--stack", "s", "--generation", "2", "--timeout-minutes", "0"],
        ["drain", "--stack", "s", "--set", "ClicksTopic=c2"],
        ["drain", "--stack", "s", "--generation", "1"],
        ["drain", "--stack", "s", "--checkpoints", "dynamodb:t"],
        ["drain"],
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_refused_before_aws_is_asked(arguments, capsys):
    assert run(["generation", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_credentials_it_is_one_line(capsys):
    assert run(["generation", "drain", "--stack", "headrace-dev"]) == 1
    assert capsys.readouterr().err == "headrace: stack headrace-dev: Unable to locate credentials\n"


def test_the_constants_are_the_templates():
    template_text = (ROOT / "template.yaml").read_text()
    assert f"HEADRACE_APPLICATION: {replacing.APPLICATION}\n" in template_text
    assert f"AllowedPattern: '^{GENERATION_PATTERN}$'" in template_text
    for name in replacing.REPLACEABLE:
        assert f"\n  {name}:\n" in template_text


def test_a_step_that_changes_nothing_is_the_wait():
    steps = plan(Deployment("UPDATE_COMPLETE", PRESENT, "t"), Target("2", {}))
    assert [isinstance(step, Step) and bool(step.changes) for step in steps] == [True, False, True]
