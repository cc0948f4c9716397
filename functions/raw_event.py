"""The Kafka event as the raw bytes that Lambda sent, instead of what the runtime makes of them.

The runtime parses an event before it calls the handler, with a general JSON parser, into dicts and base64 text that
are then converted once more: about half of what landing a full batch costs. Its client has a documented place for
another parser, `LambdaRuntimeClient.marshaller`. The one here leaves events as they are, and answers as the runtime
does; loop, context, logs, traces and errors are untouched. Where the client is not, as in a test, or has no such place
any more, nothing happens and handlers get dicts: they take both.

The client is the runtime's own and never in the layer: a copy there would be another module than the one that runs.
"""

from typing import Any

from headrace.settings import Settings


def ask_for(settings: Settings) -> bool:
    """Have the handler of this process called with bytes, if the settings say so; whether it will be."""
    if settings.raw_events != "true":
        return False
    try:
        from awslambdaric.lambda_runtime_client import (  # noqa: PLC0415 - it is only where Lambda runs
            LambdaRuntimeClient,
        )
        from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller  # noqa: PLC0415
    except ImportError:
        return False
    if not isinstance(getattr(LambdaRuntimeClient, "marshaller", None), LambdaMarshaller):
        return False

    class RawMarshaller(LambdaMarshaller):  # type: ignore[misc] # the client is not typed
        def unmarshal_request(self, request: Any, *arguments: Any, **named: Any) -> Any:
            """The request itself; what is not bytes is left to the runtime."""
            return request if isinstance(request, bytes) else super().unmarshal_request(request, *arguments, **named)

    LambdaRuntimeClient.marshaller = RawMarshaller()
    return True
