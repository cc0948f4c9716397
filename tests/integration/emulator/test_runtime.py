"""A function under the real Lambda runtime: what it sees, how it fails, how it comes back."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kafka_esm import (
    Function,
    FunctionError,
    FunctionExit,
    FunctionLoadError,
    FunctionTimeout,
    LayerRef,
    RuntimeInvoker,
    RuntimeUnavailableError,
    rie,
)

from .conftest import eventually

pytestmark = pytest.mark.runtime

APP = """
import os, subprocess, sys, time
import from_layer

def handler(event, context):
    print("got", event)
    do = event["do"]
    if do == "raise":
        raise ValueError("broken")
    if do == "sleep":
        time.sleep(30)
    if do == "exit":
        os._exit(7)
    if do == "import":
        return [_importable(name) for name in ("boto3", "simplejson", "confluent_kafka", "pytest", "yaml")]
    if do == "spawn":
        return [os.getpid(), subprocess.Popen(["sleep", "300"]).pid]
    if do == "size":
        return len(event["padding"])
    return [os.environ["LEVEL"], from_layer.NAME, context.function_name, "HOME" in os.environ, os.getcwd()]

def _importable(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True
"""


@pytest.fixture
def function(tmp_path):
    layer = tmp_path / "layer"
    (layer / "python").mkdir(parents=True)
    (layer / "python/from_layer.py").write_text("NAME = 'layer'\n")
    code = tmp_path / "code"
    code.mkdir()
    (code / "app.py").write_text(APP)
    return Function("F", "app.handler", code, (LayerRef("L", layer),), {"LEVEL": "INFO"}, timeout_seconds=1)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def invoker(function, lines):
    invoker = RuntimeInvoker(function, on_log=lines.append)
    yield invoker
    invoker.close()


@pytest.fixture
def in_background():
    """Return a function that runs a call in another thread."""
    with ThreadPoolExecutor() as threads:
        yield threads.submit


def do(what, **more):
    return json.dumps({"do": what, **more}).encode()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_function_sees_what_it_would_see_and_recovers_from_every_failure(function, invoker, lines):
    expected = ["INFO", "layer", "F", False, str(function.code_uri)]
    assert invoker.invoke(do("ok")) == expected
    assert invoker.invoke(do("size", padding="x" * 6_291_000)) == 6_291_000

    with pytest.raises(FunctionError, match=r"^ValueError: broken$") as error:
        invoker.invoke(do("raise"))
    assert "raise ValueError" in error.value.stack_trace[0]
    with pytest.raises(FunctionTimeout, match=r"Task timed out after 1.00 seconds"):
        invoker.invoke(do("sleep"))
    assert invoker.invoke(do("ok")) == expected
    with pytest.raises(FunctionExit, match=r"Runtime.ExitError: .* exit status 7"):
        invoker.invoke(do("exit"))
    assert invoker.invoke(do("ok")) == expected

    eventually(lambda: "got {'do': 'exit'}" in lines)


def test_only_the_sdk_and_the_runtime_client_can_be_imported(function):
    invoker = RuntimeInvoker(replace(function, timeout_seconds=30))  # boto3 may have to be compiled
    try:
        assert invoker.invoke(do("import")) == [True, True, False, False, False]
    finally:
        invoker.close()


def test_two_environments_with_the_same_ports_do_not_meet(function, monkeypatch):
    """There is one pair of ports to choose; the address is each one's own."""
    monkeypatch.setattr(rie, "_PORTS", (31_998, 32_000))
    invokers = [RuntimeInvoker(function), RuntimeInvoker(replace(function, logical_id="G"))]
    try:
        names = [invoker.invoke(do("ok"))[2] for invoker in invokers for _ in range(2)]
    finally:
        for invoker in invokers:
            invoker.close()
    assert names == ["F", "F", "G", "G"]


def test_nothing_is_left_running_after_close(invoker):
    pids = [invoker._process, *invoker.invoke(do("spawn"))][1:]
    assert all(map(is_alive, pids))

    invoker.close()

    eventually(lambda: not any(map(is_alive, pids)))


def test_close_cuts_off_an_invocation(function):
    invoker, failures = RuntimeInvoker(function), []

    def invoke():
        try:
            invoker.invoke(do("sleep"))
        except FunctionExit as error:
            failures.append(error)

    thread = threading.Thread(target=invoke)
    thread.start()
    eventually(lambda: invoker._process is not None)
    invoker.close()
    thread.join(10)

    assert len(failures) == 1
    with pytest.raises(FunctionExit, match=r"the invoker is closed"):
        invoker.invoke(do("ok"))


def test_a_function_that_is_killed_fails_its_invocation_and_comes_back(function, in_background):
    invoker = RuntimeInvoker(replace(function, timeout_seconds=20))
    try:
        assert invoker.send_signal(signal.SIGKILL) is False
        running = in_background(lambda: invoker.invoke(do("sleep")))
        eventually(lambda: invoker.send_signal(signal.SIGKILL))
        with pytest.raises(FunctionExit, match=r"Runtime.ExitError"):
            running.result(10)
        assert invoker.invoke(do("ok"))[0] == "INFO"
    finally:
        invoker.close()


def test_a_function_that_is_paused_goes_on_when_it_is_continued(function, in_background):
    invoker = RuntimeInvoker(replace(function, timeout_seconds=20))
    try:
        invoker.invoke(do("ok"))
        assert invoker.send_signal(signal.SIGSTOP)
        running = in_background(lambda: invoker.invoke(do("ok")))
        with pytest.raises(TimeoutError):
            running.result(0.3)
        assert invoker.send_signal(signal.SIGCONT)
        assert running.result(10)[0] == "INFO"
    finally:
        invoker.close()


def test_a_handler_that_cannot_be_imported_is_an_error_no_retry_heals(function, invoker):
    (function.code_uri / "app.py").write_text("import not_in_any_layer")

    with pytest.raises(FunctionLoadError, match=r"Runtime.ImportModuleError: .*not_in_any_layer"):
        invoker.invoke(do("ok"))


def test_a_layer_that_was_not_built_is_named(function, tmp_path):
    layer = LayerRef("L", tmp_path)

    with pytest.raises(RuntimeUnavailableError, match=r"F: layer L \(.*\) has no python folder: run `sam build`"):
        RuntimeInvoker(Function("F", "app.handler", function.code_uri, (layer,)))


def test_the_environment_of_this_process_stays_outside(function, monkeypatch):
    monkeypatch.setitem(os.environ, "HOME", "/somewhere")
    invoker = RuntimeInvoker(function)
    try:
        assert invoker.invoke(do("ok"))[3] is False
    finally:
        invoker.close()
