"""A local Lambda event source mapping for Kafka topics, driven by a SAM template."""

from kafka_esm.broker import EmbeddedBroker
from kafka_esm.chaos import Fault
from kafka_esm.emulator import Emulator, InvokerFactory, Position
from kafka_esm.errors import (
    BrokerError,
    BrokerUnreachableError,
    DrainTimeoutError,
    FunctionError,
    FunctionExit,
    FunctionLoadError,
    FunctionThrottled,
    FunctionTimeout,
    InvocationError,
    KafkaEsmError,
    OffsetLostError,
    RecordTooLargeError,
    RetriesExhaustedError,
    RuntimeUnavailableError,
    TemplateError,
    UsageError,
)
from kafka_esm.inprocess import Handler, InProcessInvoker, LambdaContext, load_handler
from kafka_esm.invoker import Invoker
from kafka_esm.mapping import Function, LayerRef, Mapping
from kafka_esm.poller import Backoff, Invocation, Notice
from kafka_esm.rie import RuntimeInvoker
from kafka_esm.template import SamTemplate

__all__ = [
    "Backoff",
    "BrokerError",
    "BrokerUnreachableError",
    "DrainTimeoutError",
    "EmbeddedBroker",
    "Emulator",
    "Fault",
    "Function",
    "FunctionError",
    "FunctionExit",
    "FunctionLoadError",
    "FunctionThrottled",
    "FunctionTimeout",
    "Handler",
    "InProcessInvoker",
    "Invocation",
    "InvocationError",
    "Invoker",
    "InvokerFactory",
    "KafkaEsmError",
    "LambdaContext",
    "LayerRef",
    "Mapping",
    "Notice",
    "OffsetLostError",
    "Position",
    "RecordTooLargeError",
    "RetriesExhaustedError",
    "RuntimeInvoker",
    "RuntimeUnavailableError",
    "SamTemplate",
    "TemplateError",
    "UsageError",
    "load_handler",
]
