"""The list is made true, step by step; nothing is deleted unless the stack says so, and no partition is taken away."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from topic_admin import topics_app
from topic_admin.answer import Outcome, Refused
from topic_admin.topics import InMemoryTopics, NotYet, Step, Topic, converge, plan, reconcile, wanted_topics

CLICKS = Topic("clicks", 6, {"retention.ms": "1000"})
LOGS = Topic("logs", 3, {"retention.ms": "500"})


def listed(*topics):
    """Topics as CloudFormation hands them over: every number is text."""
    return [{"Name": t.name, "Partitions": str(t.partitions), "Configs": dict(t.configs)} for t in topics]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("topic_admin.topics.ROUND_S", 0.0)


def run(admin, request):
    return reconcile(request, time.monotonic() + 10, lambda _properties, _deadline_s: admin)


class Clock:
    """Only sleeping advances it."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds or 1.0


def test_what_is_missing_is_created(request_of):
    admin = InMemoryTopics()
    outcome = run(admin, request_of("Create", Topics=listed(CLICKS, LOGS)))
    assert admin.topics == {"clicks": CLICKS, "logs": LOGS}
    assert outcome.physical_id.startswith("topics-of-arn:aws:kafka")


def test_doing_it_again_changes_nothing(request_of):
    admin = InMemoryTopics(CLICKS, LOGS)
    assert plan({"clicks": CLICKS, "logs": LOGS}, admin.topics) == []
    run(admin, request_of("Create", Topics=listed(CLICKS, LOGS)))
    assert admin.topics == {"clicks": CLICKS, "logs": LOGS}


def test_partitions_grow_and_settings_change_and_other_settings_stay(request_of):
    admin = InMemoryTopics(Topic("clicks", 2, {"retention.ms": "1", "cleanup.policy": "delete"}))
    run(admin, request_of("Update", Topics=listed(CLICKS), old={"Topics": listed(CLICKS)}))
    assert admin.topics == {"clicks": Topic("clicks", 6, {"retention.ms": "1000", "cleanup.policy": "delete"})}


def test_fewer_partitions_are_refused_before_anything_changes(request_of):
    admin = InMemoryTopics(Topic("clicks", 12, {}))
    with pytest.raises(Refused, match="clicks has 12 partitions and the list wants 6: Kafka takes none away"):
        run(admin, request_of("Create", Topics=listed(LOGS, CLICKS)))
    assert set(admin.topics) == {"clicks"}


@pytest.mark.parametrize("removed", ["keep", None])
def test_a_topic_that_left_the_list_stays(request_of, removed):
    admin = InMemoryTopics(CLICKS, LOGS)
    told = {} if removed is None else {"RemovedTopics": removed}
    run(admin, request_of("Update", Topics=listed(CLICKS), old={"Topics": listed(CLICKS, LOGS)}, **told))
    assert set(admin.topics) == {"clicks", "logs"}


def test_a_topic_that_left_the_list_goes_when_told(request_of):
    stranger = Topic("payments", 1)
    admin = InMemoryTopics(CLICKS, LOGS, stranger)
    run(
        admin,
        request_of("Update", Topics=listed(CLICKS), old={"Topics": listed(CLICKS, LOGS)}, RemovedTopics="delete"),
    )
    assert set(admin.topics) == {"clicks", "payments"}


def test_a_new_cluster_loses_nothing_to_the_old_ones_list(request_of):
    admin = InMemoryTopics(LOGS)
    old = {"ClusterArn": "another", "Topics": listed(LOGS)}
    run(admin, request_of("Update", Topics=listed(CLICKS), old=old, RemovedTopics="delete"))
    assert set(admin.topics) == {"clicks", "logs"}


@pytest.mark.parametrize(("told", "left"), [("keep", {"clicks"}), ("delete", set())])
def test_deleting_the_stack_keeps_the_topics_unless_told(request_of, told, left):
    admin = InMemoryTopics(CLICKS)
    outcome = run(admin, request_of("Delete", Topics=listed(CLICKS), RemovedTopics=told))
    assert set(admin.topics) == left
    assert outcome == Outcome("topics-of-it")


def test_undoing_a_refused_creation_touches_nothing_and_succeeds(request_of):
    admin = InMemoryTopics(CLICKS)
    request = request_of("Delete", Topics="not even a list", RemovedTopics="delete", physical_id="failed-r-0")
    assert run(admin, request) == Outcome("failed-r-0")
    assert set(admin.topics) == {"clicks"}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (None, "1 to 100"),
        ([], "1 to 100"),
        (listed(CLICKS) * 101, "1 to 100"),
        (listed(CLICKS, CLICKS), "twice"),
        ([{"Name": "clicks"}], "needs Name, Partitions and Configs"),
        (["clicks"], "needs Name, Partitions and Configs"),
        (listed(Topic("a b", 1)), "no topic"),
        (listed(Topic("clicks", 0)), "no topic"),
        (listed(Topic("clicks", 1001)), "no topic"),
        ([{"Name": "clicks", "Partitions": "many"}], "needs Name, Partitions and Configs"),
    ],
)
def test_a_list_that_kafka_could_not_have_is_refused(entries, said):
    with pytest.raises(Refused, match=said):
        wanted_topics({"Topics": entries})


class Slow(InMemoryTopics):
    """Does each change only after so many looks, as a cluster whose answers lag behind."""

    def __init__(self, looks, *topics):
        super().__init__(*topics)
        self.looks = looks

    def find(self, names):
        self.looks -= 1
        if self.looks > 0:
            raise NotYet("no answer from the brokers")
        return super().find(names)


def test_a_cluster_that_answers_late_is_asked_again(request_of):
    admin = Slow(5)
    run(admin, request_of("Create", Topics=listed(CLICKS)))
    assert admin.topics == {"clicks": CLICKS}


def test_a_cluster_that_never_answers_is_given_up_at_the_deadline_with_its_last_word():
    clock = Clock()
    with pytest.raises(Refused, match="not as wanted in time: no answer from the brokers"):
        converge(Slow(1000), {"clicks": CLICKS}, [], 30.0, clock=clock, sleep=clock.sleep)
    assert clock.now_s == pytest.approx(30.0, abs=2)


NAMES = st.sampled_from(["clicks", "logs", "a.b", "c-d"])
TOPICS = st.builds(
    Topic,
    NAMES,
    st.integers(1, 20),
    st.dictionaries(st.sampled_from(["retention.ms", "x"]), st.sampled_from(["1", "2"])),
)


@given(found=st.lists(TOPICS, max_size=4), wanted=st.lists(TOPICS, max_size=4))
def test_a_plan_makes_the_list_true_and_never_shrinks_or_deletes(found, wanted):
    admin = InMemoryTopics(*found)
    before, goal = dict(admin.topics), {topic.name: topic for topic in wanted}
    try:
        steps = plan(goal, before)
    except Refused:
        assert any(before[n].partitions > t.partitions for n, t in goal.items() if n in before)
        return
    for step in steps * 2:  # twice: an answer that got lost is a step taken again
        admin.take(step)
    assert plan(goal, admin.topics) == []
    assert all(admin.topics[name].partitions >= topic.partitions for name, topic in before.items())
    assert {step.kind for step in steps} <= {"create", "grow", "configure"}


def test_the_handler_answers_when_its_own_client_cannot_be_made(bucket, request_of, context, monkeypatch):
    monkeypatch.delenv("AWS_REGION")
    topics_app.lambda_handler(request_of("Create", Topics=listed(CLICKS), BootstrapBrokers="b-1:9098"), context())
    assert bucket.answers[0]["Status"] == "FAILED"
    assert "AWS_REGION" in bucket.answers[0]["Reason"]


def test_a_step_names_what_it_changes():
    found = {"clicks": Topic("clicks", 2, {"retention.ms": "1000"})}
    assert plan({"clicks": CLICKS}, found, ["logs"]) == [Step("grow", CLICKS)]
