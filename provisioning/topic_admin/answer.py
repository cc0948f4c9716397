"""CloudFormation's protocol for custom resources: every request gets one answer, whatever happens.

A request without an answer holds its stack for up to an hour, on the way back as well. So the work gets a deadline,
a watchdog answers for work that ignores it, and the answer itself is tried several times.
Source: AWS CloudFormation User Guide, "Custom resource request objects" and "response objects".
"""

import http.client
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

LOG = logging.getLogger(__name__)

ANSWER_RESERVE_S = 15.0
"""Kept free at the end of an invocation for the answer and its repetitions."""
WORK_RESERVE_S = 5.0
"""Kept free before that, so that work which minds its deadline can still say what kept it."""
ATTEMPTS = 4
ATTEMPT_TIMEOUT_S = 3.0
LONGEST_REASON = 1000
"""Characters; CloudFormation takes 4,096 bytes for the whole answer, in which one may become six (\\u00e9)."""
LONGEST_ANSWER_BYTES = 4096


class Refused(Exception):
    """The request cannot be fulfilled as it stands; the message is for the person who deploys."""


@dataclass(frozen=True)
class Outcome:
    """What a piece of work came to."""

    physical_id: str
    """Name of the thing; another one on an update makes CloudFormation delete the old thing afterwards."""
    data: Mapping[str, str] = field(default_factory=dict)
    """What `!GetAtt` gets."""


class LambdaContext(Protocol):
    """The part of Lambda's context that is used."""

    log_stream_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the process."""


Work = Callable[[Mapping[str, Any], float], Outcome]
"""Does what a request asks for, until a deadline on the monotonic clock at the latest."""


def respond(event: Mapping[str, Any], context: LambdaContext, work: Work) -> None:
    """Do the work and answer: SUCCESS with its outcome, or FAILED with the reason; before time runs out in any case.

    Raises:
        OSError: CloudFormation's bucket took no answer; there is nobody left to tell but the log.
    """
    budget_s = max(0.0, context.get_remaining_time_in_millis() / 1000 - ANSWER_RESERVE_S)
    sender = _OneAnswer(event, context.log_stream_name)
    watchdog = threading.Timer(budget_s, sender.fail, ["it took too long; the log says what it was doing"])
    watchdog.daemon = True
    watchdog.start()
    try:
        outcome = work(event, time.monotonic() + max(0.0, budget_s - WORK_RESERVE_S))
    except Refused as refused:
        LOG.warning("refused: %s", refused)
        sender.fail(str(refused))
    except Exception as error:  # whatever it is, CloudFormation waits for an answer
        LOG.exception("failed")
        sender.fail(f"{type(error).__name__}: {error}")
    else:
        sender.succeed(outcome)
    finally:
        watchdog.cancel()


class _OneAnswer:
    """The one answer to a request: whoever comes first, the work or the watchdog, gives it."""

    def __init__(self, event: Mapping[str, Any], log_stream: str) -> None:
        self._event = event
        self._log_stream = log_stream
        self._lock = threading.Lock()
        self._given = False

    def succeed(self, outcome: Outcome) -> None:
        self._give({"Status": "SUCCESS", "PhysicalResourceId": outcome.physical_id, "Data": dict(outcome.data)})

    def fail(self, reason: str) -> None:
        # A creation that failed has no name yet, and CloudFormation will ask to delete the one it gets here.
        physical_id = self._event.get("PhysicalResourceId") or f"failed-{self._event['RequestId']}"
        text = f"{reason[:LONGEST_REASON]} (log stream {self._log_stream})"
        self._give({"Status": "FAILED", "PhysicalResourceId": physical_id, "Reason": text})

    def _give(self, answer: dict[str, Any]) -> None:
        # Held while sending: who comes second must not return, and end the process, before the first is through.
        with self._lock:
            if self._given:
                return
            self._given = True
            _put(self._event["ResponseURL"], _encoded(self._event, answer))


def _encoded(event: Mapping[str, Any], answer: dict[str, Any]) -> bytes:
    same = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    body = json.dumps(same | answer).encode()
    if len(body) <= LONGEST_ANSWER_BYTES:
        return body
    failed = {"Status": "FAILED", "PhysicalResourceId": answer["PhysicalResourceId"]}
    return json.dumps(
        same | failed | {"Reason": f"the answer has {len(body)} bytes, CloudFormation takes 4096"}
    ).encode()


def _put(url: str, body: bytes) -> None:
    # The URL is a signed permission: it is never printed.
    request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": ""})  # noqa: S310 - CloudFormation's own
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(request, timeout=ATTEMPT_TIMEOUT_S):  # noqa: S310 - same
                return
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            LOG.warning("answer not taken, attempt %d of %d: %s", attempt, ATTEMPTS, type(error).__name__)
            if attempt == ATTEMPTS:
                raise OSError("CloudFormation's bucket took no answer") from error
            time.sleep(0.2 * attempt)
