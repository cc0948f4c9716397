"""Every request gets exactly one answer."""

import threading

import pytest
from topic_admin import answer
from topic_admin.answer import Outcome, Refused, respond


@pytest.fixture(autouse=True)
def _quick_repetitions(monkeypatch):
    monkeypatch.setattr(answer.time, "sleep", lambda _: None)


def refuse(_event, _deadline_s):
    raise Refused("the list wants fewer partitions")


def break_down(_event, _deadline_s):
    raise KeyError("Topics")


def test_success_tells_the_name_and_the_data(bucket, request_of, context):
    respond(request_of("Create"), context(), lambda *_: Outcome("it", {"Iam": "b-1:9098"}))
    (given,) = bucket.answers
    assert given == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "it",
        "Data": {"Iam": "b-1:9098"},
        "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/s/u",
        "RequestId": "r-1",
        "LogicalResourceId": "Topics",
    }


def test_the_answer_has_no_content_type_because_the_signature_has_none(bucket, request_of, context):
    respond(request_of("Create"), context(), lambda *_: Outcome("it"))
    assert bucket.content_types == [""]


@pytest.mark.parametrize(
    ("work", "said"), [(refuse, "the list wants fewer partitions"), (break_down, "KeyError: 'Topics'")]
)
@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_whatever_goes_wrong_is_answered_with_the_reason_and_the_log(bucket, request_of, context, kind, work, said):
    respond(request_of(kind), context(), work)
    (given,) = bucket.answers
    assert given["Status"] == "FAILED"
    assert given["Reason"] == f"{said} (log stream 2026/11/23/[1]abc)"
    assert given["PhysicalResourceId"] == ("failed-r-1" if kind == "Create" else "topics-of-it")


def test_work_that_does_not_mind_its_deadline_is_answered_for(bucket, request_of, context):
    released = threading.Event()

    def hang(_event, _deadline_s):
        assert released.wait(10)
        return Outcome("too late")

    def release_after_the_answer():
        while not bucket.answers:
            pass
        released.set()

    watcher = threading.Thread(target=release_after_the_answer)
    watcher.start()
    respond(request_of("Create"), context(answer.ANSWER_RESERVE_S + 0.05), hang)
    watcher.join()
    (given,) = bucket.answers
    assert given["Status"] == "FAILED"
    assert "too long" in given["Reason"]


def test_the_work_has_to_be_through_before_the_watchdog_is(request_of, context):
    left = []
    remaining_s = 60.0

    def measure(_event, deadline_s):
        left.append(deadline_s - answer.time.monotonic())
        return Outcome("it")

    respond(request_of("Create"), context(remaining_s), measure)
    assert left[0] == pytest.approx(remaining_s - answer.ANSWER_RESERVE_S - answer.WORK_RESERVE_S, abs=1)


def test_the_repetitions_fit_into_what_is_kept_free():
    waits_s = sum(0.2 * attempt for attempt in range(1, answer.ATTEMPTS))
    assert answer.ATTEMPTS * answer.ATTEMPT_TIMEOUT_S + waits_s < answer.ANSWER_RESERVE_S


def test_an_answer_that_is_not_taken_is_given_again(bucket, request_of, context):
    bucket.refusals = answer.ATTEMPTS - 1
    respond(request_of("Create"), context(), lambda *_: Outcome("it"))
    assert len(bucket.answers) == 1
    assert bucket.attempts == answer.ATTEMPTS


def test_when_no_answer_is_taken_the_invocation_fails_without_printing_the_signed_url(
    bucket, request_of, context, caplog
):
    bucket.refusals = 100
    with pytest.raises(OSError, match="took no answer") as failed:
        respond(request_of("Create"), context(), lambda *_: Outcome("it"))
    assert bucket.attempts == answer.ATTEMPTS
    assert "signature" not in caplog.text + str(failed.value)


def test_a_reason_of_any_length_fits_into_an_answer(bucket, request_of, context):
    def rant(_event, _deadline_s):
        raise Refused("é" * 100_000)

    respond(request_of("Create"), context(), rant)
    assert bucket.answers[0]["Status"] == "FAILED"
    assert len(bucket.answers[0]["Reason"]) < answer.LONGEST_REASON + 100


def test_an_answer_that_is_too_large_becomes_a_failure_that_says_so(bucket, request_of, context):
    respond(request_of("Create"), context(), lambda *_: Outcome("it", {"Iam": "b" * 5000}))
    assert bucket.answers[0]["Status"] == "FAILED"
    assert "CloudFormation takes 4096" in bucket.answers[0]["Reason"]
