"""An SNS topic: batches as SNS takes them, and what it did not take is sent again or named."""

import pytest
from botocore.session import get_session
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigurationError, InfrastructureError
from headrace.sns import ATTEMPTS, MAX_BATCH, MAX_BATCH_BYTES, Message, SnsTopic, batches

ARN = "arn:aws:sns:eu-west-1:123456789012:alerts"


def message(name, body="{}"):
    return Message(name, "a subject", body, "rule")


class Answers:
    """A topic whose client is botocore's own, with prepared answers that it checks against SNS's model."""

    def __init__(self, *failures, arn=ARN):
        """Each answer says which messages failed: their place in the batch, and whose fault it was."""
        self.client = get_session().create_client(
            "sns", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
        )
        self.stub = Stubber(self.client)
        self.pauses = []
        for failed in failures:
            if isinstance(failed, str):
                self.stub.add_client_error("publish_batch", failed)
            else:
                self.stub.add_response("publish_batch", {"Successful": [], "Failed": [_failed(*f) for f in failed]})
        self.sent = []
        self.client.meta.events.register("provide-client-params.sns.PublishBatch", self._note)
        self.topic = SnsTopic(arn, self.client, self.pauses.append)

    def publish(self, *messages):
        with self.stub:
            self.topic.publish(messages)
        self.stub.assert_no_pending_responses()

    def _note(self, params, **_):
        self.sent.append([entry["MessageAttributes"]["alert_id"]["StringValue"] for entry in self.entries(params)])
        self.last = self.entries(params)[0]

    def entries(self, params):
        return params["PublishBatchRequestEntries"]


def _failed(place, sender_fault=False):
    return {"Id": str(place), "Code": "InternalError", "Message": "busy", "SenderFault": sender_fault}


def test_what_sns_did_not_take_is_sent_again_and_nothing_else():
    answers = Answers([(1,), (2,)], [(2,)], [])
    answers.publish(message("a"), message("b"), message("c"))
    assert answers.sent == [["a", "b", "c"], ["b", "c"], ["c"]]
    assert answers.pauses == [0.2, 0.4]


def test_what_is_never_taken_is_named_after_the_rest_was_sent():
    answers = Answers(*[[(0,)]] * ATTEMPTS, [])
    with pytest.raises(
        InfrastructureError, match=r"1 of 12 messages could not be sent to .*: m00: InternalError: busy"
    ):
        answers.publish(*(message(f"m{n:02}") for n in range(12)))
    assert answers.sent[-1] == ["m10", "m11"]


def test_what_sns_refuses_is_not_sent_again():
    answers = Answers([(0, True), (1,)], [])
    with pytest.raises(ConfigurationError, match="1 of 2 messages could not be sent"):
        answers.publish(message("a"), message("b"))
    assert answers.sent == [["a", "b"], ["b"]]


@pytest.mark.parametrize(
    ("code", "kind"),
    [("NotFound", ConfigurationError), ("AuthorizationError", ConfigurationError), ("Throttled", InfrastructureError)],
)
def test_a_call_that_fails_says_whether_it_may_pass(code, kind):
    with pytest.raises(kind, match=f"cannot publish to {ARN}: {code}"):
        Answers(code).publish(message("a"))


def test_a_fifo_topic_gets_group_and_deduplication_id():
    standard, fifo = Answers([]), Answers([], arn=f"{ARN}.fifo")
    for answers in (standard, fifo):
        answers.publish(message("a"))
    assert "MessageGroupId" not in standard.last
    assert (fifo.last["MessageDeduplicationId"], fifo.last["MessageGroupId"]) == ("a", "rule")


def test_nothing_is_sent_of_no_messages():
    answers = Answers()
    answers.publish()
    assert answers.sent == []


@given(st.lists(st.sampled_from([1, 20_000, 100_000, 200_000, 300_000]), max_size=40))
def test_batches_keep_to_what_sns_takes_and_to_the_order(sizes):
    messages = [message(str(n), "x" * size) for n, size in enumerate(sizes)]
    found = list(batches(messages))
    assert [each for batch in found for each in batch] == messages
    for batch in found:
        assert len(batch) <= MAX_BATCH
        assert sum(each.size for each in batch) <= MAX_BATCH_BYTES or len(batch) == 1
