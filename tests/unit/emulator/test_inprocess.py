"""Functions in this process: each one finds the process as if it were its own."""

import json
import os
import sys

import pytest

from kafka_esm.errors import FunctionError, FunctionExit, FunctionLoadError, FunctionTimeout
from kafka_esm.inprocess import InProcessInvoker
from kafka_esm.mapping import Function

APP = """
import os, sys
import settings
LEVEL = settings.LEVEL
def handler(event, context):
    import late
    return [LEVEL, os.environ["LEVEL"], late.LEVEL, sys.modules[__name__].LEVEL, event]
"""


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    for name in ("settings", "late"):
        (folder / f"{name}.py").write_text("import os\nLEVEL = os.environ['LEVEL']\n")
    return folder


def a_function(code, level="a", handler="app.handler", **fields):
    return Function("F", handler, code, environment={"LEVEL": level}, **fields)


def invoke(handler, **fields):
    return InProcessInvoker(Function("F", "x.y", None, **fields), handler=handler).invoke(b'{"a": 1}')


def test_two_functions_of_one_folder_have_their_own_modules_and_variables(code):
    first, second = (InProcessInvoker(a_function(code, level)) for level in ("a", "b"))

    for invoker, level in [(first, "a"), (second, "b"), (first, "a")]:
        assert invoker.invoke(b"{}") == [level, level, level, level, {}]


def test_nothing_is_left_in_the_process(code):
    before = (dict(os.environ), list(sys.path), set(sys.modules))

    InProcessInvoker(a_function(code)).invoke(b"{}")

    assert (dict(os.environ), list(sys.path), set(sys.modules)) == before


def test_a_module_of_the_process_with_the_same_name_is_neither_used_nor_lost(code, monkeypatch):
    monkeypatch.setitem(sys.modules, "settings", json)

    assert InProcessInvoker(a_function(code)).invoke(b"{}")[0] == "a"
    assert sys.modules["settings"] is json


@pytest.mark.parametrize(
    ("handler", "source", "error"),
    [
        ("nowhere.handler", "", "Runtime.ImportModuleError: F: handler nowhere.handler: No module named"),
        ("app.nothing", "", "Runtime.HandlerNotFound: F: handler app.nothing: module 'app' has no"),
        ("bad.handler", "1/0", "ZeroDivisionError: F: handler bad.handler: division by zero"),
        ("bad.handler", "def", "SyntaxError: F: handler bad.handler: invalid syntax"),
    ],
)
def test_a_handler_that_cannot_be_imported_is_named(code, handler, source, error):
    (code / "bad.py").write_text(source)

    with pytest.raises(FunctionLoadError, match=rf"^{error}") as caught:
        InProcessInvoker(a_function(code, handler=handler))
    assert not caught.value.retriable


def test_an_exception_carries_type_message_and_the_frames_of_the_function():
    def handler(event, _context):
        raise ValueError(event["a"])

    with pytest.raises(FunctionError, match=r"^ValueError: 1$") as caught:
        invoke(handler)
    assert (caught.value.error_type, caught.value.message, caught.value.retriable) == ("ValueError", "1", True)
    assert len(caught.value.stack_trace) == 1
    assert "raise ValueError" in caught.value.stack_trace[0]


def test_an_answer_goes_through_json():
    assert invoke(lambda _event, _context: {1: (2,)}) == {"1": [2]}
    with pytest.raises(FunctionError, match=r"Runtime.MarshalError: Unable to marshal response"):
        invoke(lambda _event, _context: object())
    with pytest.raises(FunctionError, match=r"Function.ResponseSizeTooLarge"):
        invoke(lambda _event, _context: "x" * 6_300_000)


def test_an_exit_ends_the_invocation_not_the_process():
    with pytest.raises(FunctionExit, match=r"exited with error: 3"):
        invoke(lambda _event, _context: sys.exit(3))


def test_a_handler_that_took_too_long_timed_out():
    def handler(_event, context):
        while context.get_remaining_time_in_millis():
            pass

    with pytest.raises(FunctionTimeout, match=r"Task timed out after 1.00 seconds"):
        invoke(handler, timeout_seconds=1)


def test_the_context_is_what_handlers_use():
    def handler(_event, context):
        return [
            context.function_name,
            context.memory_limit_in_mb,
            context.invoked_function_arn,
            context.log_group_name,
            0 < context.get_remaining_time_in_millis() <= 3_000,
            len(context.aws_request_id),
        ]

    arn = "arn:aws:lambda:us-east-1:123456789012:function:F"
    assert invoke(handler, memory_mb=256) == ["F", "256", arn, "/aws/lambda/F", True, 36]
