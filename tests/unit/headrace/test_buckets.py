"""A batch of records of very many hours: commits of bounded size, the rows of one large commit, bounded memory."""

import io
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import HIT_AVSC, NOON_MS, hit, lambda_event, record

from headrace import buckets, schema
from headrace.checkpoint import MemoryCheckpointStore
from headrace.codec import Decoded, JsonCodec
from headrace.errors import InfrastructureError, PoisonError
from headrace.lake import HOUR_MS, read_final_key
from headrace.operators import Land
from headrace.outbox import MemoryOutbox
from headrace.pipeline import Pipeline
from headrace.topology import Topology

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = schema.parse(HIT_AVSC)


class CountingOutbox(MemoryOutbox):
    """Knows how much each commit staged; can be told to fail."""

    def __init__(self):
        super().__init__()
        self.staged, self.fail_after = [], None

    def stage(self, objects):
        if self.fail_after is not None and len(self.staged) >= self.fail_after:
            raise InfrastructureError("the function's time is over")
        self.staged.append(len(objects))
        super().stage(objects)


class Landing:
    """A landing pipeline in memory."""

    def __init__(self, bucket="hour", max_buckets=buckets.MAX_BUCKETS):
        self.outbox, self.checkpoints = CountingOutbox(), MemoryCheckpointStore()
        topology = Topology(JsonCodec(SCHEMA), (Land(bucket),), "at", max_skew_ms=10**15, max_buckets=max_buckets)
        self.pipeline = Pipeline("landing", lambda _topic: topology, self.checkpoints, self.outbox)

    def handle(self, records):
        return self.pipeline.handle(lambda_event(records))

    def files(self):
        for key in self.outbox.keys("lake"):
            yield read_final_key(key), pq.read_table(io.BytesIO(self.outbox.read(key))).to_pylist()

    def rows(self):
        return sorted((name.table, name.hour_ms, row["_offset"]) for name, rows in self.files() for row in rows)


def at_hours(*hours):
    return [hit(offset, NOON_MS + hour * HOUR_MS) for offset, hour in enumerate(hours)]


def test_a_batch_of_five_thousand_hours_is_three_commits():
    landing = Landing()
    hours = [offset * 997 % 5000 for offset in range(5000)]  # every hour once, in no order
    answer = landing.handle(at_hours(*hours))
    assert landing.outbox.staged == [2001, 2001, 1001]  # files, and the manifest that lists them
    assert [answer[key] for key in ("applied", "files", "rows", "skipped")] == [5000, 5000, 5000, 0]
    names = [read_final_key(key) for key in landing.outbox.keys("lake")]
    assert Counter(name.version for name in names) == {1: 2000, 2: 2000, 3: 1000}
    assert sorted(name.hour_ms for name in names) == [NOON_MS + hour * HOUR_MS for hour in range(5000)]
    assert landing.handle(at_hours(*hours)) == Counter(skipped=5000)


def test_what_was_committed_stays_when_the_time_is_over_before_the_batch_is():
    landing = Landing(max_buckets=3)
    batch = at_hours(*range(10))
    landing.outbox.fail_after = 2
    with pytest.raises(Exception, match="the function's time is over"):
        landing.handle(batch)
    landing.outbox.fail_after = None
    answer = landing.handle(batch)
    assert (answer["skipped"], answer["applied"], landing.outbox.staged) == (6, 4, [3, 3, 3, 1])
    assert landing.rows() == [("hits", NOON_MS + hour * HOUR_MS, hour) for hour in range(10)]


@given(
    hours=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    dead=st.sets(st.integers(0, 29)),
    limit=st.integers(1, 5),
    bucket=st.sampled_from(["hour", "day"]),
)
def test_a_cut_changes_no_row_and_bounds_every_commit(hours, dead, limit, bucket):
    """Good records and dead letters in one batch; days are made of ten hours' distance."""
    records = [
        record(offset, b"{", timestamp_ms=NOON_MS + 10 * hour * HOUR_MS)
        if offset in dead
        else hit(offset, NOON_MS + 10 * hour * HOUR_MS)
        for offset, hour in enumerate(hours)
    ]
    cut, whole = Landing(bucket, limit), Landing(bucket)
    assert cut.handle(records)["applied"] == whole.handle(records)["applied"]
    assert cut.rows() == whole.rows()
    files = Counter((name.version, name.table) for name, _ in cut.files())
    assert max(files.values()) <= limit


def test_the_order_of_dead_letters_does_not_matter_to_the_cut():
    """Those from the future are found last, whatever their offsets."""
    letters = [(record(offset, b"", timestamp_ms=1 + offset * HOUR_MS), PoisonError("x", "y")) for offset in (2, 0, 1)]
    decoded = Decoded([], [], letters)
    end = buckets.end(sorted((r for r, _ in letters), key=lambda r: r.offset), decoded, [], limit=2, bucket_hours=1)
    assert (end, decoded.keep(end)) == (2, 0)
    assert [letter.offset for letter, _ in decoded.poison] == [0, 1]


def test_a_day_is_one_file_without_an_hour_in_its_name():
    landing = Landing("day")
    landing.handle(at_hours(-13, -12, 11, 12))
    found = {
        key.rpartition("/")[0]: rows
        for key, (_, rows) in zip(landing.outbox.keys("lake"), landing.files(), strict=True)
    }
    assert {folder: len(rows) for folder, rows in found.items()} == {
        "lake/landing/hits/date=2024-03-12": 1,
        "lake/landing/hits/date=2024-03-13": 2,
        "lake/landing/hits/date=2024-03-14": 1,
    }
    assert {name.bucket_hours for name, _ in landing.files()} == {24}


MEASURE = """
import json, resource, sys
sys.path[:0] = {folders!r}
from samples import NOON_MS, hit, lambda_event
from test_buckets import HOUR_MS, Landing, MemoryOutbox
def batch(hours):
    padding = "x" * 400
    return [hit(n, NOON_MS + n * 997 % hours * HOUR_MS, user=f"{{n}}-{{padding}}") for n in range(10_000)]
def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def land(hours):
    landing, put = Landing(), MemoryOutbox._put
    # What was written is somebody else's memory; only the manifests are read again.
    landing.outbox.publish = lambda entries: None
    landing.outbox._put = lambda objects: put(
        landing.outbox, {{key: data for key, data in objects.items() if key.endswith("manifest")}}
    )
    return landing.handle(batch(hours))["files"]
land(1)
one_hour_mb = peak_mb()
address_space = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (address_space + 64 * 2**20,) * 2)
files = land(2000)
print(json.dumps([files, one_hour_mb, peak_mb()]))
"""


def test_two_thousand_hours_take_hardly_more_memory_than_one():
    """One hour's batch of 5 MB first, then one of 2,000 hours with no more than 64 MB of address space left."""
    folders = [str(ROOT / "tests"), str(ROOT / "tests" / "unit" / "headrace")]
    code = MEASURE.format(folders=folders)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    files, one_hour_mb, peak_mb = json.loads(done.stdout)
    assert files == 2000
    assert peak_mb - one_hour_mb < 32


def test_lines_that_continue_others_count_by_the_hour_they_came():
    records = [record(offset, b"", timestamp_ms=NOON_MS + offset * HOUR_MS) for offset in range(4)]
    decoded = Decoded([], [], [], continuations=[(each, " at a.B") for each in records])
    assert buckets.end(records, decoded, [], limit=2, bucket_hours=1) == records[2].offset
    assert buckets.end(records, decoded, [], limit=4, bucket_hours=1) is None
