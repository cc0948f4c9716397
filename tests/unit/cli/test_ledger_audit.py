"""`headrace audit` over real commits: whatever is done to a lake behind the books' back is found, and placed."""

import io
import itertools
import json
import random
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from faults import Calls, InterruptedCheckpoints, InterruptedOutbox, Killed, kill_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import LocalStore, MemoryStore
from samples import NOON_MS, PER_PAGE, PER_USER, hit, lambda_event, record, topology

from headrace import ledger, schema
from headrace.checkpoint import MemoryCheckpointStore
from headrace.codec import LogCodec
from headrace.folder import FolderCheckpointStore
from headrace.lake import HOUR_MS, read_final_key
from headrace.land_logs import LandLogs
from headrace.objects import ObjectStoreOutbox
from headrace.operators import Land
from headrace.pipeline import Pipeline
from headrace.topology import Topology
from headrace_cli.errors import OptionError
from headrace_cli.ledger.auditor import Scope, audit
from headrace_cli.main import run

LOG_EVENT_AVSC = Path(__file__).resolve().parents[3] / "functions" / "schemas" / "log_event.avsc"
LANDING = topology(Land(), max_skew_ms=10**15)
WINDOWS = topology(PER_PAGE, PER_USER, out_of_orderness_ms=5)


class Deployment:
    """Two pipelines on one lake, whose commits are made by the library."""

    def __init__(self, store=None, checkpoints=None):
        self.store = store or MemoryStore()
        self.objects = ObjectStoreOutbox(self.store)
        self.checkpoints = checkpoints or MemoryCheckpointStore()
        self.now_ms = itertools.count()

    def pipeline(self, name, made, generation="1", calls=None, **limits):
        calls = calls or Calls()
        return Pipeline(
            name,
            lambda _topic: made,
            InterruptedCheckpoints(self.checkpoints, calls),
            InterruptedOutbox(self.objects, calls),
            generation=generation,
            clock_ms=lambda: next(self.now_ms),
            **limits,
        )

    def deliver(self, records, generation="1"):
        for name, made in (("landing", LANDING), ("windows", WINDOWS)):
            self.pipeline(name, made, generation).handle(lambda_event(records))

    def tick(self):
        for checkpoint in self.checkpoints.checkpoints("headrace"):
            if checkpoint.key.pipeline == "windows":
                self.pipeline("windows", WINDOWS).tick(checkpoint)

    def files(self):
        return [key for key in self.objects.keys("lake") if key.endswith(".parquet")]

    def audit(self, *, log=None, **scope):
        return audit(self.objects, self.checkpoints, Scope("headrace", **scope), log, lambda files, _: files)

    def change_checkpoint(self, **fields):
        checkpoint = next(self.checkpoints.checkpoints("headrace"))
        changed = msgspec.structs.replace(checkpoint, version=checkpoint.version + 1, **fields)
        self.checkpoints.commit(changed, expected_version=checkpoint.version)


def offsets_in(content):
    table = pq.read_table(io.BytesIO(content))
    return set(table.column("_offset").to_pylist()) if "_offset" in table.column_names else set()


def named_by(findings):
    return {offset for finding in findings for each in finding.offsets or () for offset in range(*each)}


def of_hour(offset, hour, user="ann"):
    return hit(offset, NOON_MS + hour * HOUR_MS + offset, user, f"/{offset % 3}")


@pytest.fixture
def deployment():
    """Three batches over three hours, with a gap, poison and a late record, and a tick."""
    made = Deployment()
    made.deliver([of_hour(0, 0), of_hour(1, 1), record(2, b"poison"), of_hour(3, 0, "bob"), of_hour(4, 2)])
    made.deliver([of_hour(5, 2), of_hour(8, 2), record(9, b"poison"), record(10, None)])
    made.deliver([of_hour(11, 2, "eve"), of_hour(12, 0)])
    made.tick()
    return made


def test_what_the_library_wrote_balances(deployment):
    report = deployment.audit()
    assert (report.balanced, report.differences, report.files_read) == (True, 0, len(deployment.files()))
    lines = {line.place.pipeline: line for line in report.partitions}
    assert (lines["landing"].base_offset, lines["landing"].next_offset) == (0, 13)
    assert (lines["landing"].applied, lines["landing"].dead, lines["landing"].gaps) == (8, 3, 2)
    assert lines["windows"].late > 0
    assert lines["windows"].ticks == 1


def test_any_file_that_is_gone_is_missed_and_its_offsets_are_named(deployment):
    tables = set()
    for key in deployment.files():
        content, name = deployment.objects.read(key), read_final_key(key)
        commit = page_of(content).commit
        deployment.objects.delete([key])
        report = deployment.audit()
        (finding,) = report.findings
        assert (finding.kind, finding.table, finding.files) == ("missing", name.table, 1), key
        assert finding.rows == pq.read_metadata(io.BytesIO(content)).num_rows
        assert finding.versions[0] <= name.version <= finding.versions[1]
        assert offsets_in(content) <= named_by(report.findings)
        assert finding.offsets[0].first >= commit.first_offset or finding.versions != (name.version, name.version)
        assert finding.offsets[-1].next <= commit.next_offset or finding.versions != (name.version, name.version)
        if finding.exact:
            assert offsets_in(content) == named_by(report.findings)
        assert [line.findings for line in report.partitions if line.place == finding.place] == [1]
        deployment.objects.stage({key: content})
        tables.add(name.table)
    assert tables == {"hits", "pages", "sessions", "late", "dead_letters"}
    assert deployment.audit().balanced


def page_of(content):
    metadata = pq.read_metadata(io.BytesIO(content)).metadata
    return ledger.read({name.decode(): value.decode() for name, value in metadata.items()})


def remove(deployment, table, pipeline="landing"):
    gone = [key for key in deployment.files() if key.startswith(f"lake/{pipeline}/{table}/")]
    deployment.objects.delete(gone)
    return gone


def test_landed_rows_are_named_exactly_because_every_other_record_has_a_row(deployment):
    (key,) = [key for key in deployment.files() if "/landing/hits/date=2024-03-13/hour=13" in key]
    deployment.objects.delete([key])
    (finding,) = deployment.audit().findings
    assert (finding.exact, finding.offsets) == (True, [(1, 2)])


def test_offsets_of_a_table_that_holds_rows_back_are_never_told_for_certain():
    """The row of each commit's last line is in the next commit's file: as many rows as offsets, but not theirs."""
    made, codec = Deployment(), LogCodec(schema.load(LOG_EVENT_AVSC))
    logs = Topology(codec, (LandLogs(),), "timestamp")
    for first in range(0, 30, 10):
        lines = [json.dumps({"timestamp": NOON_MS + n, "message": "x"}).encode() for n in range(first, first + 10)]
        batch = [record(first + n, line, topic="logs") for n, line in enumerate(lines)]
        made.pipeline("landing", logs).handle(lambda_event(batch))
    (checkpoint,) = made.checkpoints.checkpoints("headrace")
    made.pipeline("landing", logs).tick(checkpoint)
    assert made.audit().findings == []
    second = made.files()[1]
    assert offsets_in(made.objects.read(second)) == set(range(9, 19))
    made.store.delete(second)
    (finding,) = made.audit().findings
    assert (finding.rows, finding.offsets, finding.exact) == (10, [(10, 20)], None)


def test_dead_letters_are_named_exactly_where_the_others_landed(deployment):
    remove(deployment, "dead_letters")
    first, second = deployment.audit(pipelines={"landing"}).findings
    assert (first.exact, first.offsets, first.rows) == (True, [(2, 3)], 1)
    assert (second.exact, second.offsets, second.rows) == (False, [(6, 8), (9, 11)], 2), "6 and 7 may be a gap"


def test_a_whole_table_that_is_gone_is_named_commit_by_commit(deployment):
    gone = remove(deployment, "hits")
    report = deployment.audit(pipelines={"landing"})
    assert sum(finding.files for finding in report.findings) == len(gone)
    assert named_by(report.findings) >= {0, 1, 3, 4, 5, 8, 11, 12}


def test_everything_that_is_gone_is_named(deployment):
    deployment.objects.delete(deployment.files())
    report = deployment.audit()
    assert named_by(report.findings) == set(range(13))
    assert report.files_read == 0


def test_a_window_row_is_of_the_offsets_at_which_it_was_written(deployment):
    key = next(key for key in deployment.files() if "/windows/pages/" in key and "-0-1-" in key)
    deployment.objects.delete([key])
    (finding,) = deployment.audit().findings
    assert (finding.exact, finding.versions, finding.offsets) == (None, (1, 1), [(0, 5)])


def test_a_row_of_a_tick_is_of_no_offset(deployment):
    key = next(key for key in deployment.files() if "/windows/sessions/" in key and "-0-4-" in key)
    deployment.objects.delete([key])
    (finding,) = deployment.audit().findings
    assert (finding.versions, finding.offsets) == ((4, 4), [(13, 13)])
    assert "of a tick at offset 13" in str(finding)


@pytest.mark.parametrize("keep", [0, 3, 11, 200, -1])
def test_a_truncated_file_is_damaged_and_its_rows_are_missed(deployment, keep):
    key = deployment.files()[0]
    content = deployment.objects.read(key)
    deployment.objects.stage({key: content[:keep]})
    report = deployment.audit()
    assert [(finding.kind, finding.key) for finding in report.findings] == [("damaged", key), ("missing", None)]
    assert offsets_in(content) <= named_by(report.findings)


def test_a_file_that_was_never_counted_is_unknown(deployment):
    key = "lake/landing/hits/date=2024-03-13/hour=12/1-hits-0-99-0.parquet"
    deployment.objects.stage({key: deployment.objects.read(deployment.files()[0])})
    (finding,) = deployment.audit().findings
    assert (finding.kind, finding.key) == ("unknown", key)
    assert "newer than the checkpoint" in finding.what


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("lake/landing/hits/date=2024-03-13/hour=12/1-hits-7-1-0.parquet", "a partition without a checkpoint"),
        ("lake/landing/hits/date=2024-03-13/hour=12/2-hits-0-1-0.parquet", "a partition without a checkpoint"),
        ("lake/landing/hits/date=2024-03-13/hour=12/1-hits-0-1-77.parquet", "under the name of another one"),
        ("lake/windows/hits/date=2024-03-13/hour=12/1-hits-0-1-0.parquet", "under the name of another one"),
        ("lake/landing/hits/date=2024-03-13/hour=12/mine.parquet", "no table has a file of this name"),
    ],
)
def test_a_file_that_is_nobodys_is_unknown(deployment, key, what):
    deployment.objects.stage({key: deployment.objects.read(deployment.files()[0])})
    (finding,) = deployment.audit().findings
    assert (finding.kind, finding.key) == ("unknown", key)
    assert what in finding.what


def test_a_file_in_two_hours_is_doubled(deployment):
    key = deployment.files()[0]
    copy = key.replace("hour=12", "hour=00")
    deployment.objects.stage({copy: deployment.objects.read(key)})
    (finding,) = deployment.audit().findings
    assert finding.kind == "doubled"
    assert {finding.key, finding.what.rpartition(" ")[2]} == {key, copy}
    assert finding.offsets


def test_a_file_with_other_rows_is_wrong(deployment):
    key = next(key for key in deployment.files() if "/landing/hits/" in key)
    table = pq.read_table(io.BytesIO(deployment.objects.read(key)))
    page = page_of(deployment.objects.read(key))
    shorter = io.BytesIO()
    metadata = {ledger.METADATA_KEY: page.metadata()[ledger.METADATA_KEY]}
    pq.write_table(table.slice(1).replace_schema_metadata(metadata), shorter)
    deployment.objects.stage({key: shorter.getvalue()})
    findings = deployment.audit().findings
    assert {finding.kind for finding in findings} == {"rows"}
    assert offsets_in(deployment.objects.read(key)) <= named_by(findings)


def test_other_objects_below_the_lake_are_nobodys_business(deployment):
    deployment.objects.stage({"lake/landing/hits/metadata/v1.metadata.json": b"{}", "lake/_temporary": b""})
    assert deployment.audit().balanced


def kill_after(point):
    def interrupt(at):
        if at == point:
            raise Killed

    return interrupt


def test_what_is_committed_and_not_published_yet_is_no_loss(deployment):
    dying = deployment.pipeline("landing", LANDING, calls=Calls(kill_after("after commit")))
    with pytest.raises(Killed):
        dying.handle(lambda_event([of_hour(13, 2), of_hour(14, 3), record(15, b"poison")]))
    report = deployment.audit()
    assert report.balanced
    assert {line.place.pipeline: line.unpublished for line in report.partitions} == {"landing": 3, "windows": 0}


def test_what_is_half_published_is_no_loss_either(deployment):
    dying = deployment.pipeline("landing", LANDING, calls=Calls(kill_after("before clear")))
    with pytest.raises(Killed):
        dying.handle(lambda_event([of_hour(13, 2), of_hour(14, 3)]))
    deployment.objects.delete([k for k in deployment.files() if "/landing/" in k and k.endswith("-0-4-1.parquet")])
    report = deployment.audit()
    assert report.balanced
    assert [line.unpublished for line in report.partitions if line.place.pipeline == "landing"] == [1]


def test_a_staged_file_that_is_gone_before_it_was_published_is_missing(deployment):
    dying = deployment.pipeline("landing", LANDING, calls=Calls(kill_after("after commit")))
    with pytest.raises(Killed):
        dying.handle(lambda_event([of_hour(13, 2), of_hour(14, 3)]))
    (checkpoint,) = [c for c in deployment.checkpoints.checkpoints("headrace") if c.pending]
    deployment.objects.delete([checkpoint.outbox[0].staged_key])
    (finding,) = deployment.audit().findings
    assert (finding.kind, finding.exact, finding.offsets) == ("missing", True, [(13, 14)])


BATCH = [of_hour(13, 2), of_hour(14, 3), record(15, b"poison"), of_hour(16, 0)]


def points_of_a_batch(limits):
    """How often the batch's turn can be interrupted."""
    deployment, calls = Deployment(), Calls()
    deployment.pipeline("landing", LANDING, calls=calls, **limits).handle(lambda_event(BATCH))
    return len(calls.points)


@pytest.mark.parametrize("limits", [{}, {"inline_outbox_entries": 1}], ids=["outbox in the checkpoint", "staged list"])
def test_a_process_that_dies_at_any_step_leaves_books_that_balance(limits):
    for number in range(points_of_a_batch(limits)):
        deployment = Deployment()
        deployment.deliver([of_hour(0, 0), of_hour(1, 1), record(2, b"poison"), of_hour(12, 2)])
        dying = deployment.pipeline("landing", LANDING, calls=Calls(kill_at(number)), **limits)
        with pytest.raises(Killed):
            dying.handle(lambda_event(BATCH))
        assert deployment.audit().balanced, f"killed at point {number}"
        deployment.deliver(BATCH)
        report = deployment.audit()
        assert report.balanced, f"killed at point {number}, and delivered again"
        assert {(line.next_offset, line.unpublished) for line in report.partitions} == {(17, 0)}


def test_a_staged_list_of_unpublished_files_is_read(deployment):
    dying = deployment.pipeline("landing", LANDING, calls=Calls(kill_after("after commit")), inline_outbox_entries=1)
    with pytest.raises(Killed):
        dying.handle(lambda_event([of_hour(13, 2), of_hour(14, 3)]))
    assert deployment.audit().partitions[0].unpublished == 2
    (checkpoint,) = [c for c in deployment.checkpoints.checkpoints("headrace") if c.pending]
    deployment.objects.delete([checkpoint.outbox_manifest])
    report = deployment.audit()
    assert {finding.kind for finding in report.findings} == {"damaged", "missing"}
    assert named_by(report.findings) >= {13, 14}


def test_a_commit_during_the_audit_is_no_difference(deployment):
    """Its files are newer than the books that are compared."""

    def commit_meanwhile(files, _expected):
        deployment.deliver([of_hour(13, 2)])
        yield from files

    report = audit(deployment.objects, deployment.checkpoints, Scope("headrace"), None, commit_meanwhile)
    assert report.balanced
    assert report.partitions[0].next_offset == 13


def test_generations_have_books_of_their_own(deployment):
    deployment.deliver([of_hour(0, 0), of_hour(1, 1)], generation="2")
    assert deployment.audit().balanced
    assert len(deployment.audit().partitions) == 4
    key = next(key for key in deployment.files() if "/2-hits-" in key)
    deployment.objects.delete([key])
    (finding,) = deployment.audit().findings
    assert finding.place.generation == "2"


def test_only_what_is_asked_for_is_audited(deployment):
    deployment.objects.delete([key for key in deployment.files() if "/windows/" in key])
    assert deployment.audit(pipelines={"landing"}).balanced
    assert deployment.audit(topics={"hits"}).differences > 0
    with pytest.raises(OptionError, match="has no checkpoints of other here"):
        deployment.audit(topics={"other"})


@pytest.mark.parametrize(
    ("total", "what"),
    [
        ("applied", "offsets passed, and applied + dead + gaps: 13 is not 12"),
        ("dead", "dead letters, and rows of dead_letters"),
        ("rows", "rows, and rows of all tables"),
    ],
)
def test_books_that_do_not_add_up_are_unbalanced(deployment, total, what):
    checkpoint = next(deployment.checkpoints.checkpoints("headrace"))
    deployment.change_checkpoint(totals=checkpoint.totals | {total: checkpoint.totals[total] - 1})
    findings = [finding for finding in deployment.audit().findings if finding.kind == "unbalanced"]
    assert what in " ".join(finding.what for finding in findings)


def test_offsets_that_stop_to_add_up_are_named_by_commit():
    deployment = Deployment()
    deployment.deliver([of_hour(0, 0), of_hour(1, 1)])
    (checkpoint, _) = sorted(deployment.checkpoints.checkpoints("headrace"), key=lambda each: each.key)
    lost = msgspec.structs.replace(checkpoint, version=2, next_offset=5)
    deployment.checkpoints.commit(lost, expected_version=1)
    for offset in range(5, 9):
        deployment.deliver([of_hour(offset, 0)])
    (finding,) = deployment.audit(pipelines={"landing"}).findings
    assert (finding.kind, finding.versions, finding.offsets) == ("unbalanced", (2, 3), [(2, 6)])


class KafkaEnds:
    """What a log has, by its ends."""

    def __init__(self, low, high):
        self._ends = (low, high)

    def ends(self, _topic_partition):
        return self._ends

    def partitions(self, _topic):
        return [0]


def test_kafkas_ends_are_compared_with_the_newest_generation(deployment):
    assert deployment.audit(log=KafkaEnds(0, 20)).partitions[0].log == (0, 20, 7)
    deployment.deliver([of_hour(20, 0)], generation="2")
    report = deployment.audit(log=KafkaEnds(15, 21))
    assert report.balanced, "the old generation reads no more, and may have missed 13 and 14"
    assert len(report.notes) == 2
    assert "generation 2 reads it" in report.notes[0]
    lost = deployment.audit(log=KafkaEnds(30, 40))
    assert [finding.offsets for finding in lost.findings] == [[(21, 30)]] * 2


def stripped(content):
    """The file as it was written before there were pages of the books."""
    bare = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(content)).replace_schema_metadata({}), bare)
    return bare.getvalue()


@pytest.fixture
def old_deployment(deployment):
    """Books and files from before files were numbered, and commits made since."""
    for key in deployment.files():
        deployment.objects.stage({key: stripped(deployment.objects.read(key))})
    for checkpoint in list(deployment.checkpoints.checkpoints("headrace")):
        totals = {name: count for name, count in checkpoint.totals.items() if not name.startswith("files.")}
        changed = msgspec.structs.replace(checkpoint, version=checkpoint.version + 1, totals=totals)
        deployment.checkpoints.commit(changed, expected_version=checkpoint.version)
    deployment.old_files = deployment.files()
    deployment.deliver([of_hour(13, 2), of_hour(14, 3)])
    return deployment


def test_files_from_before_they_were_numbered_are_counted(old_deployment):
    assert old_deployment.audit().balanced
    for key in old_deployment.files():
        content = old_deployment.objects.read(key)
        old_deployment.objects.delete([key])
        report = old_deployment.audit()
        assert report.findings[0].kind == "missing"
        if key in old_deployment.old_files:
            assert "cannot be located" in report.findings[0].what
        else:
            assert offsets_in(content) <= named_by(report.findings)
        old_deployment.objects.stage({key: content})


def test_a_file_without_a_page_is_unknown_where_every_file_has_one(deployment):
    key = "lake/landing/hits/date=2024-03-13/hour=00/1-hits-0-1-9.parquet"
    deployment.objects.stage({key: stripped(deployment.objects.read(deployment.files()[0]))})
    (finding,) = deployment.audit().findings
    assert (finding.kind, finding.files, finding.key) == ("unknown", 1, key)


def test_one_more_of_them_is_too_much(old_deployment):
    content = old_deployment.objects.read(old_deployment.old_files[0])
    old_deployment.objects.stage({"lake/landing/hits/date=2024-03-13/hour=00/1-hits-0-1-9.parquet": content})
    (finding,) = old_deployment.audit().findings
    assert (finding.kind, finding.files) == ("unknown", 1)


@st.composite
def deployments(draw):
    """Random commits: batches of any cut over some hours, poison, gaps, late records, ticks, two partitions."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    made, offsets = Deployment(), [0, 100]
    for _ in range(draw(st.integers(1, 7))):
        partition, records = chance.randrange(2), []
        for _ in range(chance.randrange(1, 7)):
            offset = offsets[partition] = offsets[partition] + 1 + (chance.random() < 0.1)
            made_record = record(offset, b"x") if chance.random() < 0.2 else of_hour(offset, chance.randrange(4))
            records.append(msgspec.structs.replace(made_record, partition=partition))
        made.deliver(records)
        if chance.random() < 0.2:
            made.tick()
    return made, chance


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(deployments())
def test_whatever_was_committed_any_files_that_are_gone_are_found_and_placed(drawn):
    deployment, chance = drawn
    assert deployment.audit().balanced
    files = deployment.files()
    for count in (1, 1, 1, min(len(files), 4)):
        gone = {key: deployment.objects.read(key) for key in chance.sample(files, count)}
        deployment.objects.delete(list(gone))
        report = deployment.audit()
        assert sum(finding.files for finding in report.findings) == count
        for key, content in gone.items():
            name = read_final_key(key)
            own = [f for f in report.findings if f.table == name.table and f.place[:4] == name[:4]]
            assert own, key
            assert any(f.versions[0] <= name.version <= f.versions[1] for f in own)
            assert offsets_in(content) <= named_by(own)
        deployment.objects.stage(gone)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(deployments(), st.data())
def test_whatever_was_committed_a_file_too_many_or_cut_short_is_found(drawn, data):
    deployment, chance = drawn
    key = chance.choice(deployment.files())
    content, name = deployment.objects.read(key), read_final_key(key)
    other = {
        "doubled": key.replace("date=2024", "date=2023"),
        "newer": key.replace(f"-{name.version}-{name.number}.", f"-{name.version + 50}-{name.number}."),
        "number": key.replace(f"-{name.number}.parquet", f"-{name.number + 50}.parquet"),
        "generation": key.replace("/1-hits", "/9-hits"),
    }
    for place in other.values():
        deployment.objects.stage({place: content})
        report = deployment.audit()
        assert place in str(report.findings)
        deployment.objects.delete([place])
    deployment.objects.stage({key: content[: data.draw(st.integers(0, len(content) - 1))]})
    assert {finding.kind for finding in deployment.audit().findings} == {"damaged", "missing"}


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "checkpoints").mkdir()
        made = Deployment(LocalStore(tmp_path), FolderCheckpointStore(tmp_path / "checkpoints"))
        made.deliver([of_hour(0, 0), of_hour(1, 1), record(2, b"poison"), of_hour(3, 0)])
        return tmp_path

    def test_balanced_books_end_with_0(self, folder, capsys):
        assert run(["audit", str(folder)]) == 0
        out = capsys.readouterr().out
        assert "landing 1 hits-0" in out
        assert out.splitlines()[-1].startswith("BALANCED: 2 partitions, ")

    def test_what_is_asked_for_twice_is_read_once(self, folder, capsys):
        assert run(["audit", str(folder), "--pipeline", "landing"]) == 0
        once = capsys.readouterr().out
        assert run(["audit", str(folder), "--pipeline", "landing", "--pipeline", "landing"]) == 0
        assert capsys.readouterr().out == once

    def test_books_that_do_not_balance_end_with_1_and_name_the_offsets(self, folder, capsys):
        (gone,) = folder.glob("lake/landing/hits/date=2024-03-13/hour=13/*.parquet")
        gone.unlink()
        assert run(["audit", f"file:{folder}", "--checkpoints", f"file:{folder}/checkpoints"]) == 1
        out = capsys.readouterr().out
        assert "NOT BALANCED: 1 wrong in 2 partitions" in out
        assert "hits-0, table hits: 1 file with 1 row missing, of version 1, offsets 1" in out

    def test_as_json_it_is_one_object(self, folder, capsys):
        (gone,) = folder.glob("lake/landing/hits/date=2024-03-13/hour=13/*.parquet")
        gone.unlink()
        assert run(["audit", str(folder), "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert (found["balanced"], found["differences"], found["application"]) == (False, 1, "headrace")
        assert [(each["pipeline"], each["balanced"]) for each in found["partitions"]] == [
            ("landing", False),
            ("windows", True),
        ]
        (finding,) = found["findings"]
        assert finding.items() >= {"kind": "missing", "table": "hits", "offsets": [[1, 2]], "exact": True}.items()
        assert finding["place"] == {"pipeline": "landing", "generation": "1", "topic": "hits", "partition": 0}

    def test_a_long_list_of_differences_is_cut(self, folder, capsys):
        content = next(folder.glob("lake/landing/hits/**/*.parquet")).read_bytes()
        for number in range(30):
            (folder / "lake" / "landing" / f"{number}.parquet").write_bytes(content)
        assert run(["audit", str(folder)]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert lines[-1].strip() == "… and 10 more differences"
        assert len(lines) < 40

    def test_a_file_s_name_cannot_move_the_cursor(self, folder, capsys):
        (folder / "lake" / "landing" / "\x1b[2J.parquet").write_bytes(b"")
        assert run(["audit", str(folder)]) == 1
        assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())

    def test_no_terminal_is_too_narrow_for_a_name_or_a_number(self, folder, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "20")
        assert run(["audit", str(folder)]) == 0
        header, line, *_ = capsys.readouterr().out.splitlines()
        assert header.split() == ["partition", "offsets", "applied", "dead", "late", "files", "rows", "books"]
        assert line.split()[:6] == ["landing", "1", "hits-0", "0-3", "3", "1"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["FOLDER", "--application", "other"], "application 'other' has no checkpoints"),
            (["FOLDER", "--pipeline", "other"], "has no checkpoints of other"),
            (["FOLDER", "--pipeline", "landing", "--pipeline", "other"], "has no checkpoints of other here"),
            (["FOLDER", "--pipeline", "landing", "--topic", "other"], "has no checkpoints of other here"),
            (["FOLDER/none"], "no such folder"),
            (["FOLDER", "--checkpoints", "FOLDER/none"], "no such folder"),
            (["s3://bucket"], "name them with --checkpoints dynamodb:TABLE"),
            (["FOLDER", "--kafka", "nowhere"], "is not HOST:PORT"),
            (["FOLDER", "--topic", "a/b"], "is no topic name"),
        ],
    )
    def test_wrong_usage_is_one_line_with_the_way_out(self, folder, arguments, message, capsys):
        assert run(["audit", *(argument.replace("FOLDER", str(folder)) for argument in arguments)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line

    def test_a_corrupt_checkpoint_is_one_line(self, folder, capsys):
        next(folder.glob("checkpoints/**/*.msgpack")).write_bytes(b"x")
        assert run(["audit", str(folder)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "0.msgpack (1 bytes) is not what was written" in line
