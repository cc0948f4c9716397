"""Checkpoints in a folder of this machine: the durable store without AWS.

One file per partition, `<application>/<pipeline>/<generation>/<topic>/<partition>.msgpack`, replaced as a
whole. Several processes may share the folder: a lock file per partition makes "compare, then replace" one
step for all of them. Only for file systems with working `flock` and atomic rename (not for NFS).
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from headrace.checkpoint import Checkpoint, CheckpointKey, OnCorrupt, raise_corrupt
from headrace.checksum import opened, sealed
from headrace.errors import CheckpointCorrupt, CommitConflict, ConfigurationError, InfrastructureError

LOCK_TIMEOUT_S = 10.0
"""How long a commit waits for another process; the lock is held for milliseconds, so this means "stuck"."""
LOCK_POLL_S = 0.002
SUFFIX = ".msgpack"


class FolderCheckpointStore:
    """Checkpoints below one folder. Safe for threads and processes; survives the loss of power."""

    def __init__(self, root: Path) -> None:
        self._root = Path(root)

    def load(self, keys: Sequence[CheckpointKey]) -> Mapping[CheckpointKey, Checkpoint]:
        """See `CheckpointStore.load`.

        Raises:
            CheckpointCorrupt: a file cannot be read as the checkpoint of its key; names the file.
            InfrastructureError: the file system failed.
        """
        found = ((key, self._read(self._path(key))) for key in dict.fromkeys(keys))
        return {key: checkpoint for key, checkpoint in found if checkpoint}

    def commit(self, checkpoint: Checkpoint, expected_version: int) -> None:
        """See `CheckpointStore.commit`."""
        key = checkpoint.key
        with self._locked(key):
            stored = self._read(self._path(key))
            version = stored.version if stored else 0
            if version != expected_version:
                raise CommitConflict(f"{key} is at version {version}, expected {expected_version}")
            self._replace(checkpoint)

    def clear_outbox(self, key: CheckpointKey, version: int) -> None:
        """See `CheckpointStore.clear_outbox`."""
        path = self._path(key)
        if not path.exists():
            return  # no lock file for a partition that has no checkpoint
        with self._locked(key):
            stored = self._read(path)
            if stored and stored.version == version and stored.pending:
                self._replace(stored.published())

    def checkpoints(self, application: str, on_corrupt: OnCorrupt = raise_corrupt) -> Iterator[Checkpoint]:
        """See `CheckpointCatalog.checkpoints`. Raises as `load`."""
        for path in sorted((self._root / _component(application)).glob(f"*/*/*/*{SUFFIX}")):
            try:
                checkpoint = self._read(path)
            except CheckpointCorrupt as error:
                on_corrupt(error)
                continue
            if checkpoint:
                yield checkpoint

    def _path(self, key: CheckpointKey) -> Path:
        folders = [_component(part) for part in key[:-1]]
        return self._root.joinpath(*folders, f"{int(key.partition)}{SUFFIX}")

    def _read(self, path: Path) -> Checkpoint | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed("read", path, error) from error
        checkpoint = _decode(path, data)
        if self._path(checkpoint.key) != path:
            # E.g. topics that differ in case only, on a file system that ignores case.
            raise CheckpointCorrupt(f"{path} holds the checkpoint of {checkpoint.key}", str(path))
        return checkpoint

    def _replace(self, checkpoint: Checkpoint) -> None:
        path = self._path(checkpoint.key)
        # One name is enough, and a crash leaves at most one behind: only the lock's owner writes it.
        temporary = path.with_suffix(".tmp")
        try:
            temporary.write_bytes(sealed(msgspec.msgpack.encode(checkpoint)))
            sync(temporary)
            temporary.replace(path)
            make_durable(self._root, [path])
        except OSError as error:
            raise _failed("write", path, error) from error

    @contextmanager
    def _locked(self, key: CheckpointKey) -> Iterator[None]:
        """Own the partition, across processes; the kernel frees the lock of a process that dies."""
        path = self._path(key).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _failed("lock", path, error) from error
        try:
            _acquire(descriptor, path)
            yield
        finally:
            os.close(descriptor)


def make_durable(root: Path, paths: Iterable[Path]) -> None:
    """Make files below the root, and the folders that name them, survive the loss of power.

    A rename or a new folder is durable only when the folder that holds its name was synchronised too.
    """
    folders: set[Path] = set()
    for path in paths:
        sync(path)
        folders.update(parent for parent in path.parents if parent.is_relative_to(root))
    for folder in sorted(folders, reverse=True):
        sync(folder)


def sync(path: Path) -> None:
    """Write one file's data, or one folder's names, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _component(name: str) -> str:
    """The name as one path component: reversible, never empty, never `.` or `..`, never with a `/`."""
    if not name or "\0" in name:
        raise ConfigurationError(f"{name!r} cannot be part of a checkpoint's key: it is empty or has NUL")
    quoted = quote(name, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def _decode(path: Path, data: bytes) -> Checkpoint:
    try:
        return msgspec.msgpack.decode(opened(data, str(path)), type=Checkpoint)
    except msgspec.DecodeError as error:
        raise CheckpointCorrupt(f"{path} is not a checkpoint ({len(data)} bytes): {error}", str(path)) from error


def _acquire(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise InfrastructureError(f"{path} was locked for {LOCK_TIMEOUT_S:.0f} s") from None
            time.sleep(LOCK_POLL_S)
        else:
            return


def _failed(verb: str, path: Path, error: OSError) -> InfrastructureError:
    return InfrastructureError(f"cannot {verb} {path}: {error.strerror}")
