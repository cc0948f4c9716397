"""Functions inside this process: fast, and a debugger can step into them.

A process has one environment, one `sys.path` and one table of modules, but every function expects its own.
Functions that `load_handler` loaded therefore take turns: during its turn a function finds its
variables in `os.environ`, its folder on `sys.path` and its own copies of the modules in that folder, even
for imports inside the handler; afterwards everything is put back. So two functions of one folder may have
different settings at module level. What is installed in this Python, and what layers hold, is shared.

Limits: a timeout is noticed only when the handler returns, `os._exit` ends the whole process, and a folder
with extension modules of its own cannot be loaded twice. `RuntimeInvoker` has none of these.
"""

import importlib
import json
import os
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from kafka_esm.errors import FunctionError, FunctionExit, FunctionLoadError, FunctionTimeout
from kafka_esm.intrinsics import ACCOUNT_ID, DEFAULT_REGION
from kafka_esm.invoker import marshalled
from kafka_esm.mapping import Function
from kafka_esm.sandbox import reserved_variables

Handler = Callable[[Any, Any], object]
"""A Lambda handler: event and context to an answer."""

_turn = threading.RLock()


class LambdaContext:
    """What a handler may ask about its invocation."""

    function_version = "$LATEST"
    identity = None
    client_context = None

    def __init__(self, function_name: str, memory_mb: int, timeout_seconds: float) -> None:
        self.function_name = function_name
        self.memory_limit_in_mb = str(memory_mb)  # a text in the Python runtime
        self.aws_request_id = str(uuid.uuid4())
        self.invoked_function_arn = f"arn:aws:lambda:{DEFAULT_REGION}:{ACCOUNT_ID}:function:{function_name}"
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = f"local/[$LATEST]{self.aws_request_id}"
        self._deadline = time.monotonic() + timeout_seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return how long until the timeout, not less than 0."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class InProcessInvoker:
    """Calls a handler in this process.

    Pass `handler` for a callable you made: it is called as it is, without turns, under the process's
    own environment. Else the function's handler is loaded from its CodeUri.
    """

    def __init__(self, function: Function, *, handler: Handler | None = None, layer_dirs: Sequence[Path] = ()) -> None:
        self._function = function
        self._handler = handler or load_handler(function, function.environment, layer_dirs)
        self._serial = threading.Lock()

    def invoke(self, payload: bytes) -> object:
        """Call the handler with the parsed payload; see `Invoker.invoke`."""
        function = self._function
        # The turn comes before the clock starts: waiting for other functions is not this one's time.
        with self._serial, self._turn():
            event = json.loads(payload)
            context = LambdaContext(function.logical_id, function.memory_mb, function.timeout_seconds)
            answer = _called(self._handler, event, context)
            if not context.get_remaining_time_in_millis():
                raise FunctionTimeout(
                    "Sandbox.Timedout", f"Task timed out after {function.timeout_seconds:.2f} seconds"
                )
            return marshalled(answer)

    def close(self) -> None:
        """Nothing to give back: the modules live as long as the handler."""

    def _turn(self) -> AbstractContextManager[object]:
        return self._handler.tree.installed() if isinstance(self._handler, _LoadedHandler) else nullcontext()


def _called(handler: Handler, event: object, context: LambdaContext) -> object:
    try:
        return handler(event, context)
    except Exception as error:
        raise FunctionError(type(error).__name__, str(error), _frames(error)) from error
    except SystemExit as error:
        raise FunctionExit("Runtime.ExitError", f"Runtime exited with error: {error.code}") from error


def _frames(error: Exception) -> tuple[str, ...]:
    frames = traceback.extract_tb(error.__traceback__)
    return tuple(traceback.format_list([frame for frame in frames if frame.filename != __file__]))


def load_handler(function: Function, environment: Mapping[str, str], layer_dirs: Sequence[Path] = ()) -> Handler:
    """Import a function's handler from a fresh tree of the modules in its CodeUri.

    Args:
        function: whose handler it is.
        environment: variables during the import and during every call.
        layer_dirs: folders for `sys.path` after all others, besides the function's built layers.

    Raises:
        FunctionLoadError: the import failed.
    """
    built = [layer.python_dir for layer in function.layers if layer.python_dir]
    variables = {**reserved_variables(function), **environment}
    tree = _ModuleTree(function.code_uri, [*built, *layer_dirs], variables)
    with tree.installed():
        return _LoadedHandler(_imported(function), tree)


@dataclass(frozen=True, slots=True)
class _LoadedHandler:
    """A handler that takes its turn when it is called."""

    handler: Handler
    tree: "_ModuleTree"

    def __call__(self, event: Any, context: Any) -> object:
        with self.tree.installed():
            return self.handler(event, context)


def _imported(function: Function) -> Handler:
    module, _, attribute = function.handler.rpartition(".")
    try:
        handler: Handler = getattr(importlib.import_module(module.replace("/", ".")), attribute)
    except AttributeError as error:
        raise FunctionLoadError(
            "Runtime.HandlerNotFound", f"{function.logical_id}: handler {function.handler}: {error}"
        ) from error
    except ImportError as error:
        raise FunctionLoadError(
            "Runtime.ImportModuleError", f"{function.logical_id}: handler {function.handler}: {error}"
        ) from error
    except Exception as error:
        raise FunctionLoadError(
            type(error).__name__, f"{function.logical_id}: handler {function.handler}: {error}"
        ) from error
    return handler


class _ModuleTree:
    """One function's private modules, and the process state they expect."""

    def __init__(self, code_dir: Path, layer_dirs: Sequence[Path], environment: Mapping[str, str]) -> None:
        self._before = [str(code_dir)]
        self._after = [str(folder) for folder in layer_dirs]
        self._environment = dict(environment)
        self._names = frozenset(_top_level_names(code_dir))
        self._modules: dict[str, ModuleType] = {}
        self._is_installed = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take the process for this function; others wait. Nested in itself it does nothing."""
        with _turn:
            if self._is_installed:
                yield
                return
            self._is_installed = True
            try:
                with _environment(self._environment), self._path(), self._own_modules():
                    yield
            finally:
                self._is_installed = False

    @contextmanager
    def _path(self) -> Iterator[None]:
        saved = list(sys.path)
        sys.path[:] = [*self._before, *saved, *self._after]
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path[:] = saved

    @contextmanager
    def _own_modules(self) -> Iterator[None]:
        others = self._taken()
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            self._modules = self._taken()
            sys.modules.update(others)

    def _taken(self) -> dict[str, ModuleType]:
        """Remove every module from the process that has the name of one in the code folder."""
        names = [name for name in sys.modules if name.partition(".")[0] in self._names]
        return {name: sys.modules.pop(name) for name in names}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in saved.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _top_level_names(folder: Path) -> Iterable[str]:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name.isidentifier():
            yield entry.name
        elif entry.suffix in {".py", ".so"}:
            yield entry.name.partition(".")[0]
