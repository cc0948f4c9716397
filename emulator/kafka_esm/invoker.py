"""The port between a mapping and its function."""

import json
from typing import Protocol

from kafka_esm.errors import FunctionError
from kafka_esm.event import PAYLOAD_LIMIT_BYTES


class Invoker(Protocol):
    """Invokes one function, synchronously, one call at a time."""

    def invoke(self, payload: bytes) -> object:
        """Return the function's answer, as its JSON says.

        Raises:
            FunctionError: the function failed; the same payload may be sent again. Its subclasses are
                `FunctionThrottled`, `FunctionTimeout` and `FunctionExit`.
            FunctionLoadError: the handler cannot be imported.
        """
        ...

    def close(self) -> None:
        """Give back what the function holds; an invocation that is running may be cut off."""
        ...


def marshalled(answer: object) -> object:
    """Return what a caller of the function receives: its answer, through JSON.

    Raises:
        FunctionError: the answer cannot be sent, by Lambda's rules.
    """
    try:
        text = json.dumps(answer)
    except (TypeError, ValueError) as error:
        raise FunctionError("Runtime.MarshalError", f"Unable to marshal response: {error}") from error
    if len(text) > PAYLOAD_LIMIT_BYTES:
        raise FunctionError("Function.ResponseSizeTooLarge", f"the answer has {len(text)} bytes")
    result: object = json.loads(text)
    return result
