"""A message's pattern: its text with every variable part masked, so that equal events have equal patterns.

    Received block blk_-3587 of size 67108864 from /10.251.42.84    ─►    Received block <*> of size <*> from /<*>

A pattern is a function of its message alone. So results do not depend on batches, and patterns of several partitions
merge by being equal: a clustering that learns its templates from what came before (Drain, Spell) has neither.

Masked are numbers with sign and unit, times, versions, addresses (IPv4, IPv6, MAC, mail), UUIDs, hashes, base64, other
identifiers of letters and digits, names that have a number after `-` or `_` (`node-7`, `orders-3`), quoted strings
without a space, and lists of all these. A word, letters without a digit, stays unless it is a part of one of them:
messages that differ in a word differ in their pattern. So do the letters of a name with its number at the end
(`log4j` becomes `log<*>`).

Every expression takes time linear in the message: what it repeats is possessive (it never goes back), and it starts
only where a run of letters and digits starts, or at a digit, so that nothing is scanned from each of its characters.
"""

import re

VARIABLE = "<*>"
"""Stands for a variable part, or for several with nothing but punctuation between them."""
MAX_LENGTH = 200
"""Characters of a pattern at most."""
READ = 2_000
"""Characters of a message that make its pattern; what comes after them hardly ever tells messages apart."""

_QUOTED = re.compile(r"""(?<![\w>])(["'])[^"'<>\s]*+\1(?![\w<])""")
_MAIL = re.compile(r"(?<![\w.+>-])[\w.+-]++@[\w-]++(?:\.[\w-]++)++")

# Sets of plain characters, not \w and \d: twice as fast. Next to a masked part nothing starts or ends that did not
# before it was masked: `>` and `<` count as letters.
_RUN_STARTS, _RUN_ENDS = r"(?<![0-9A-Za-z>])", r"(?![0-9A-Za-z<])"
_HINT = re.compile(r"[-_0-9](?:(?<=[0-9])[-_A-Za-z]|(?<![0-9])[0-9])")
"""In every word, nearly, that has one of the next in it."""
_IDENTIFIER = re.compile(
    rf"{_RUN_STARTS}(?:"
    # a name with a number: node-7, blk_12, orders-3-AlterAcls
    r"(?<![_-])[_-]*+[A-Za-z][0-9A-Za-z]*+(?:[_-]++[A-Za-z][0-9A-Za-z]*+)*+[_-]++[0-9][0-9A-Za-z]*+"
    r"(?:[_-]++[0-9A-Za-z]++)*+"
    # 128 bits and more in base64: small and capital letters and digits, one of those before a letter or 22 in all
    r"|(?<![\w>+/-])(?=[\w+/-]*?[0-9])(?=[\w+/-]*?[a-z])(?=[\w+/-]*?[A-Z])"
    r"(?:[\w-]{22}(?![\w+/=-])|(?=[\w+/-]*?[0-9][A-Za-z])(?:[\w-]{20,}+(?![+/=])|[\w+/-]{20,}+={1,2}(?!=)))"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"  # UUID
    r"|[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}"  # MAC
    r"|(?=[a-fA-F:]{0,40}[0-9])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}"  # IPv6
    r"|(?=[a-fA-F]*+[0-9])(?=[0-9]*+[a-fA-F])[0-9a-fA-F]{7,}+"  # a hash
    r"|[A-Za-z]++[0-9]++[A-Za-z]++[0-9][0-9A-Za-z]*+"  # digits in two places
    rf"){_RUN_ENDS}"
)

_RUN = r"[0-9][0-9A-Za-z]*+"
# What joins two parts of one variable: 10.0.0.1:9092, 2024-03-13 12:00:00,123, [1, 2, 3], 2008_m_12, R02-M1.
_JOINED = rf"(?:(?:[-_.:/,+#]{{1,2}}(?:[A-Za-z]_?)?|,? )(?:[-+]?{_RUN}|<\*>))*+"
_VARIABLE = re.compile(rf"[-+0-9<](?:(?<=[0-9])[0-9A-Za-z]*+|(?<=[-+])(?<![0-9A-Za-z>].){_RUN}|(?<=<)\*>){_JOINED}")
"""It starts with a set of characters, so that the search runs in C from one of them to the next."""


def pattern_of(message: str) -> str:
    """The pattern; a pattern's is itself.

    Args:
        message: of any length and content.

    Returns:
        At most `MAX_LENGTH` characters.
    """
    masked = _masked(message[:READ])
    while len(masked) > MAX_LENGTH:
        masked = _masked(masked[:MAX_LENGTH])  # a cut can make an end where there was none
    return masked


def _masked(message: str) -> str:
    if '"' in message or "'" in message:
        message = _QUOTED.sub(VARIABLE, message)
    if "@" in message:
        message = _MAIL.sub(VARIABLE, message)
    if "::" in message:
        message = _IDENTIFIER.sub(VARIABLE, message)
    elif hint := _HINT.search(message):
        message = _without_identifiers(message, hint)
    if "  " in message:
        message = " ".join(message.split())  # numbers in a column of fixed width
    return _VARIABLE.sub(VARIABLE, message)


def _without_identifiers(message: str, hint: re.Match[str] | None) -> str:
    """They are looked for in words with a hint only: that takes long."""
    parts: list[str] = []
    done = 0
    while hint:
        start = max(message.rfind(" ", done, hint.start()), done)
        end = message.find(" ", hint.end())
        end = len(message) if end < 0 else end
        parts += (message[done:start], _IDENTIFIER.sub(VARIABLE, message[start:end]))
        done = end
        hint = _HINT.search(message, done)
    return "".join(parts) + message[done:]
