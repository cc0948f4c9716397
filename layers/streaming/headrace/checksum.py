"""A checksum in front of what is stored to be read again: damage is found, never computed with.

MessagePack and JSON notice most damage, but not a number of which one bit changed: a window's sum would be wrong and
nobody would know.
"""

import hashlib

from headrace.errors import CheckpointCorrupt

CHECKSUM_BYTES = 8
"""One damage in 2^64 passes unnoticed."""


def sealed(content: bytes) -> bytes:
    """The content with its checksum in front."""
    return _checksum(content) + content


def opened(data: bytes, name: str) -> bytes:
    """The content of what `sealed` made.

    Raises:
        CheckpointCorrupt: these are not the bytes that were written; `name` says of what.
    """
    content = data[CHECKSUM_BYTES:]
    if data[:CHECKSUM_BYTES] != _checksum(content):
        raise CheckpointCorrupt(
            f"{name} ({len(data)} bytes) is not what was written: its checksum differs (a version before 2026-11-27 "
            "wrote none: see Update in docs/deploy.md)",
            name,
        )
    return content


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()
