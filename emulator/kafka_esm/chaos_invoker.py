"""Invocations under chaos: refused, said to have timed out, or made twice in two execution environments.

A batch that is delivered twice leaves a straggler: an invocation whose outcome nobody waits for, and which may end
while newer batches are being processed. There is at most one per mapping; the next one waits for it.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from kafka_esm.chaos import ChaosPlan, Fault
from kafka_esm.errors import FunctionExit, FunctionThrottled, FunctionTimeout
from kafka_esm.invoker import Invoker

LATE_SECONDS = 1.0
"""A late delivery waits for the next invocation, but not longer than this: there may be none."""
_CUT_OFF_SECONDS = 1.0


class ChaosInvoker:
    """Invokes one function as the plan says. `invoke` belongs to the mapping's thread."""

    def __init__(self, make: Callable[[], Invoker], timeout_seconds: int, plan: ChaosPlan) -> None:
        """Make the first execution environment; a second one follows when a batch is delivered twice.

        Args:
            make: makes an execution environment.
            timeout_seconds: the function's, for the message of an injected one.
            plan: what happens.
        """
        self._make = make
        self._timeout_seconds = timeout_seconds
        self._plan = plan
        self._environments = [make()]
        self._straggler: _Call | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a straggler is running, or waits to begin."""
        return self._straggler is not None and self._straggler.running

    def invoke(self, payload: bytes) -> object:
        """Invoke the function, or not; see `Invoker.invoke`. An injected error says so."""
        if self._straggler is not None:
            self._straggler.begin()
        fault = self._plan.invocation()
        if fault is Fault.THROTTLED:
            self._plan.on_fault(fault, "an invocation is refused before it starts")
            raise FunctionThrottled("TooManyRequestsException", "Rate Exceeded.", injected=True)
        if fault in {Fault.DELIVERED_TWICE, Fault.DELIVERED_LATE}:
            return self._twice(payload, fault)
        answer = self._free_environment().invoke(payload)
        if fault is Fault.TIMED_OUT:
            self._plan.on_fault(fault, "an invocation that succeeded is told to have timed out")
            text = f"Task timed out after {self._timeout_seconds:.2f} seconds"
            raise FunctionTimeout("Sandbox.Timedout", text, injected=True)
        return answer

    def wait_idle(self, timeout_seconds: float) -> bool:
        """Wait for the straggler; whether there is none any more."""
        if self._straggler is not None:
            self._straggler.begin()
            self._straggler.join(timeout_seconds)
        return not self.busy

    def close(self) -> None:
        """End both execution environments, and with them an invocation that is running."""
        self._closed = True
        if self._straggler is not None:
            self._straggler.abandon()
        for environment in self._environments:
            environment.close()
        self.wait_idle(_CUT_OFF_SECONDS)

    def _twice(self, payload: bytes, fault: Fault) -> object:
        """Return the first success; the other invocation becomes the straggler."""
        if self._straggler is not None:
            self._straggler.join()
        first, second = self._both_environments()
        late = fault is Fault.DELIVERED_LATE
        when = "during the next invocation" if late else "at once"
        self._plan.on_fault(fault, f"a batch is delivered to two execution environments, {when}")
        ended: SimpleQueue[_Call] = SimpleQueue()
        calls = _Call(first, payload, ended), _Call(second, payload, ended)
        self._straggler = calls[1]
        calls[0].begin()
        if late:
            return calls[0].outcome()
        calls[1].begin()
        fastest = ended.get()
        self._straggler = calls[0] if fastest is calls[1] else calls[1]
        return fastest.outcome() if fastest.succeeded else self._straggler.outcome()

    def _both_environments(self) -> tuple[Invoker, Invoker]:
        if len(self._environments) == 1:
            self._environments.append(self._make())
            if self._closed:  # meanwhile, by another thread, which did not see it
                self._environments[1].close()
                raise FunctionExit("Runtime.ExitError", "the invoker is closed")
        return self._environments[0], self._environments[1]

    def _free_environment(self) -> Invoker:
        taken = self._straggler.environment if self._straggler and self._straggler.running else None
        return next(each for each in self._environments if each is not taken)


class _Call:
    """One invocation in a thread of its own."""

    def __init__(self, environment: Invoker, payload: bytes, ended: "SimpleQueue[_Call]") -> None:
        self.environment = environment
        self._payload = payload
        self._ended = ended
        self._begin = threading.Event()
        self._abandoned = False
        self._answer: object = None
        self._error: BaseException | None = None
        # A daemon, as the mapping's own: a handler that never returns must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def succeeded(self) -> bool:
        return self._error is None

    def begin(self) -> None:
        """Begin now, if it has not yet."""
        self._begin.set()

    def abandon(self) -> None:
        """Never begin, if it has not yet."""
        self._abandoned = True
        self._begin.set()

    def join(self, timeout_seconds: float | None = None) -> None:
        self._thread.join(timeout_seconds)

    def outcome(self) -> object:
        """Wait for it, and return its answer or raise its error."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._answer

    def _run(self) -> None:
        self._begin.wait(LATE_SECONDS)
        if self._abandoned:
            self._error = FunctionExit("Runtime.ExitError", "the invoker is closed")
        else:
            self._invoke()
        self._ended.put(self)

    def _invoke(self) -> None:
        try:
            self._answer = self.environment.invoke(self._payload)
        except BaseException as error:  # noqa: BLE001 - it is raised by `outcome`, in the thread that waits
            self._error = error
