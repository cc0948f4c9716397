"""Produced records on disk: what comes back, and what a consumer has yet to read."""

from headrace_cli.audit.records import Produced
from headrace_cli.audit.spool import Spool

RECORDS = [
    Produced("clicks", 0, 0, 1_700_000_000_000, b"ann", b"12345"),
    Produced("clicks", 0, 1, -1, None, None, (("a", b"\xff"), ("a", None), ("", b""))),
    Produced("clicks", 0, 2, 0, b"", b""),
    Produced("clicks-0", 0, 0, 5, b"k", b"another topic"),
]


def test_records_come_back_as_they_were(tmp_path):
    with Spool(tmp_path) as spool:
        for record in RECORDS:
            spool.add(record)
        assert spool.partitions() == [("clicks", 0), ("clicks-0", 0)]
        assert list(spool.records(("clicks", 0))) == RECORDS[:3]
        assert list(spool.records(("clicks-0", 0))) == RECORDS[3:]
        assert (spool.count("clicks"), spool.count("clicks-0"), spool.count("logs")) == (3, 1, 0)


def test_unread_bytes_are_those_from_an_offset_on(tmp_path):
    with Spool(tmp_path) as spool:
        for record in RECORDS:
            spool.add(record)
        assert [spool.bytes_from(("clicks", 0), offset) for offset in (0, 1, 2, 3, 4)] == [8, 0, 0, 0, 0]
        assert spool.bytes_from(("clicks-0", 0), 0) == 14
        assert spool.bytes_from(("clicks", 1), 0) == 0
