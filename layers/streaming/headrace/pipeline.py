"""One partition's turn: the only place that knows the order of effects.

    1 load ─ 2 recover ─ 3 skip ─ 4 state, apply ─ 5 stage ─ 6 COMMIT ─ 7 publish ─ 8 answer

Results are exact whatever is repeated, re-cut, delivered twice at once or killed half way, because

- a record below the checkpoint's `next_offset` is never applied again (3);
- every attempt stages under names of its own (5), and only one attempt per version can commit (6);
- what was committed and not published is published before anything newer is committed (2), from immutable staged
  objects to names that belong to that version alone (7);
- success is answered only for what is published (8). The mapping's answer is all or nothing: naming single records
  as failed would lose or reorder others, so a failed partition fails the batch and what was applied is skipped when
  it comes again.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import lt
from typing import Any, Literal

import msgspec

from headrace import event, lake, ledger
from headrace.checkpoint import Checkpoint, CheckpointKey, CheckpointStore, OutboxEntry
from headrace.checksum import opened, sealed
from headrace.errors import (
    CheckpointCorrupt,
    CommitConflict,
    FingerprintChanged,
    ObjectMissing,
    OffsetGap,
    PartitionsFailed,
    TopicRecreated,
)
from headrace.outbox import STAGING, STATE, Outbox, read_manifest
from headrace.records import Record, TopicPartition
from headrace.topology import Logic, Topology
from headrace.warm import WarmStates

INLINE_STATE_BYTES = 4096
"""Snapshots up to this size live in the checkpoint. DynamoDB bills a commit and its clear by the KB, S3 bills a
snapshot by the request: about here the two cost the same."""
INLINE_OUTBOX_ENTRIES = 100
"""More outputs than this are listed in a staged manifest: a DynamoDB item ends at 400 KB."""
COMMIT_ATTEMPTS = 2
"""A turn that lost the race tries once more from the start, then leaves it to the mapping's retry."""

MAX_DELTAS = 50
"""Each costs whoever loads the chain a request, and the checkpoint 40 bytes; a base costs all that is open."""

Totals = Counter[str]
"""What a turn or a batch did: `applied`, `dead`, `late`, `skipped`, `gaps`, `conflicts`, `ticks`, and what it wrote:
`files` and `rows`, and per table `files.TABLE` and `rows.TABLE`."""

GapPolicy = Literal["allow", "forbid"]
"""Whether offsets may be missing: `forbid` makes one that is skipped over an error, `allow` counts it."""


class Pipeline:
    """Applies batches of records to one pipeline's checkpoints and lake."""

    def __init__(
        self,
        name: str,
        topology_of: Callable[[str], Topology],
        checkpoints: CheckpointStore,
        outbox: Outbox,
        *,
        application: str = "headrace",
        generation: str = "1",
        gaps: GapPolicy | Mapping[str, GapPolicy] = "allow",
        inline_state_bytes: int = INLINE_STATE_BYTES,
        inline_outbox_entries: int = INLINE_OUTBOX_ENTRIES,
        max_deltas: int = MAX_DELTAS,
        warm_rows: int = 0,
        on_commit: Callable[[Sequence[lake.Rows]], None] | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        """Wire the pipeline.

        Args:
            name: of the pipeline: part of the checkpoints' identity and of the lake's folders.
            topology_of: what to compute from a topic.
            checkpoints: where progress is committed.
            outbox: where outputs are staged and published.
            application: of the deployment: part of the checkpoints' identity.
            generation: a new one starts from nothing, beside the old one's results.
            gaps: for all topics, or by topic; topics that are not named allow them.
            inline_state_bytes: a larger snapshot is an object of its own.
            inline_outbox_entries: more outputs are listed in a staged manifest.
            max_deltas: after so many the state is written as a whole again.
            warm_rows: how many rows of state, of all partitions together, may stay in memory from turn to turn.
            on_commit: is shown the rows that a commit made final, by the attempt that committed them: never twice, and
                not at all if that dies there. What depends on every row reads the lake.
            clock_ms: wall clock, epoch milliseconds; only idleness is measured by it.
            new_id: a name that no other attempt ever has.
        """
        self.name = name
        self._topology_of = topology_of
        self._checkpoints = checkpoints
        self._outbox = outbox
        self._application, self._generation = application, generation
        self._gaps = gaps
        self._inline_state_bytes = inline_state_bytes
        self._inline_outbox_entries = inline_outbox_entries
        self._max_deltas = max_deltas
        self._warm = WarmStates(warm_rows)
        self._on_commit = on_commit
        self._clock_ms = clock_ms
        self._new_id = new_id

    def handle(self, lambda_event: Mapping[str, Any] | bytes) -> Totals:
        """Process one Lambda event.

        Raises:
            EventError: it is not a Kafka event.
            InfrastructureError: the checkpoints cannot be loaded.
            PartitionsFailed: some partitions failed, after the others were finished: the batch must come again.
        """
        partitions = event.decode(lambda_event)
        keys = {place: self._key(place) for place in partitions}
        loaded = self._loaded(list(keys.values()))  # 1
        totals: Totals = Counter()
        failures: dict[str, Exception] = {}
        for place, records in partitions.items():
            try:
                totals += self._turns(keys[place], records, loaded(keys[place]))
            except Exception as error:  # noqa: BLE001 - one partition must not stop the others; raised below
                failures[str(place)] = error
        if failures:
            raise PartitionsFailed(failures) from next(iter(failures.values()))
        return totals

    def _loaded(self, keys: Sequence[CheckpointKey]) -> Callable[[CheckpointKey], Checkpoint | None]:
        """For all partitions together; if one cannot be read, each in its turn, so that it fails alone."""
        try:
            return self._checkpoints.load(keys).get
        except CheckpointCorrupt:
            return lambda key: self._checkpoints.load([key]).get(key)

    def recover(self, checkpoint: Checkpoint) -> Checkpoint:
        """Publish what was committed and not published; the checkpoint without its outbox.

        Raises:
            ObjectMissing: a staged object is gone: a person has to look, it is never skipped.
            ObjectConflict: other bytes lie at a final key, likewise.
            InfrastructureError: not everything could be copied; nothing newer may be committed.
        """
        if not checkpoint.pending:
            return checkpoint
        try:
            self._outbox.publish(self._entries(checkpoint))
        except ObjectMissing as error:
            # Somebody faster may have published it, and the janitor removed what nobody names any more.
            return self.recover(self._overtaken(checkpoint, error))
        # Only after every copy, and only at this version: a newer commit has an outbox of its own.
        self._checkpoints.clear_outbox(checkpoint.key, checkpoint.version)
        return checkpoint.published()

    def tick(self, checkpoint: Checkpoint, *, final: bool = False) -> Totals:
        """Close the open windows of a partition that is idle; what that did, nothing if none was open.

        Args:
            checkpoint: as `recover` answered it: a commit must not replace an outbox that is not published.
            final: nobody reads any more; see `Logic.tick`.

        Raises:
            CommitConflict: the partition is not idle after all: somebody committed meanwhile.
        """
        try:
            logic = self._logic(checkpoint)
        except ObjectMissing as error:
            newer = self._overtaken(checkpoint, error)
            raise CommitConflict(f"{checkpoint.key} was committed meanwhile, as version {newer.version}") from error
        if not logic.tick(final=final):
            return Counter()
        return self._commit_and_publish(checkpoint, logic, (), Counter(ticks=1))

    def _turns(self, key: CheckpointKey, records: Sequence[Record], loaded: Checkpoint | None) -> Totals:
        """One turn; more, each from 1 on, if the records are of more buckets than one commit may write."""
        totals, rest = self._turn(key, records, loaded)
        while rest:
            done, rest = self._turn(key, rest, self._checkpoints.load([key]).get(key))
            totals += done
        return totals

    def _turn(
        self, key: CheckpointKey, records: Sequence[Record], loaded: Checkpoint | None
    ) -> tuple[Totals, Sequence[Record]]:
        """What was done, and the records that are left for another turn."""
        checkpoint = loaded or _origin(key, records[0].offset)
        for conflicts in range(COMMIT_ATTEMPTS):
            checkpoint = self.recover(checkpoint)  # 2
            fresh = _fresh(records, checkpoint)  # 3
            if not fresh:
                return Counter(skipped=len(records), conflicts=conflicts), ()
            try:
                logic = self._logic(checkpoint)  # 4
                taken = fresh[: logic.apply(fresh)]
                facts = self._facts(checkpoint, taken, logic)
                done = self._commit_and_publish(checkpoint, logic, taken, facts)  # 5, 6, 7
            except (CommitConflict, ObjectMissing) as error:
                checkpoint = self._overtaken(checkpoint, error)
            else:
                done += Counter(skipped=len(records) - len(fresh), conflicts=conflicts)
                return done, fresh[len(taken) :]  # 8
        return self._lost(records, checkpoint), ()

    def _overtaken(self, seen: Checkpoint, error: Exception) -> Checkpoint:
        """The checkpoint that overtook this one: a newer version, or the same one published.

        An object that is gone means that there is one; where there is none, the error stands: state never starts
        empty, an output is never skipped. A conflict may be with our own write whose answer got lost: the newer
        checkpoint tells.
        """
        stored = self._checkpoints.load([seen.key]).get(seen.key)
        if stored is None or (stored.version, not stored.pending) <= (seen.version, not seen.pending):
            raise error
        return stored

    def _lost(self, records: Sequence[Record], checkpoint: Checkpoint) -> Totals:
        """Success all the same if whoever was faster applied everything of ours; else the batch must come again."""
        checkpoint = self.recover(checkpoint)
        if _fresh(records, checkpoint):
            raise CommitConflict(f"{checkpoint.key} was committed by others {COMMIT_ATTEMPTS} times during this turn")
        return Counter(skipped=len(records), conflicts=COMMIT_ATTEMPTS)

    def _logic(self, checkpoint: Checkpoint) -> Logic:
        key = checkpoint.key
        topology = self._topology_of(key.topic)
        warm = self._warm.take(checkpoint, topology)
        if warm is not None:
            return warm
        chain = self._chain(checkpoint)
        if chain and checkpoint.fingerprint != topology.fingerprint():
            raise FingerprintChanged(
                f"{key}: the operators ({topology.fingerprint()}) are not those that made its open windows "
                f"({checkpoint.fingerprint}): undo the change, or deploy it with a new generation "
                "(`headrace generation new`)"
            )
        return topology.build(TopicPartition(key.topic, key.partition), checkpoint.watermark_ms, chain)

    def _chain(self, checkpoint: Checkpoint) -> list[bytes]:
        """What was saved of the state: a base and its deltas."""
        what = f"of {checkpoint.key}"
        if checkpoint.state is not None:
            return [opened(checkpoint.state, f"the snapshot {what}")]
        names = checkpoint.state_keys
        contents = self._outbox.load(names) if names else []
        return [opened(content, f"the snapshot {name} {what}") for name, content in zip(names, contents, strict=True)]

    def _facts(self, checkpoint: Checkpoint, fresh: Sequence[Record], logic: Logic) -> Totals:
        """What this turn adds to the books, apart from what it writes."""
        gaps = fresh[-1].offset + 1 - checkpoint.next_offset - len(fresh)
        if gaps and self._forbids_gaps(checkpoint.key.topic):
            raise OffsetGap(
                f"{checkpoint.key}: {gaps} offset(s) missing from {checkpoint.next_offset} to {fresh[-1].offset}, and "
                "this topic's setting forbids gaps: records that expired unread are lost to this pipeline; allow gaps "
                "for the topic to go on without them, or because it is compacted, transactional or filtered"
            )
        return Counter(applied=logic.applied, dead=logic.dead, late=logic.late, gaps=gaps)

    def _forbids_gaps(self, topic: str) -> bool:
        return (self._gaps if isinstance(self._gaps, str) else self._gaps.get(topic)) == "forbid"

    def _commit_and_publish(
        self, checkpoint: Checkpoint, logic: Logic, fresh: Sequence[Record], facts: Totals
    ) -> Totals:
        next_offset = fresh[-1].offset + 1 if fresh else checkpoint.next_offset
        effects = self._effects(checkpoint, logic, next_offset, facts)
        if effects.objects:
            # 5: immutable from here on. A turn never deletes them, whatever becomes of its commit.
            self._outbox.stage(effects.objects)
        committed = msgspec.structs.replace(
            checkpoint,
            version=checkpoint.version + 1,
            next_offset=next_offset,
            committed_at_ms=max(checkpoint.committed_at_ms, self._clock_ms()),
            max_timestamp_ms=max([checkpoint.max_timestamp_ms, *[record.timestamp_ms for record in fresh]]),
            fingerprint=logic.fingerprint,
            watermark_ms=logic.watermark_ms,
            open_until_ms=logic.open_until_ms,
            state=effects.state,
            state_keys=effects.state_keys,
            outbox=effects.outbox,
            outbox_manifest=effects.manifest,
            totals=dict(effects.booked.totals),
        )
        self._checkpoints.commit(committed, expected_version=checkpoint.version)  # 6: the only commit point
        if self._on_commit is not None:
            self._on_commit(logic.rows)
        logic.committed()
        self._warm.keep(committed, logic)
        self.recover(committed)  # 7
        return Counter(effects.booked.added)

    def _effects(self, checkpoint: Checkpoint, logic: Logic, next_offset: int, facts: Totals) -> "_Effects":
        parts = [part for rows in logic.rows for part in lake.split(rows)]
        files = [(part.table, part.rows) for part in parts]
        booked = _booked(checkpoint, next_offset, facts + ledger.written(files))
        effects = _Effects(booked)
        self._save(checkpoint, logic, effects)
        attempt = f"{STAGING}/{self._new_id()}"
        entries = []
        for part, page in zip(parts, ledger.pages(booked, files), strict=True):
            file = lake.encode(part, page.metadata())
            entry = OutboxEntry(f"{attempt}/{page.number}", self._final_key(checkpoint, page.number, file))
            entries.append(entry)
            effects.objects[entry.staged_key] = file.content
        if len(entries) > self._inline_outbox_entries:
            effects.manifest = f"{attempt}/manifest"
            effects.objects[effects.manifest] = sealed(msgspec.json.encode(entries))
        else:
            effects.outbox = tuple(entries)
        return effects

    def _save(self, checkpoint: Checkpoint, logic: Logic, effects: "_Effects") -> None:
        """The state, as a whole or as a delta after the chain that the checkpoint names."""
        saved = logic.save(may_extend=0 < len(checkpoint.state_keys) <= self._max_deltas)
        if saved is None:
            return
        content = sealed(saved.content)
        if saved.is_base and len(content) <= self._inline_state_bytes:
            effects.state = content
            return
        name = f"{STATE}/{self._new_id()}"
        effects.objects[name] = content
        effects.state_keys = (name,) if saved.is_base else (*checkpoint.state_keys, name)

    def _entries(self, checkpoint: Checkpoint) -> Sequence[OutboxEntry]:
        if checkpoint.outbox_manifest is None:
            return checkpoint.outbox
        return read_manifest(self._outbox, checkpoint.outbox_manifest)

    def _final_key(self, checkpoint: Checkpoint, number: int, file: lake.LakeFile) -> str:
        key = checkpoint.key
        return lake.final_key(
            file,
            pipeline=key.pipeline,
            generation=key.generation,
            topic=key.topic,
            partition=key.partition,
            version=checkpoint.version + 1,
            number=number,
        )

    def _key(self, place: TopicPartition) -> CheckpointKey:
        return CheckpointKey(self._application, self.name, self._generation, place.topic, place.partition)


class _Effects(msgspec.Struct):
    """What a commit is about to make true."""

    booked: ledger.Commit
    state: bytes | None = None
    state_keys: tuple[str, ...] = ()
    outbox: tuple[OutboxEntry, ...] = ()
    manifest: str | None = None
    objects: dict[str, bytes] = msgspec.field(default_factory=dict)


def _origin(key: CheckpointKey, offset: int) -> Checkpoint:
    """The checkpoint before the first commit: version 0, which no store holds."""
    return Checkpoint(
        key, 0, base_offset=offset, next_offset=offset, committed_at_ms=0, max_timestamp_ms=-1, fingerprint=""
    )


def _booked(checkpoint: Checkpoint, next_offset: int, added: Totals) -> ledger.Commit:
    """The next commit's line in the books."""
    return ledger.Commit(
        *checkpoint.key[1:],
        version=checkpoint.version + 1,
        first_offset=checkpoint.next_offset,
        next_offset=next_offset,
        added=dict(added),
        totals=dict(Counter(checkpoint.totals) + added),
    )


def _fresh(records: Sequence[Record], checkpoint: Checkpoint) -> Sequence[Record]:
    """The records not applied yet, each offset once.

    Raises:
        TopicRecreated: an offset below the checkpoint's is newer than everything applied.
    """
    offsets = [record.offset for record in records]
    if offsets[0] >= checkpoint.next_offset and all(map(lt, offsets, offsets[1:])):
        return records
    unique: dict[int, Record] = {}
    for record in records:
        if record.offset >= checkpoint.next_offset:
            unique.setdefault(record.offset, record)
        elif record.timestamp_ms > checkpoint.max_timestamp_ms:
            raise TopicRecreated(
                f"{checkpoint.key}: offset {record.offset} is below {checkpoint.next_offset} but newer than all that "
                "was applied: the topic was deleted and made again. Nothing is skipped; begin again with "
                "`headrace generation new`"
            )
    return list(unique.values())
