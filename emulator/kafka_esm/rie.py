"""Functions under the real Lambda runtime: the runtime interface emulator and the runtime client.

One `RuntimeInvoker` is one execution environment: one emulator process at a loopback address, and below it
the function's process. Hazards of the emulator that this module works around:

- a second request during an invocation crashes it: calls are serialised;
- its default address is all interfaces: both addresses are always given;
- a handler's exception is an HTTP success: it is recognised by the body;
- after an exit of the function it is restarted, to begin from a known state;
- it puts the function's process into a process group of its own: the whole session is ended.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

from kafka_esm.errors import (
    FunctionError,
    FunctionExit,
    FunctionLoadError,
    FunctionTimeout,
    RuntimeUnavailableError,
)
from kafka_esm.intrinsics import DEFAULT_REGION
from kafka_esm.mapping import Function
from kafka_esm.sandbox import interface_emulator, link_runtime_packages, reserved_variables

_PATH = "/2015-03-31/functions/function/invocations"
_START_SECONDS = 15.0
_GRACE_SECONDS = 20.0
_PORTS = (20_000, 32_000)
_LONGEST_LINE_BYTES = 64 * 1024
_OK = 200
_LOAD_ERRORS = {
    "Runtime.HandlerNotFound",
    "Runtime.ImportModuleError",
    "Runtime.MalformedHandlerName",
    "Runtime.UserCodeSyntaxError",
}
_CREDENTIALS = {
    # What `sam local` passes when there are none: the SDK must not look for an instance profile.
    "AWS_ACCESS_KEY_ID": "defaultkey",
    "AWS_SECRET_ACCESS_KEY": "defaultsecret",
}

LogLine = Callable[[str], None]
"""Receives one line a function, or the emulator, wrote."""


class RuntimeInvoker:
    """Invokes one function under the real runtime; the process starts with the first call."""

    def __init__(
        self, function: Function, *, layer_dirs: Sequence[Path] = (), on_log: LogLine = lambda _: None
    ) -> None:
        """Prepare the folder of the runtime's packages.

        Args:
            function: whom to invoke; its layers must have been built (hold a `python` folder).
            layer_dirs: folders for `sys.path` instead of the function's layers, if there are any.
            on_log: receives each line of output, in a thread of its own.

        Raises:
            RuntimeUnavailableError: the runtime, or a layer, is missing.
        """
        self._function = function
        self._python_dirs = [*layer_dirs] or _layer_dirs(function)
        self._on_log = on_log
        self._emulator = interface_emulator()
        self._folder = tempfile.TemporaryDirectory(prefix="kafka-esm-")
        self._runtime_dir = Path(self._folder.name, "runtime")
        self._runtime_dir.mkdir()
        link_runtime_packages(self._runtime_dir)
        self._serial = threading.Lock()
        self._process: _EmulatorProcess | None = None
        self._closed = False

    def invoke(self, payload: bytes) -> object:
        """Send one payload to the function; see `Invoker.invoke`."""
        with self._serial:
            process = self._running()
            try:
                status, body = process.post(payload, self._function.timeout_seconds + _GRACE_SECONDS)
                return _answer(status, body)
            except (OSError, HTTPException) as error:
                self._end_process()
                raise FunctionExit("Runtime.ExitError", f"the runtime went away: {error!r}") from error
            except FunctionExit:
                self._end_process()
                raise

    def send_signal(self, number: signal.Signals) -> bool:
        """Send a signal to the function's own process, e.g. SIGKILL or SIGSTOP; whether there is one.

        The emulator above it stays, and answers for a function that was killed.
        """
        process = self._process
        return process is not None and process.send_signal(number)

    @property
    def pid(self) -> int | None:
        """The function's own process, for measurements; None when there is none."""
        return None if self._process is None else self._process.function_pid()

    def close(self) -> None:
        """End the processes; an invocation that is running fails with `FunctionExit`."""
        self._closed = True
        self._end_process()
        self._folder.cleanup()

    def _running(self) -> "_EmulatorProcess":
        if self._closed:
            raise FunctionExit("Runtime.ExitError", "the invoker is closed")
        if self._process is None:
            self._process = _EmulatorProcess(
                self._command(), self._environment(), self._function.code_uri, self._on_log
            )
            if self._closed:  # meanwhile, by another thread, which saw no process to end
                self._end_process()
                raise FunctionExit("Runtime.ExitError", "the invoker is closed")
        return self._process

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def _command(self) -> list[str]:
        # -S hides site-packages. The base interpreter, because that of a virtual environment adds them.
        interpreter = getattr(sys, "_base_executable", sys.executable)
        return [
            str(self._emulator),
            "--log-level",
            "error",
            interpreter,
            "-S",
            "-m",
            "awslambdaric",
            self._function.handler,
        ]

    def _environment(self) -> dict[str, str]:
        """Return the whole environment: nothing else of this process's own gets through."""
        function = self._function
        kept = ("PATH", "LANG", "TZ", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        return {
            **_CREDENTIALS,
            **{name: os.environ[name] for name in kept if name in os.environ},
            "AWS_REGION": DEFAULT_REGION,
            "AWS_DEFAULT_REGION": DEFAULT_REGION,
            **function.environment,
            **reserved_variables(function),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout_seconds),
            "PYTHONPATH": os.pathsep.join(map(str, [function.code_uri, *self._python_dirs, self._runtime_dir])),
            "PYTHONUNBUFFERED": "1",
        }


def _layer_dirs(function: Function) -> list[Path]:
    for layer in function.layers:
        if layer.python_dir is None:
            place = layer.content_uri or "published, not in the template"
            raise RuntimeUnavailableError(
                f"{function.logical_id}: layer {layer.name} ({place}) has no python folder: "
                "run `sam build` and use .aws-sam/build/template.yaml, or pass --layer-dir"
            )
    return [layer.python_dir for layer in function.layers if layer.python_dir]


def _answer(status: int, body: bytes) -> object:
    """Tell an answer from an error; only the body does."""
    try:
        answer: object = json.loads(body)
    except ValueError:
        text = body.decode(errors="replace")
        if text.startswith("Task timed out after"):
            raise FunctionTimeout("Sandbox.Timedout", text) from None
        raise FunctionExit("Runtime.ExitError", f"HTTP {status}: {text[:500]}") from None
    if not isinstance(answer, dict) or not {"errorType", "errorMessage"} <= set(answer):
        if status != _OK:
            raise FunctionExit("Runtime.ExitError", f"HTTP {status}: {answer}")
        return answer
    kind, message = str(answer["errorType"]), str(answer["errorMessage"])
    if kind in _LOAD_ERRORS:
        raise FunctionLoadError(kind, message)
    if status != _OK:
        raise FunctionExit(kind, message)
    raise FunctionError(kind, message, tuple(map(str, answer.get("stackTrace") or ())))


class _EmulatorProcess:
    """The emulator and everything below it: one session of processes."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path, on_log: LogLine) -> None:
        self._host = _loopback_address()
        self._port, api_port = _free_ports(self._host)
        addresses = [
            *("--runtime-interface-emulator-address", f"{self._host}:{self._port}"),
            *("--runtime-api-address", f"{self._host}:{api_port}"),
        ]
        self._process = subprocess.Popen(  # noqa: S603 - the user's own function
            [command[0], *addresses, *command[1:]],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Also at the end of this interpreter, if nobody closed the invoker.
        self._kill = weakref.finalize(self, _kill_session, self._process)
        output = self._process.stdout
        self._reader = threading.Thread(target=_forward, args=[output, on_log], daemon=True)
        self._reader.start()
        try:
            self._wait_until_listening()
        except BaseException:
            self.end()
            raise

    def post(self, payload: bytes, timeout_seconds: float) -> tuple[int, bytes]:
        """Send one invocation."""
        connection = HTTPConnection(self._host, self._port, timeout=timeout_seconds)
        try:
            connection.request("POST", _PATH, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def send_signal(self, number: signal.Signals) -> bool:
        """Send a signal to everything below the emulator; whether there is anything."""
        _, *function = _session_members(self._process.pid)
        _signal_all(function, number)
        return bool(function)

    def function_pid(self) -> int | None:
        """The process below the emulator."""
        _, *function = _session_members(self._process.pid)
        return function[0] if function else None

    def end(self) -> None:
        """Kill the whole session and wait for it."""
        self._kill()
        self._reader.join(1.0)

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection((self._host, self._port), timeout=1):
                return
            time.sleep(0.02)
        raise RuntimeUnavailableError(
            f"the runtime interface emulator did not start (exit code {self._process.poll()})"
        )


def _forward(output: IO[bytes], on_log: LogLine) -> None:
    """Pass lines on until the last writer is gone; a longer line is passed in pieces."""
    with output:
        while line := output.readline(_LONGEST_LINE_BYTES):
            on_log(line.decode(errors="replace").rstrip("\r\n"))


def _loopback_address() -> str:
    """Return an address that no other emulator has: all of 127.0.0.0/8 is this machine's.

    At one shared address two that start at once may choose the same port between the look and the bind, and whoever
    lost would invoke the other's function.
    """
    return "127." + ".".join(str(random.randrange(1, 255)) for _ in range(3))  # noqa: S311 - not a secret


def _free_ports(host: str) -> tuple[int, int]:
    """Return two ports nobody listens at.

    From below the range that the kernel gives to outgoing connections: one of those, made between the look and the
    emulator's own bind, would otherwise take the port now and then.
    """
    free: list[int] = []
    while len(free) < 2:  # noqa: PLR2004 - the runtime's address and its API's
        port = random.randrange(*_PORTS)  # noqa: S311 - not a secret
        with socket.socket() as candidate, suppress(OSError):
            candidate.bind((host, port))
            free += [port] if port not in free else []
    return free[0], free[1]


def _kill_session(leader: "subprocess.Popen[bytes]") -> None:
    _signal_all(_session_members(leader.pid), signal.SIGKILL)
    leader.wait()


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _session_members(session: int) -> list[int]:
    """Return the processes of a session: the leader first, so that it cannot start another."""
    members = [session]
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            pid, fields = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and pid != session:
                members.append(pid)
    return members
