"""Examples at the end of a command's help, as they are to be copied."""

import textwrap


def examples(text: str) -> str:
    """A click epilog of command lines, kept as they are (click's mark for that is a backspace)."""
    lines = (f"  {line}" for line in textwrap.dedent(text).strip().splitlines())
    return "\n".join(("\b", "Examples:", *lines))
