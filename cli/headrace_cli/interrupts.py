"""Ctrl-C at a moment of our choosing: for steps that would leave half a fact if cut."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def interrupts_later() -> Iterator[Sequence[int]]:
    """Hold SIGINT and SIGTERM back until the end of the block (only the main thread is ever interrupted).

    Yields those received so far, for a block that can end early.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    # Handlers, not a mask: a new process would inherit a mask, and never hear of SIGTERM.
    before = {number: signal.signal(number, lambda caught, _frame: received.append(caught)) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for held_back in received:
            signal.raise_signal(held_back)
