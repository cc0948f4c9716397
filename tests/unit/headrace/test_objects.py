"""What obstore's stores need beyond the port's contract (test_ports.py): URLs, errors, limits, a folder's files."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.store import LocalStore, MemoryStore

from headrace import objects
from headrace.checkpoint import OutboxEntry
from headrace.errors import ConfigurationError, InfrastructureError, InvariantError, ObjectMissing
from headrace.objects import ObjectStoreOutbox, open_lake

PUBLISH = [OutboxEntry("staging/a", "lake/a")]


class FakeS3(BaseHTTPRequestHandler):
    """Answers requests with the server's `answers` in turn, and then with its `answer`: (status, body)."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(self.path)
        status, body = next(self.server.answers, self.server.answer)
        self.send_response(status)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT  # noqa: N815 - http.server's name

    def do_HEAD(self):
        self.send_response(self.server.look)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def fake_s3(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeS3)
    server.requests, server.answers, server.answer = [], iter(()), (200, b"")
    server.look = 404
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    aws_environment(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def aws_environment(monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-word")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


def test_a_folder_lake_contains_exactly_the_objects_as_files(tmp_path):
    lake = open_lake(f"file:{tmp_path}/new/folder")
    lake.stage({"staging/u/0": b"bytes"})
    lake.publish([OutboxEntry("staging/u/0", "lake/p/t/date=2026-11-22/größe 100%25.parquet")])
    files = {str(path.relative_to(tmp_path / "new/folder")) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"staging/u/0", "lake/p/t/date=2026-11-22/größe 100%25.parquet"}


def test_a_folder_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lake = open_lake("file:lake")
    monkeypatch.chdir("/")
    lake.stage({"staging/u/0": b"bytes"})
    assert (tmp_path / "lake/staging/u/0").read_bytes() == b"bytes"


def test_staging_again_does_not_change_what_was_published_before(tmp_path):
    """A folder's copy is a hard link: a write must make a new file, never write into the old one."""
    lake = open_lake(f"file:{tmp_path}")
    lake.stage({"staging/a": b"old"})
    lake.publish(PUBLISH)
    lake.stage({"staging/a": b"new"})
    assert lake.read("lake/a") == b"old"
    lake.delete(["staging/a"])
    assert lake.read("lake/a") == b"old"


@pytest.mark.parametrize("key", ["../escape", "lake/../../escape", "lake/./a", "lake//a"])
def test_a_key_that_is_no_path_is_refused(tmp_path, key):
    lake = open_lake(f"file:{tmp_path}/lake")
    with pytest.raises(ConfigurationError, match="cannot write"):
        lake.stage({key: b""})
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize(
    "url", ["", "memory:", "file:", "s3://", "s3:///prefix", "s3:bucket", "gs://bucket", "/tmp/lake"]
)
def test_another_url_is_refused_and_named(url):
    with pytest.raises(ConfigurationError, match=r"neither file:DIR nor s3://"):
        open_lake(url)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"cannot open the lake 'file:.*/file/lake'"):
        open_lake(f"file:{tmp_path}/file/lake")


def test_s3_keys_have_the_url_s_prefix(fake_s3):
    fake_s3.answer = (200, b"")
    open_lake("s3://bucket/a/deep/prefix/").stage({"staging/u/0": b""})
    open_lake("s3://bucket").stage({"staging/u/0": b""})
    assert fake_s3.requests == ["/bucket/a/deep/prefix/staging/u/0", "/bucket/staging/u/0"]


def test_the_s3_endpoint_goes_before_the_general_one(fake_s3, monkeypatch):
    fake_s3.answer = (200, b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    open_lake("s3://bucket").stage({"staging/u/0": b""})
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{fake_s3.server_port}")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    open_lake("s3://bucket").stage({"staging/u/1": b""})
    assert fake_s3.requests == ["/bucket/staging/u/0", "/bucket/staging/u/1"]


def test_a_copy_that_fails_inside_of_a_200_answer_is_a_failure(fake_s3):
    """S3 may start to answer a copy with 200 and fail then: the outbox must not be cleared."""
    fake_s3.answer = (200, b"<Error><Code>InternalError</Code><Message>again, please</Message></Error>")
    with pytest.raises(InfrastructureError, match=r"cannot publish lake/a in bucket 'bucket': .*again, please"):
        open_lake("s3://bucket").publish(PUBLISH)
    assert len(fake_s3.requests) == 1 + objects.RETRIES


@pytest.mark.parametrize("status", [401, 403])
def test_a_denied_access_is_no_retriable_error(fake_s3, status):
    fake_s3.answer = (status, b"<Error><Code>AccessDenied</Code></Error>")
    for call in (lambda lake: lake.stage({"a": b""}), lambda lake: lake.publish(PUBLISH), lambda lake: lake.read("a")):
        with pytest.raises(ConfigurationError, match=r"in bucket 'bucket': .*AccessDenied") as refused:
            call(open_lake("s3://bucket"))
        assert "\n" not in str(refused.value)
        assert "a-secret-word" not in str(refused.value)
    assert len(fake_s3.requests) == 3


@pytest.mark.parametrize("status", [401, 403])
def test_a_final_key_that_may_not_be_looked_at_is_not_taken_for_absent(fake_s3, status):
    fake_s3.look, fake_s3.answer = status, (200, b"")
    with pytest.raises(ConfigurationError, match="cannot publish lake/a in bucket 'bucket'"):
        open_lake("s3://bucket").publish(PUBLISH)
    assert fake_s3.requests == []


def test_a_server_that_refuses_connections_is_a_retriable_error(monkeypatch):
    aws_environment(monkeypatch, "http://127.0.0.1:1")
    with pytest.raises(InfrastructureError, match="cannot read a in bucket 'bucket'"):
        open_lake("s3://bucket").read("a")


def test_after_a_failure_no_more_requests_are_started(fake_s3):
    fake_s3.answer = (403, b"")
    with pytest.raises(ConfigurationError):
        open_lake("s3://bucket").stage({f"staging/u/{n}": b"" for n in range(500)})
    assert len(fake_s3.requests) < 100


def test_requests_run_at_once_but_not_all_of_them(tmp_path):
    lake = ObjectStoreOutbox(open_lake(f"file:{tmp_path}")._store)
    running = threading.Semaphore(objects.PARALLEL)
    together = threading.Barrier(objects.PARALLEL)

    def action(_: int) -> None:
        assert running.acquire(blocking=False), "more at once than allowed"
        together.wait(10)
        running.release()

    lake._each(action, range(3 * objects.PARALLEL))


def test_a_folder_store_s_ungranted_file_is_a_retriable_error(tmp_path):
    lake = open_lake(f"file:{tmp_path}")
    (tmp_path / "state").write_bytes(b"a file where a folder is needed")
    with pytest.raises(InfrastructureError, match="cannot write state/a in folder"):
        lake.stage({"state/a": b""})


def test_readers_never_see_half_an_object(tmp_path):
    lake = open_lake(f"file:{tmp_path}")
    versions = [bytes([n]) * 200_000 for n in range(2)]
    lake.stage({"lake/a": versions[0]})
    with ThreadPoolExecutor(2) as pool:
        writer = pool.submit(lambda: [lake.stage({"lake/a": versions[n % 2]}) for n in range(20)])
        while not writer.done():
            assert lake.read("lake/a") in versions
    assert writer.exception() is None


def test_a_missing_object_is_a_broken_promise_not_a_retriable_error(tmp_path):
    with pytest.raises(InvariantError) as missing:
        open_lake(f"file:{tmp_path}").read("state/gone")
    assert not missing.value.retriable


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc to see what is synchronised")
def test_what_a_folder_staged_and_published_is_on_the_disk(tmp_path, monkeypatch):
    synced = set()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.add(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd)))
    lake = open_lake(f"file:{tmp_path}")
    lake.stage({"staging/a": b"a"})
    assert synced == {str(tmp_path / part) for part in ("staging/a", "staging", "")}
    synced.clear()
    lake.publish(PUBLISH)
    assert synced == {str(tmp_path / part) for part in ("lake/a", "lake", "")}


class TestCreate:
    """The one write that is refused where there is an object."""

    @pytest.fixture(params=["memory", "folder"])
    def store(self, request, tmp_path):
        return ObjectStoreOutbox(MemoryStore()) if request.param == "memory" else open_lake(f"file:{tmp_path}")

    def test_the_first_one_stays_and_is_the_only_one_to_succeed(self, store):
        assert store.create("redriven/0", b"mine") is True
        assert store.create("redriven/0", b"yours") is False
        assert store.read("redriven/0") == b"mine"

    def test_success_whose_answer_got_lost_is_success(self, fake_s3):
        """The client repeats the request by itself and hears that the object exists: it is its own."""
        fake_s3.answers = iter([(500, b""), (412, b""), (200, b"mine"), (412, b""), (200, b"yours")])
        lake = open_lake("s3://bucket")
        assert lake.create("redriven/0", b"mine") is True
        assert lake.create("redriven/0", b"mine") is False

    def test_an_object_that_is_only_being_written_by_another_is_not_ours(self, fake_s3):
        fake_s3.answers = iter([(409, b""), (404, b"")])
        assert open_lake("s3://bucket").create("redriven/0", b"mine") is False

    def test_a_store_that_fails_says_so(self, fake_s3):
        fake_s3.answers = iter([(403, b"")])
        with pytest.raises(ConfigurationError, match="cannot create redriven/0"):
            open_lake("s3://bucket").create("redriven/0", b"mine")


@pytest.mark.parametrize("store", ["memory", "folder"])
@pytest.mark.parametrize(
    ("length", "end"), [(1, b"9"), (4, b"6789"), (10, b"0123456789"), (11, b"0123456789"), (10**9, b"0123456789")]
)
def test_the_end_of_an_object_is_read_without_its_beginning(tmp_path, store, length, end):
    outbox = ObjectStoreOutbox(MemoryStore() if store == "memory" else LocalStore(tmp_path))
    outbox.stage({"a": b"0123456789", "empty": b""})
    assert outbox.read_end("a", length) == (end, 10)
    assert outbox.read_end("empty", length) == (b"", 0)
    with pytest.raises(ObjectMissing):
        outbox.read_end("none", length)
