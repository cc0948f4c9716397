"""Staged and published objects in an obstore store: S3, a folder, or memory.

Timeouts are capped so that an attempt with all of its retries ends within 25 s (obstore's default is 180 s):
the Lambda function must be told of a failure while it can still answer. Puts and copies are idempotent here,
so obstore's own retry of a request whose answer got lost does no harm.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, MemoryStore, S3Store

from headrace.checkpoint import OutboxEntry
from headrace.errors import ConfigurationError, InfrastructureError, ObjectConflict, ObjectMissing
from headrace.folder import make_durable

PARALLEL = 8
"""Requests in flight for one call."""
CONNECT_TIMEOUT = timedelta(seconds=2)
REQUEST_TIMEOUT = timedelta(seconds=10)
RETRY_TIMEOUT = timedelta(seconds=15)
"""No retry starts later than this after the first attempt."""
RETRIES = 3
LIST_PAGE = 1000
MAX_MESSAGE_CHARS = 400
"""Of the store's own message: it can hold the server's whole answer."""

T = TypeVar("T")
R = TypeVar("R")


class Below(NamedTuple):
    """What is directly in a folder."""

    folders: list[str]
    """Their names, sorted."""
    has_files: bool


class End(NamedTuple):
    """The last bytes of an object."""

    key: str
    written_ms: int
    """When it was last written; S3 cuts it to whole seconds."""
    data: bytes
    size: int
    """Of the whole object."""


class ObjectStoreOutbox:
    """Objects in one obstore store; the keys are relative to the store's prefix. Thread-safe.

    Besides the port's errors every method raises `ConfigurationError` when the store refuses the caller or the
    key, or when a bucket to write to does not exist. S3 answers "access denied" instead of "no such key" to a caller
    without `s3:ListBucket`: grant it, or `ObjectMissing` cannot be told.
    """

    def __init__(self, store: S3Store | LocalStore | MemoryStore) -> None:
        self._store = store
        self._folder = store.prefix if isinstance(store, LocalStore) else None

    def stage(self, objects: Mapping[str, bytes]) -> None:
        """See `Outbox.stage`."""
        self._each(self._put, list(objects.items()))
        self._make_durable(objects)

    def load(self, keys: Sequence[str]) -> list[bytes]:
        """See `Outbox.load`."""
        return self._each(self.read, keys)

    def read(self, key: str) -> bytes:
        """See `ObjectCatalog.read`."""
        with self._errors("read", key), _missing(key):
            return bytes(self._store.get(key).bytes())

    def read_end(self, key: str, length: int) -> tuple[bytes, int]:
        """The last bytes of the object, all of it if it is shorter, and its size: one request, for a file's footer.

        Raises:
            ObjectMissing: there is no such object.
        """
        with self._errors("read", key), _missing(key):
            try:
                found = self._store.get(key, options={"range": {"suffix": length}})
            except GenericError:
                if self._store.get(key).meta["size"]:
                    raise
                return b"", 0  # S3 refuses any range of an empty object
            return bytes(found.bytes()), found.meta["size"]

    def create(self, key: str, data: bytes) -> bool:
        """Write the object unless there is one of that name; whether the object there is this one.

        The bytes have to be unlike anybody else's: obstore repeats a request whose answer got lost, and then hears of
        its own success as "exists already". An object that is still being written by another is not there yet: False.
        """
        with self._errors("create", key):
            try:
                self._store.put(key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return self._holds(key, data)
        self._make_durable([key])
        return True

    def publish(self, entries: Sequence[OutboxEntry]) -> None:
        """See `Outbox.publish`. The copies are made by the store: bytes come through here only to be compared.

        Between the look at a final key and the copy another attempt may publish the same: it copies the same bytes,
        because the key belongs to one commit and that names one staged object.
        """
        self._each(self._publish, entries)
        self._make_durable(entry.final_key for entry in entries)

    def keys(self, prefix: str, *, older_than_ms: int | None = None) -> Iterator[str]:
        """See `ObjectCatalog.keys`. The prefix ends at a `/`: `lake/a` has `lake/a/b`, not `lake/ab`.

        S3 cuts the time of the last write to whole seconds: an object may seem up to one second older.
        """
        with self._errors("list", prefix):
            found = (
                meta["path"]
                for page in self._store.list(prefix.rstrip("/") or None, chunk_size=LIST_PAGE)
                for meta in page
                if older_than_ms is None or meta["last_modified"].timestamp() * 1000 < older_than_ms
            )
            # A folder is listed in any order; S3 and memory are sorted, and may be too long to hold.
            yield from sorted(found) if self._folder else found

    def below(self, prefix: str) -> Below:
        """What is directly in the folder: one request for each thousand entries, however much is below them."""
        with self._errors("list", prefix):
            found = self._store.list_with_delimiter(prefix.rstrip("/") or None)
        folders = sorted(path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])
        return Below(folders, bool(found["objects"]))

    def newest_ends(self, prefixes: Sequence[str], length: int) -> list[End]:
        """The last bytes of the object last written in each folder, a few at a time; empty ones are left out."""
        return [end for end in self._each(lambda prefix: self._newest_end(prefix, length), prefixes) if end]

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectCatalog.delete`."""
        with self._errors("delete", f"{len(keys)} keys"):
            if not self._folder:
                self._store.delete(list(keys))
                return
            for key in keys:
                with suppress(FileNotFoundError):
                    self._store.delete(key)

    def _newest_end(self, prefix: str, length: int) -> End | None:
        with self._errors("list", prefix):
            metas = (meta for page in self._store.list(prefix.rstrip("/"), chunk_size=LIST_PAGE) for meta in page)
            newest = max(metas, key=lambda meta: (meta["last_modified"], meta["path"]), default=None)
        if newest is None:
            return None
        written_ms = int(newest["last_modified"].timestamp() * 1000)
        try:
            return End(newest["path"], written_ms, *self.read_end(newest["path"], length))
        except ObjectMissing:
            return None  # expired a moment ago

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self.read(key) == data
        except ObjectMissing:
            return False

    def _put(self, item: tuple[str, bytes]) -> None:
        key, data = item
        with self._errors("write", key):
            self._store.put(key, data, use_multipart=False)

    def _publish(self, entry: OutboxEntry) -> None:
        size = self._size(entry.final_key)
        with self._errors("publish", entry.final_key), _missing(entry.staged_key):
            if size is None:
                self._store.copy(entry.staged_key, entry.final_key)
                return
            same = size == self._store.head(entry.staged_key)["size"]
        # By content: two ETags of the same bytes may differ (encryption with a key of one's own).
        if not (same and self.read(entry.staged_key) == self.read(entry.final_key)):
            raise ObjectConflict(entry.staged_key, entry.final_key)

    def _size(self, key: str) -> int | None:
        """How many bytes the object has; None if there is none."""
        with self._errors("publish", key):
            try:
                return self._store.head(key)["size"]
            except FileNotFoundError:
                return None

    def _each(self, action: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Do it for each item, a few at a time; after a failure start no more, and raise it."""
        if len(items) <= 1:
            return [action(item) for item in items]
        with ThreadPoolExecutor(min(PARALLEL, len(items))) as pool:
            futures = [pool.submit(action, item) for item in items]
            done, waiting = wait(futures, return_when=FIRST_EXCEPTION)
            for future in waiting:
                future.cancel()
        for future in done:
            future.result()  # raises what failed, before those that were never started are asked
        return [future.result() for future in futures]

    def _make_durable(self, keys: Iterable[str]) -> None:
        """What S3 promises by itself, a folder has to be told: obstore does not call fsync."""
        folder = self._folder
        if folder is None:
            return
        try:
            make_durable(folder, [folder / key for key in keys])
        except OSError as error:
            raise InfrastructureError(f"cannot make files in {folder} durable: {error.strerror}") from error

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        """Raise obstore's errors as ours, in one line: its own carry a dump of the request."""
        what = f"cannot {verb} {key} in {_name(self._store)}"
        try:
            yield
        except FileNotFoundError as error:
            raise ConfigurationError(f"{what}: it does not exist") from error
        except (PermissionDeniedError, UnauthenticatedError, ValueError) as error:
            raise ConfigurationError(f"{what}: {_one_line(error)}") from error
        except (BaseError, OSError) as error:
            raise InfrastructureError(f"{what}: {_one_line(error)}") from error


def open_lake(url: str) -> ObjectStoreOutbox:
    """The objects at `file:DIR` (made if needed) or `s3://BUCKET[/PREFIX]`.

    Credentials and region of S3 come from AWS's standard environment, container or instance, not from
    profile files; the endpoint from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, for local servers.

    Raises:
        ConfigurationError: the URL is neither, or the store cannot be opened.
    """
    scheme, _, rest = url.partition(":")
    bucket, _, prefix = rest.removeprefix("//").partition("/")
    try:
        if scheme == "file" and rest:
            return ObjectStoreOutbox(LocalStore(Path(rest).absolute(), mkdir=True))
        if scheme == "s3" and rest.startswith("//") and bucket:
            return ObjectStoreOutbox(_bucket(bucket, prefix.strip("/")))
    except (BaseError, OSError, ValueError) as error:
        raise ConfigurationError(f"cannot open the lake {url!r}: {_one_line(error)}") from error
    raise ConfigurationError(f"the lake {url!r} is neither file:DIR nor s3://BUCKET[/PREFIX]")


def _bucket(bucket: str, prefix: str) -> S3Store:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return S3Store(
        bucket,
        prefix=prefix or None,
        config={"endpoint": endpoint} if endpoint else None,
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": CONNECT_TIMEOUT,
            "timeout": REQUEST_TIMEOUT,
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_TIMEOUT},
    )


def _name(store: S3Store | LocalStore | MemoryStore) -> str:
    if isinstance(store, S3Store):
        return f"bucket {store.config['bucket']!r}"
    return f"folder {store.prefix}" if isinstance(store, LocalStore) else "memory"


@contextmanager
def _missing(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(key) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).partition("\n\nDebug source")[0].split())[:MAX_MESSAGE_CHARS]
