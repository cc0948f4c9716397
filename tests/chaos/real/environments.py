"""A function's execution environments: the one that gets the next invocation, and those that were paused in one.

A paused environment is a zombie: its mapping gave up on it, another environment got the same records, and then it goes
on where it was, with everything it had read.
"""

import contextlib
import functools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from kafka_esm import FunctionError, FunctionExit, FunctionTimeout, RuntimeInvoker

from .plan import Fault

GIVE_UP_S = 0.2
"""So long a mapping waits for a function that was paused. On AWS it is the rest of the function's time-out."""
BEHIND_S = 20.0
"""Longest wait for the later invocations that a zombie waits for: there may be none any more."""
ZOMBIE_S = 60.0
"""Longest life of an environment after it was continued."""
LOOK_S = 0.02
USUAL_S = 0.2
"""What an invocation takes, before there was one."""


class Ambush:
    """The fault that waits for an invocation of its victim. One at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fault: Fault | None = None
        self._victim = ""
        self._struck = threading.Event()

    def strike(self, fault: Fault, victim: str, timeout_s: float) -> bool:
        """Wait until the fault hit an invocation of the victim; False if none came, or none lasted long enough."""
        with self._lock:
            self._struck.clear()
            self._fault, self._victim = fault, victim
        struck = self._struck.wait(timeout_s)
        with self._lock:
            self._fault = None
            return struck or self._struck.is_set()

    def waiting_for(self, victim: str) -> Fault | None:
        """The fault that is meant for this invocation."""
        with self._lock:
            return self._fault if self._victim == victim else None

    def hit(self) -> None:
        """It happened."""
        with self._lock:
            self._fault = None
            self._struck.set()


class Zombies:
    """The paused environments of a run."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        """How their invocations ended, after they were continued."""
        self.totals: Counter[str] = Counter()
        """What they answered: records applied, skipped, conflicts."""
        self._threads: list[threading.Thread] = []

    def add(self, environment: RuntimeInvoker, call: Future, pause: Callable[[], None]) -> None:
        """Continue this environment after the pause, and end it when its invocation has ended."""
        thread = threading.Thread(target=self._live_on, args=[environment, call, pause], daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Wait until all of them are gone."""
        for thread in self._threads:
            thread.join()

    def _live_on(self, environment: RuntimeInvoker, call: Future, pause: Callable[[], None]) -> None:
        pause()
        environment.send_signal(signal.SIGCONT)
        wait([call], ZOMBIE_S)
        with contextlib.suppress(OSError):
            environment.close()
        error = call.exception()
        self.outcomes["success" if error is None else getattr(error, "error_type", type(error).__name__)] += 1
        if error is None:
            self.totals.update(counts(call.result()))


def counts(answer: object) -> dict[str, int]:
    """The numbers in a function's answer."""
    return {name: n for name, n in answer.items() if isinstance(n, int)} if isinstance(answer, dict) else {}


class Environments:
    """Invokes one function, as an `Invoker`; faults that wait for it strike in the middle."""

    def __init__(self, name: str, start: Callable[[], RuntimeInvoker], ambush: Ambush, zombies: Zombies) -> None:
        """Wire it.

        Args:
            name: by which a fault finds it.
            start: makes an execution environment.
            ambush: the fault that waits.
            zombies: get the environments that were paused.
        """
        self._name = name
        self._start = start
        self._ambush = ambush
        self._zombies = zombies
        self._current: RuntimeInvoker | None = None
        self._usual_s = USUAL_S
        self._succeeded = 0
        self._closed = False
        self._calls = ThreadPoolExecutor(thread_name_prefix=name)

    def invoke(self, payload: bytes) -> object:
        """Send one payload; see `Invoker.invoke`."""
        if self._closed:
            raise FunctionExit("Runtime.ExitError", "the invoker is closed")
        environment = self._current = self._current or self._start()
        started_s = time.monotonic()
        call = self._calls.submit(environment.invoke, payload)
        fault = self._ambush.waiting_for(self._name)
        if fault is not None:
            self._strike(fault, environment, call)
        answer = call.result()
        self._usual_s = time.monotonic() - started_s
        self._succeeded += 1
        return answer

    def close(self) -> None:
        """End the current environment; a zombie lives on."""
        self._closed = True
        current, self._current = self._current, None
        if current is not None:
            current.close()
        self._calls.shutdown(wait=False)

    def _strike(self, fault: Fault, environment: RuntimeInvoker, call: Future) -> None:
        wait([call], fault.moment * self._usual_s)
        if call.done():
            return
        if fault.kind == "function paused":
            self._pause(fault, environment, call)
        else:
            environment.send_signal(signal.SIGKILL)
            if isinstance(call.exception(), FunctionError):
                self._ambush.hit()

    def _pause(self, fault: Fault, environment: RuntimeInvoker, call: Future) -> None:
        environment.send_signal(signal.SIGSTOP)
        wait([call], GIVE_UP_S)
        if call.done() or self._closed:  # its answer was on the way already
            environment.send_signal(signal.SIGCONT)
            return
        self._current = None
        self._zombies.add(environment, call, functools.partial(self._wait_behind, fault, self._succeeded))
        self._ambush.hit()
        raise FunctionTimeout("Sandbox.Timedout", f"paused, and given up on after {GIVE_UP_S:g} s")

    def _wait_behind(self, fault: Fault, since: int) -> None:
        deadline_s = time.monotonic() + BEHIND_S
        while self._succeeded < since + fault.behind and time.monotonic() < deadline_s and not self._closed:
            time.sleep(LOOK_S)
        time.sleep(fault.lasts_s)
