"""Partitions as Kafka's own clients choose them."""

import pytest

from headrace_cli.kafka.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "java"),
    [
        # org.apache.kafka.common.utils.UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_are_those_of_kafkas_java_client(data, java):
    assert murmur2(data) == java % 2**32


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # librdkafka, src/rdmurmur2.c, unittest_murmur2: every length modulo 4, and the empty key
        (b"kafka", 0xD067CF64),
        (b"giberish123456789", 0x8F552B0C),
        (b"1234", 0x9FC97B14),
        (b"234", 0xE7C009CA),
        (b"34", 0x873930DA),
        (b"4", 0x5A4B5CA1),
        (b"PreAmbleWillBeRemoved,ThePrePartThatIs", 0x78424F1C),
        (b"", 0x106E08D9),
    ],
)
def test_hashes_are_those_of_librdkafka(data, expected):
    assert murmur2(data) == expected


def test_the_sign_bit_is_cut_off_before_the_remainder_is_taken():
    assert partition_of(b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7
