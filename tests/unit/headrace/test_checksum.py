"""Whatever was stored to be read again is what was written, or an error."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol import FIRST
from samples import topology

from headrace.checksum import CHECKSUM_BYTES, opened, sealed
from headrace.errors import CheckpointCorrupt
from headrace.records import TopicPartition


@given(st.binary())
def test_what_was_sealed_is_opened(content: bytes) -> None:
    assert opened(sealed(content), "it") == content


def snapshot() -> bytes:
    logic = topology().build(TopicPartition("hits", 0), None)
    logic.apply(FIRST)
    state = logic.save(may_extend=False)
    assert state is not None
    return state.content


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


SNAPSHOT = snapshot()
SEALED = sealed(SNAPSHOT)


def test_every_flipped_bit_of_a_snapshot_is_noticed() -> None:
    for bit in range(8 * len(SEALED)):
        with pytest.raises(CheckpointCorrupt, match=r"it \(\d+ bytes\) is not what was written"):
            opened(flipped(SEALED, bit), "it")


def test_without_the_checksum_a_flipped_bit_would_be_computed_with() -> None:
    """Why it is there: MessagePack says nothing of a count that is another one."""
    unnoticed = 0
    for bit in range(8 * len(SNAPSHOT)):
        try:
            logic = topology().build(TopicPartition("hits", 0), None, [flipped(SNAPSHOT, bit)])
            restored = logic.save(may_extend=False)
        except (CheckpointCorrupt, TypeError, MemoryError, OverflowError, msgspec.MsgspecError):
            continue
        unnoticed += restored is None or restored.content != SNAPSHOT
    assert unnoticed > len(SNAPSHOT)


def test_every_truncation_of_a_snapshot_is_noticed() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(CheckpointCorrupt):
            opened(SEALED[:length], "it")


@given(st.binary(max_size=200))
def test_other_bytes_are_noticed(data: bytes) -> None:
    """By chance alone they would pass once in 2^64."""
    with pytest.raises(CheckpointCorrupt):
        opened(data, "it")


@given(st.binary(min_size=1, max_size=300), st.data())
def test_any_change_to_any_content_is_noticed(content: bytes, draw: st.DataObject) -> None:
    data = bytearray(sealed(content))
    place = draw.draw(st.integers(0, len(data) - 1))
    data[place] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(CheckpointCorrupt):
        opened(bytes(data), "it")


def test_it_costs_eight_bytes() -> None:
    assert len(SEALED) == len(SNAPSHOT) + CHECKSUM_BYTES == len(SNAPSHOT) + 8
