"""The audit's order: checkpoints, files, the checkpoints of whatever is newer; then partition by partition.

A running deployment may be audited: what a checkpoint has counted was published before the files are listed, or waits
in its outbox; what is newer must be known to the checkpoint as it is after that.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from headrace.checkpoint import Checkpoint, CheckpointKey, OutboxEntry
from headrace.errors import CheckpointCorrupt, ConfigurationError, ObjectMissing
from headrace.outbox import Outbox, read_manifest
from headrace.records import TopicPartition
from headrace_cli.errors import OptionError
from headrace_cli.ledger import log_ends
from headrace_cli.ledger.collection import Collection, Findings
from headrace_cli.ledger.comparison import Comparison
from headrace_cli.ledger.finding import Finding, PartitionReport, Place, Report
from headrace_cli.ledger.lake_files import LakeEntry, LakeObjects, WithStaged, entries, read_entry
from headrace_cli.stores import Checkpoints

Watch = Callable[[Iterator[LakeEntry], int], Iterator[LakeEntry]]
"""Passes the files on and shows how many of about so many there were."""


class Objects(LakeObjects, Outbox, Protocol):
    """The lake and the staged objects beside it."""


class Log(Protocol):
    """Kafka's own log."""

    def partitions(self, topic: str) -> list[int]:
        """The topic's partitions."""
        ...

    def ends(self, topic_partition: TopicPartition) -> tuple[int, int]:
        """The first offset that it has, and the next one that it gives."""
        ...


class Scope(NamedTuple):
    """What is audited."""

    application: str
    pipelines: frozenset[str] = frozenset()
    """Empty: all."""
    topics: frozenset[str] = frozenset()
    """Empty: all."""

    def has(self, pipeline: str, topic: str) -> bool:
        """Whether it is to be looked at."""
        return (not self.pipelines or pipeline in self.pipelines) and (not self.topics or topic in self.topics)

    @property
    def whole(self) -> bool:
        """Whether nothing is left out: only then is a file of a name that no table has anybody's business."""
        return not self.pipelines and not self.topics


def audit(objects: Objects, checkpoints: Checkpoints, scope: Scope, log: Log | None, watch: Watch) -> Report:
    """Compare the books with the lake, and with Kafka's log if there is one.

    Raises:
        OptionError: the application has no checkpoint of something that was asked for.
        CheckpointCorrupt: one cannot be read.
        InfrastructureError: a store or Kafka failed.
    """
    books = _books(checkpoints, scope)
    findings, report = Findings(), {place: PartitionReport.of(checkpoint) for place, checkpoint in books.items()}
    collection = Collection({place: checkpoint.version for place, checkpoint in books.items()}, findings)
    waiting = {
        place: _outbox(objects, checkpoint, findings) for place, checkpoint in books.items() if checkpoint.pending
    }
    unseen = {entry.final_key: entry.staged_key for outputs in waiting.values() for entry in outputs}
    expected = sum(checkpoint.totals.get("files", 0) for checkpoint in books.values())
    for entry in watch(_in_scope(objects, scope), expected):
        unseen.pop(entry.key, None)
        collection.add(entry)
    to_be = WithStaged(objects, unseen)
    for waiting_entry in (read_entry(to_be, key) for key in unseen):
        if waiting_entry is not None:
            collection.add(waiting_entry)
    for place, outputs in waiting.items():
        report[place].unpublished = sum(entry.final_key in unseen for entry in outputs)
    _judge_newer(checkpoints, scope.application, collection, findings)
    for place, checkpoint in books.items():
        Comparison(to_be, collection, place, checkpoint, findings).compare()
    notes = _compare_logs(books, log, report, findings) if log else []
    for place, line in report.items():
        line.findings = findings.by_place[place]
    return Report(list(report.values()), findings.kept, findings.by_place.total(), collection.files, notes)


def _books(checkpoints: Checkpoints, scope: Scope) -> dict[Place, Checkpoint]:
    everything = list(checkpoints.checkpoints(scope.application))
    found = [c for c in everything if scope.has(c.key.pipeline, c.key.topic)]
    unknown = scope.pipelines - {c.key.pipeline for c in everything} | scope.topics - {c.key.topic for c in everything}
    if unknown or not found:
        asked = ", ".join(sorted(unknown or scope.pipelines | scope.topics))
        raise OptionError(
            f"application {scope.application!r} has no checkpoints{f' of {asked}' if asked else ''} here"
            " (--application, --checkpoints, --pipeline and --topic say which)"
        )
    return {Place(*checkpoint.key[1:]): checkpoint for checkpoint in sorted(found, key=lambda c: c.key)}


def _outbox(objects: Objects, checkpoint: Checkpoint, findings: Findings) -> Sequence[OutboxEntry]:
    if checkpoint.outbox_manifest is None:
        return checkpoint.outbox
    try:
        return read_manifest(objects, checkpoint.outbox_manifest)
    except (ObjectMissing, CheckpointCorrupt) as error:
        what = f"the list of its unpublished files cannot be read: {error}"
        findings.add(Finding(kind="damaged", place=Place(*checkpoint.key[1:]), what=what))
        return ()


def _in_scope(objects: LakeObjects, scope: Scope) -> Iterator[LakeEntry]:
    for entry in entries(objects, scope.pipelines or None):
        name = entry.name
        if scope.whole if name is None else scope.has(name.pipeline, name.topic):
            yield entry


def _judge_newer(checkpoints: Checkpoints, application: str, collection: Collection, findings: Findings) -> None:
    """A file newer than its checkpoint was made while the audit ran, or nobody made it."""
    keys = {CheckpointKey(application, *place): place for place in collection.newer}
    now = checkpoints.load(list(keys))
    for key, place in keys.items():
        newest, known = collection.newer[place], now.get(key)
        if known is None or newest.version > known.version:
            what = "a file of a partition without a checkpoint" if known is None else "a file newer than the checkpoint"
            version = (newest.version, newest.version)
            findings.add(Finding(kind="unknown", place=place, what=what, versions=version, key=newest.key))


def _compare_logs(
    books: dict[Place, Checkpoint], log: Log, report: dict[Place, PartitionReport], findings: Findings
) -> list[str]:
    """Add what contradicts the log; what was not compared or not begun is noted."""
    old = log_ends.superseded(list(books.values()))
    for place, checkpoint in books.items():
        if place in old:
            continue
        try:
            low, high = log.ends(TopicPartition(place.topic, place.partition))
        except ConfigurationError as error:
            findings.add(Finding(kind="log", place=place, what=str(error)))
            continue
        report[place].log, finding = log_ends.compare(checkpoint, low, high)
        if finding:
            findings.add(finding)
    notes = [f"{place}: not compared with the log, generation {now} reads it" for place, now in old.items()]
    return notes + list(_not_begun({place for place in books if place not in old}, log))


def _not_begun(places: set[Place], log: Log) -> Iterator[str]:
    """Partitions with records of which none was applied: they have no checkpoint."""
    for whole in sorted({place._replace(partition=-1) for place in places}):
        for place in (whole._replace(partition=partition) for partition in log.partitions(whole.topic)):
            if place in places:
                continue
            low, high = log.ends(TopicPartition(place.topic, place.partition))
            if high > low:
                yield f"{place}: nothing applied yet, {high - low:,} offsets are left to read"
