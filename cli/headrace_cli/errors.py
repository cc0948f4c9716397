"""What a command may fail with: one line for a person, and the exit status.

CommandError            something outside failed or refused: exit status 1
└── OptionError         what was asked for cannot be done: exit status 2, as for any wrong usage
"""


class CommandError(Exception):
    """A command cannot go on; the message is one line that says what is wrong and the way out."""

    exit_code = 1
    """The process's exit status."""


class OptionError(CommandError):
    """An option does not fit the input it is used on."""

    exit_code = 2
