"""`headrace generation` on stores that the functions themselves wrote: in a folder, and on AWS's local server."""

import json
import re
import shlex
from pathlib import Path

import pytest
from msgspec.structs import replace
from samples import NOON_MS, lambda_event, record

from headrace.checkpoint import Checkpoint, CheckpointKey, OutboxEntry
from headrace.folder import FolderCheckpointStore
from headrace_cli.errors import CommandError
from headrace_cli.generations.state import next_free, progress, refuse_consumed
from headrace_cli.local.aws_server import LocalAws
from headrace_cli.main import run
from kafka_esm import Function, InProcessInvoker

FUNCTIONS = Path(__file__).resolve().parents[3] / "functions"
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
ENDED = Checkpoint(
    key=CheckpointKey("headrace", "clickstream", "1", "clicks", 0),
    version=4,
    base_offset=0,
    next_offset=10,
    committed_at_ms=HOUR_MS,
    max_timestamp_ms=1,
    fingerprint="f",
    totals={"ticks": 1},
)
OPEN = replace(ENDED, open_until_ms=99, totals={})


def at(checkpoint, **parts):
    return replace(checkpoint, key=checkpoint.key._replace(**parts))


def click(user, time_ms):
    return json.dumps({"user_id": user, "page": "/", "event_type": "view", "timestamp": time_ms}).encode()


def deliver(environment, generation="1", partitions=(0, 1)):
    """Two clicks for each partition, through the real function: one closes nothing, one closes the other's windows."""
    variables = {
        **environment,
        "HEADRACE_GENERATION": generation,
        "POWERTOOLS_SERVICE_NAME": f"generation-{generation}-{len(environment)}",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    function = Function("clickstream", "clickstream.app.lambda_handler", FUNCTIONS, (), variables, 60)
    values = [click("ann", NOON_MS), click("bob", NOON_MS + HOUR_MS)]
    records = [
        record(offset, value, topic="clicks", partition=partition, timestamp_ms=NOON_MS + HOUR_MS)
        for partition in partitions
        for offset, value in enumerate(values)
    ]
    InProcessInvoker(function).invoke(json.dumps(lambda_event(records)).encode())


def stores_in(folder):
    return {"HEADRACE_CHECKPOINTS": f"file:{folder / 'checkpoints'}", "HEADRACE_LAKE": f"file:{folder}"}


@pytest.fixture
def folder(tmp_path):
    """A lake and its checkpoints after a first batch of generation 1."""
    (tmp_path / "checkpoints").mkdir()
    deliver(stores_in(tmp_path))
    return tmp_path


@pytest.fixture
def on_aws(monkeypatch):
    """The same on AWS's local server: the location and the option."""
    with LocalAws() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        deliver(
            {
                **server.environment,
                "HEADRACE_CHECKPOINTS": f"dynamodb:{server.table}",
                "HEADRACE_LAKE": f"s3://{server.bucket}",
            }
        )
        yield [f"s3://{server.bucket}", "--checkpoints", f"dynamodb:{server.table}"]


def shown(capsys, *place):
    assert run(["generation", "show", *map(str, place), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def leave_unpublished(folder):
    """What a crash between the commit and the publication leaves, of partition 0: the file that is missing."""
    store = FolderCheckpointStore(folder / "checkpoints")
    (checkpoint,) = store.load([ENDED.key]).values()
    final = min((folder / "lake").rglob("1-clicks-0-*.parquet"))
    staged = folder / "staging" / "crashed"
    final.rename(staged)
    outbox = (OutboxEntry(str(staged.relative_to(folder)), str(final.relative_to(folder))),)
    store.commit(replace(checkpoint, version=checkpoint.version + 1, outbox=outbox), checkpoint.version)
    return final


class TestShow:
    def test_tells_how_far_each_partition_is(self, folder, capsys):
        (one,) = shown(capsys, folder)
        assert (one["generation"], one["pipeline"], one["topic"]) == ("1", "clickstream", "clicks")
        assert (one["state"], one["pending"], one["ticks"]) == ("consuming?", 0, 0)
        assert one["open_until_ms"] > NOON_MS + HOUR_MS
        assert list(one["partitions"]) == ["0", "1"]
        assert (one["partitions"]["1"]["next_offset"], one["partitions"]["1"]["version"]) == (2, 1)

    def test_for_a_person_cuts_nothing_however_narrow_the_terminal(self, folder, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        deliver(stores_in(folder), generation="2", partitions=(0,))
        capsys.readouterr()
        assert run(["generation", "show", str(folder)]) == 0
        header, first, second = capsys.readouterr().out.splitlines()
        names = ["generation", "pipeline", "topic", "state", "partitions", "next offsets", "open until", "last commit"]
        assert re.split(" {2,}", header) == names, "nothing is pending: no column of zeros"
        assert first.split()[:7] == ["1", "clickstream", "clicks", "consuming?", "2", "2", "2024-03-13T13:30"]
        assert second.split()[:5] == ["2", "clickstream", "clicks", "consuming?", "1"]

    def test_reads_a_bucket_and_a_table(self, on_aws, capsys):
        (one,) = shown(capsys, *on_aws)
        assert (one["generation"], one["state"], len(one["partitions"])) == ("1", "consuming?", 2)

    def test_of_nothing_is_no_error(self, tmp_path, capsys):
        (tmp_path / "checkpoints").mkdir()
        assert run(["generation", "show", str(tmp_path)]) == 0
        assert "no checkpoints of headrace yet" in capsys.readouterr().err

    def test_names_what_cannot_be_read_and_shows_the_rest(self, folder, capsys):
        (folder / "checkpoints/headrace/clickstream/1/clicks/0.msgpack").write_bytes(b"rubbish")
        assert run(["generation", "show", str(folder), "--json"]) == 1
        printed = capsys.readouterr()
        assert list(json.loads(printed.out)["partitions"]) == ["1"]
        assert "1 checkpoint(s) are not shown" in printed.err
        assert "0.msgpack" in printed.err

    @pytest.mark.parametrize(
        ("checkpoints", "now_ms", "states"),
        [
            pytest.param([ENDED], HOUR_MS + MINUTE_MS, ["drained"], id="nothing open, nothing pending"),
            pytest.param([ENDED], HOUR_MS + MINUTE_MS - 1, ["consuming?"], id="committed just now"),
            pytest.param([OPEN], HOUR_MS + MINUTE_MS, ["open"], id="a window is open"),
            pytest.param([replace(ENDED, outbox_manifest="m")], 2 * HOUR_MS, ["open"], id="an output is pending"),
            pytest.param([ENDED, at(OPEN, partition=1)], 2 * HOUR_MS, ["open"], id="of one partition"),
            pytest.param([OPEN, at(ENDED, generation="2")], 2 * HOUR_MS, ["open", "drained"], id="of one generation"),
        ],
    )
    def test_a_generation_s_state_is_that_of_its_partitions(self, checkpoints, now_ms, states):
        assert [each.state for each in progress(checkpoints, now_ms=now_ms, idle_timeout_ms=MINUTE_MS)] == states

    def test_generations_are_in_their_order(self):
        found = [at(ENDED, generation=name) for name in ("10", "9", "blue")]
        assert [each.generation for each in progress(found, now_ms=0, idle_timeout_ms=1)] == ["blue", "9", "10"]


class TestDrain:
    def test_publishes_and_closes_what_is_left_of_that_generation(self, folder, capsys):
        deliver(stores_in(folder), generation="2")
        final = leave_unpublished(folder)
        capsys.readouterr()
        arguments = ["generation", "drain", str(folder), "--generation", "1", "--idle-timeout", "0.001"]
        assert run([*arguments, "--dry-run"]) == 0
        plan = capsys.readouterr().out
        assert plan.splitlines() == [
            "1. headrace#clickstream#1#clicks-0: output not yet published",
            "2. headrace#clickstream#1#clicks-1: open windows",
        ]
        assert run(arguments) == 1, "nobody is at the terminal"
        assert "not confirmed" in capsys.readouterr().err
        assert not final.exists()
        assert run([*arguments, "--yes"]) == 0
        assert capsys.readouterr().out == plan + "generation 1 is drained: 1 published, 2 closed\n"
        assert final.exists()
        first, second = shown(capsys, folder)
        assert (first["open_until_ms"], first["pending"], first["ticks"]) == (None, 0, 2)
        assert second["open_until_ms"] is not None, "the other generation is left alone"
        assert second["ticks"] == 0
        assert run(arguments) == 0
        assert capsys.readouterr().out == "generation 1 is drained\n"

    def test_works_on_a_bucket_and_a_table(self, on_aws, capsys):
        assert run(["generation", "drain", *on_aws, "--generation", "1", "--idle-timeout", "0.001", "--yes"]) == 0
        assert "generation 1 is drained: 0 published, 2 closed" in capsys.readouterr().out
        (one,) = shown(capsys, *on_aws)
        assert (one["open_until_ms"], one["ticks"]) == (None, 2)

    def test_refuses_a_generation_that_may_still_be_consumed(self, folder, capsys):
        before = shown(capsys, folder)
        assert run(["generation", "drain", str(folder), "--generation", "1", "--yes"]) == 1
        assert "it may still be consumed. Stop its mappings (Consume=false)" in capsys.readouterr().err
        assert shown(capsys, folder) == before

    def test_the_last_commit_of_any_partition_counts(self):
        found = [ENDED, at(replace(OPEN, committed_at_ms=2 * HOUR_MS), partition=1)]
        with pytest.raises(CommandError, match=r"clicks-1 was committed 59 s ago"):
            refuse_consumed(found, now_ms=2 * HOUR_MS + MINUTE_MS - 1, idle_timeout_ms=MINUTE_MS)
        refuse_consumed(found, now_ms=2 * HOUR_MS + MINUTE_MS, idle_timeout_ms=MINUTE_MS)

    def test_names_what_cannot_be_drained(self, folder, capsys, monkeypatch):
        """Other operators than those that made the windows."""
        monkeypatch.setenv("HEADRACE_SESSION_GAP_MS", "1")
        arguments = ["generation", "drain", str(folder), "--generation", "1", "--idle-timeout", "0.001", "--yes"]
        assert run(arguments) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "2 partition(s) cannot be drained" in line
        assert "FingerprintChanged" in line

    def test_what_it_says_is_bounded(self, folder, capsys, monkeypatch):
        deliver(stores_in(folder), partitions=range(2, 60))
        capsys.readouterr()
        arguments = ["generation", "drain", str(folder), "--generation", "1", "--idle-timeout", "0.001"]
        assert run([*arguments, "--dry-run"]) == 0
        *_, last, more = capsys.readouterr().out.splitlines()
        assert (last.partition(".")[0], more) == ("50", "… and 10 more")
        monkeypatch.setenv("HEADRACE_SESSION_GAP_MS", "1")
        assert run([*arguments, "--yes"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.count("FingerprintChanged") == 3
        assert line.endswith("; and 57 more")

    @pytest.mark.parametrize("name", ["2", "none"])
    def test_names_the_generations_that_there_are(self, folder, capsys, name):
        assert run(["generation", "drain", str(folder), "--generation", name]) == 2
        assert f"there is no generation {name} of headrace here; there are: 1" in capsys.readouterr().err

    def test_wants_a_generation(self, folder, capsys):
        assert run(["generation", "drain", str(folder)]) == 2
        assert "name it with --generation" in capsys.readouterr().err


class TestNew:
    def test_tells_the_next_free_name_and_what_comes_before(self, folder, capsys):
        assert run(["generation", "new", str(folder)]) == 0
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("generation 1 is not drained: 2 partition(s), first headrace#clickstream#1#clicks-0")
        assert first.endswith(f"then headrace generation drain {folder} --generation 1")
        assert "HEADRACE_GENERATION=2" in second

    def test_what_it_advises_can_be_copied(self, folder, capsys):
        options = ["--checkpoints", f"file:{folder}/checkpoints"]
        assert run(["generation", "new", str(folder), *options]) == 0
        first, _ = capsys.readouterr().out.splitlines()
        _, _, command = first.partition("then headrace ")
        assert run([*shlex.split(command), "--idle-timeout", "0.001", "--dry-run"]) == 0
        assert "2. headrace#clickstream#1#clicks-1: open windows" in capsys.readouterr().out

    def test_refuses_a_name_that_was_used(self, folder, capsys):
        assert run(["generation", "new", str(folder), "--generation", "1"]) == 2
        assert "generation 1 has been used; the next free name is 2" in capsys.readouterr().err

    def test_a_checkpoint_that_cannot_be_read_does_not_stand_in_the_way_of_the_next_one(self, folder, capsys):
        corrupt = folder / "checkpoints/headrace/clickstream/1/clicks/0.msgpack"
        corrupt.write_bytes(b"rubbish")
        assert run(["generation", "new", str(folder)]) == 0
        told, left, advice = capsys.readouterr().out.splitlines()
        assert told.startswith(f"{corrupt} cannot be read: its generation cannot end")
        assert left.startswith("generation 1 is not drained: 1 partition(s)")
        assert "HEADRACE_GENERATION=2" in advice

    @pytest.mark.parametrize("option", [["--abandon"], ["--set", "ClicksTopic=c2"]], ids=" ".join)
    def test_starts_nothing_without_a_stack(self, folder, capsys, option):
        assert run(["generation", "new", str(folder), *option]) == 2
        assert "belong to --stack" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("used", "free"), [([], "1"), (["1"], "2"), (["9", "10"], "11"), (["blue"], "1"), (["3", "blue"], "4")]
    )
    def test_the_next_name_is_after_the_largest_number(self, used, free):
        assert next_free(used) == free
