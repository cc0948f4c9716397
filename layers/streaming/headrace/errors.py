"""Every error that Headrace raises, as one tree; each class says whether a retry may help.

HeadraceError
├── ConfigurationError          what the operator wrote is wrong; names the setting and its value
│   ├── SchemaError             an .avsc file that cannot drive a decoder and a table
│   └── CatalogConflict         a table of the catalog is another one than the lake's, or is refused
├── EventError                  the Lambda event is not one that the function is for
│   ├── FirehoseEventError      it is Firehose's event about an MSK source, another shape altogether
│   └── ForeignObject           it announces an object that is no file of the table
├── FileMissing                 an announced file of the lake is gone
├── FileUnreadable              an announced file of the lake is not what is published there
├── PoisonError                 one record can never be processed: it becomes a dead letter
├── InfrastructureError         retriable: a store, the network, a throttle, an unknown outcome
│   └── CommitConflict          retriable: somebody else committed this partition first
├── InvariantError              a promise is broken; the checkpoint did not move
│   ├── ObjectMissing           a staged object or a snapshot that a checkpoint names is gone
│   ├── ObjectConflict          other bytes lie where a committed output belongs
│   ├── TopicRecreated          offsets restarted below the checkpoint's
│   ├── OffsetGap               an offset is missing in a topic declared without gaps
│   ├── FingerprintChanged      the operators changed under a snapshot made by other ones
│   ├── CheckpointCorrupt       a stored checkpoint, snapshot or manifest is not what was written
│   └── ClockSkew               a commit lies in the future of whoever measures idleness
├── PartitionsFailed            some partitions of a batch failed: the whole batch must come again
└── TablesFailed                some tables of the catalog could not be brought up to date
"""

from collections.abc import Mapping
from typing import Self


class HeadraceError(Exception):
    """Base of all errors of this library."""

    retriable: bool = False
    """Whether the same call may succeed later without anybody changing anything."""


class ConfigurationError(HeadraceError):
    """What the operator wrote is wrong; the message names the setting and its value."""


class SchemaError(ConfigurationError):
    """An Avro schema file that cannot drive a decoder and a table."""


class CatalogConflict(ConfigurationError):
    """A table of the catalog belongs to somebody else, or cannot be made what the lake's table is."""


class EventError(HeadraceError):
    """The Lambda event is not one that the function is for: a Kafka event of a mapping, an object's announcement."""


class FirehoseEventError(EventError):
    """A Firehose transformation event for an MSK source: not what an event source mapping sends."""


class ForeignObject(EventError):
    """An announced object lies in another bucket, has no name that a pipeline publishes, or is another table's."""


class FileMissing(HeadraceError):
    """A file of the lake that was announced is not there: it expired, or somebody deleted it."""


class FileUnreadable(HeadraceError):
    """A file of the lake that was announced is no Parquet file, or has other columns."""


class PoisonError(HeadraceError):
    """One record that can never be processed; it becomes a dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        """A short stable code, e.g. `invalid_json`."""
        self.detail = detail
        """What exactly was wrong, for a person."""

    def without_frames(self) -> Self:
        """The error, to be kept beside its record.

        A traceback holds the frames that it went through, and these the batch that the error is kept in: a circle,
        which is memory until the next full collection.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


class InfrastructureError(HeadraceError):
    """A store or the network failed, throttled, or did not tell the outcome."""

    retriable = True


class CommitConflict(InfrastructureError):
    """The checkpoint's version is not the expected one: somebody else committed first."""


class InvariantError(HeadraceError):
    """A promise is broken. Nothing was committed; a person has to look."""


class ObjectMissing(InvariantError):
    """A staged object or a snapshot that a checkpoint names does not exist."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"object {key!r} is named by a checkpoint but does not exist: restore it (a bucket with versions has it "
            "still), or begin again with `headrace generation new`; nothing is skipped"
        )
        self.key = key


class ObjectConflict(InvariantError):
    """Other bytes than those that were committed lie at an output's final key. Nothing was overwritten."""

    def __init__(self, staged_key: str, final_key: str) -> None:
        super().__init__(
            f"object {final_key!r} exists with other bytes than {staged_key!r}, which belongs there: nothing was "
            "overwritten. Find out who wrote it (another deployment on the same lake, or a checkpoint that was put "
            "back to an earlier one). Move it away and the next attempt publishes, or begin again with "
            "`headrace generation new`"
        )
        self.staged_key = staged_key
        self.final_key = final_key


class TopicRecreated(InvariantError):
    """A new record below the checkpoint's offset, or a log that ends before it: the topic was made again."""


class OffsetGap(InvariantError):
    """Offsets are missing in a topic that was declared to have no gaps."""


class FingerprintChanged(InvariantError):
    """The operators' configuration is not the one that made the stored state: start a new generation."""


class CheckpointCorrupt(InvariantError):
    """A stored checkpoint, snapshot or manifest is not what was written."""

    def __init__(self, problem: str, place: str) -> None:
        super().__init__(
            f"{problem}; restore exactly what was written last (an older one would apply records twice), or begin "
            "again with `headrace generation new`"
        )
        self.place = place
        """What cannot be read: an item, a file, an object."""


class ClockSkew(InvariantError):
    """A commit lies in the future: whose clock is wrong cannot be told, and idleness not be measured."""


class PartitionsFailed(HeadraceError):
    """Some partitions of a batch failed; raised after the others were finished.

    The event source mapping then sends the whole batch again, and what was applied is skipped.
    """

    def __init__(self, failures: Mapping[str, Exception]) -> None:
        self.failures = dict(failures)
        """`topic-partition` to the error of its turn."""
        self.retriable = all(getattr(error, "retriable", False) for error in self.failures.values())
        parts = "; ".join(f"{name}: {type(e).__name__}: {e}" for name, e in self.failures.items())
        super().__init__(f"{len(self.failures)} partition(s) failed: {parts}")


class TablesFailed(HeadraceError):
    """Some tables of the catalog could not be brought up to date; raised after the others were."""

    def __init__(self, failures: Mapping[str, Exception]) -> None:
        self.failures = dict(failures)
        """Table of the lake to what went wrong with it."""
        self.retriable = all(getattr(error, "retriable", False) for error in self.failures.values())
        parts = "; ".join(f"{name}: {type(e).__name__}: {e}" for name, e in self.failures.items())
        super().__init__(f"{len(self.failures)} table(s) failed: {parts}")
