"""Server processes that are started here: deaf to Ctrl-C, which is for us, and never left behind by an interrupt."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_TAIL_LINES = 5


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a process that writes to a new log. Within `interrupts_later`, or an interrupt may make it nobody's."""
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - programs of ours, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            # Ctrl-C is for us: we stop it in order.
            start_new_session=True,
        )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End it at once, and wait for that."""
    process.kill()
    process.wait()


def last_words(log: Path) -> str:
    """The end of a log in one line, for an error message."""
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_TAIL_LINES:]) or "its log is empty"
    return "it has no log"
