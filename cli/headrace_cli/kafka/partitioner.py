"""Which partition a key belongs to, exactly as Kafka's Java client decides it.

Source: `org.apache.kafka.common.utils.Utils.murmur2` and `BuiltInPartitioner.partitionForKey`.
"""

_M = 0x5BD1E995
_SEED = 0x9747B28C
_WORD = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2 with Kafka's seed, as an unsigned 32-bit number (Java shows it signed)."""
    length = len(data)
    whole = length & ~3
    hashed = _SEED ^ length
    for index in range(0, whole, 4):
        word = int.from_bytes(data[index : index + 4], "little") * _M & _WORD
        word = (word ^ word >> 24) * _M & _WORD
        hashed = hashed * _M & _WORD ^ word
    if whole < length:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * _M & _WORD
    hashed = (hashed ^ hashed >> 13) * _M & _WORD
    return hashed ^ hashed >> 15


def partition_of(key: bytes, partition_count: int) -> int:
    """The key's partition among so many."""
    return (murmur2(key) & _POSITIVE) % partition_count
