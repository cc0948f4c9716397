"""The event source mappings, which can be stopped and started while they work: positions are the group's."""

import threading
from collections.abc import Callable, Mapping

from headrace_cli.errors import CommandError
from kafka_esm import Backoff, DrainTimeoutError, Emulator, Invocation, Position
from kafka_esm import Mapping as SourceMapping

from .environments import Environments

ORDERLY_S = 5.0


class Mappings:
    """One emulator after another, with the same mappings."""

    def __init__(
        self,
        mappings: list[SourceMapping],
        servers: str,
        environments_of: Callable[[SourceMapping], Environments],
        on_invocation: Callable[[Invocation], None],
        on_event: Callable[[str], None],
    ) -> None:
        self.names = [mapping.name for mapping in mappings]
        """What a fault may hit."""
        self._new = lambda: Emulator(
            mappings,
            servers,
            environments_of,
            backoff=Backoff(first_ms=50, longest_ms=1_000),
            on_invocation=on_invocation,
            on_event=lambda notice: on_event(f"{notice.mapping} {notice.text}"),
        )
        self._lock = threading.Lock()
        self._emulator = self._new()

    def start(self) -> None:
        """Start them."""
        self._emulator.start()

    def stop(self, grace_s: float) -> None:
        """Stop them; whatever a function is doing then is cut off."""
        self._emulator.stop(grace_s)

    def restart(self, *, orderly: bool) -> None:
        """Stop them and start them again."""
        self._emulator.stop(ORDERLY_S if orderly else 0.0)
        self._emulator.check()
        with self._lock:
            self._emulator = self._new()
        self._emulator.start()

    def positions(self) -> Mapping[Position, int]:
        """The next offsets, as far as they are known."""
        with self._lock:
            return self._emulator.positions()

    def check(self) -> None:
        """Raise the error of a mapping that failed."""
        self._emulator.check()

    def drain(self, delivered: Callable[[], int], patience_s: float) -> None:
        """Wait until everything is delivered, as long as there is progress.

        Raises:
            CommandError: there was none.
        """
        while True:
            before = delivered()
            try:
                self._emulator.wait_drained(patience_s)
            except DrainTimeoutError as error:
                if delivered() == before:
                    raise CommandError(str(error)) from error
            else:
                return
