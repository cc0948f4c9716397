"""Every clause of the protocol, and how the library looks without it.

`make chaos-guards` takes each away in turn and counts the schedules until a difference is found.
"""

from typing import NamedTuple

from chaos.mutation import Replacement

P = "pipeline"
KEY = "{generation}-{topic}-{partition}-{version}-{number}.parquet"
"""The last part of a final key, as `lake.final_key` has it."""


class Guard(NamedTuple):
    """One clause."""

    name: str
    clause: str
    without: tuple[Replacement, ...]
    why_kept: str = ""
    """Of one that nothing is found without: why it stays all the same."""

    @property
    def needed(self) -> bool:
        """Whether a difference has to be found without it."""
        return not self.why_kept


def guard(name: str, clause: str, *without: tuple[str, str, str], why_kept: str = "") -> Guard:
    """A clause; `without` has the module, its text and what stands in its place."""
    return Guard(name, clause, tuple(Replacement(*each) for each in without), why_kept)


GUARDS = [
    guard(
        "skip-by-offset",
        "3: a record below next_offset is never applied again",
        (
            P,
            "    if offsets[0] >= checkpoint.next_offset and all(map(lt, offsets, offsets[1:])):\n        return records\n",
            "    return records\n",
        ),
    ),
    guard(
        "offsets-once",
        "3: an offset that comes twice in one batch is applied once",
        (P, "            unique.setdefault(record.offset, record)\n", "            unique[len(unique)] = record\n"),
        (P, "and all(map(lt, offsets, offsets[1:])):", "and records:"),
    ),
    guard(
        "re-created-topic",
        "3: an offset below next_offset that is newer than all that was applied stops the partition",
        (P, "elif record.timestamp_ms > checkpoint.max_timestamp_ms:", "elif False:"),
    ),
    guard(
        "first-commit",
        "6: the first commit succeeds only where there is no checkpoint",
        ("dynamodb", 'return {"ConditionExpression": "attribute_not_exists(pk)"}', "return {}"),
    ),
    guard(
        "conditional-commit",
        "6: a commit succeeds only over the version that it was computed from",
        ("dynamodb", "condition = _at_version(expected_version) if expected_version else _absent()", "condition = {}"),
    ),
    guard(
        "consistent-read",
        "1: checkpoints are read strongly consistent",
        ("dynamodb", '{"Keys": keys, "ConsistentRead": True}', '{"Keys": keys, "ConsistentRead": False}'),
    ),
    guard(
        "consistent-scan",
        "1: so are those that the sweeper and the janitor list",
        ("dynamodb", "                    ConsistentRead=True,\n", "                    ConsistentRead=False,\n"),
    ),
    guard(
        "unique-staging",
        "5: every attempt stages under names of its own",
        (
            P,
            'attempt = f"{STAGING}/{self._new_id()}"',
            'attempt = f"{STAGING}/{checkpoint.key}-{checkpoint.version}"',
        ),
    ),
    guard(
        "unique-snapshots",
        "5: a large snapshot has a name of its own",
        (
            P,
            'name = f"{STATE}/{self._new_id()}"',
            'name = f"{STATE}/{checkpoint.key}-{checkpoint.version + 1}"',
        ),
    ),
    guard(
        "stage-before-commit",
        "5 before 6: what a commit names is durable before it",
        (P, "            self._outbox.stage(effects.objects)\n", "            pass\n"),
        (
            P,
            "        self.recover(committed)  # 7\n",
            "        self._outbox.stage(effects.objects)\n        self.recover(committed)  # 7\n",
        ),
    ),
    guard(
        "publish-after-commit",
        "7 after 6: only what is committed is published",
        (
            P,
            "        self._checkpoints.commit(committed, expected_version=checkpoint.version)  # 6: the only commit point\n",
            (
                "        self._outbox.publish(self._entries(committed))\n"
                "        self._checkpoints.commit(committed, expected_version=checkpoint.version)\n"
            ),
        ),
    ),
    guard(
        "recover-in-turn",
        "2: a turn publishes what was committed before it commits",
        (P, "            checkpoint = self.recover(checkpoint)  # 2\n", ""),
    ),
    guard(
        "recover-in-sweeper",
        "2: the sweeper does so before a tick",
        ("sweeper", "            checkpoint = pipeline.recover(checkpoint)", "            pass"),
    ),
    guard(
        "abort-when-recovery-fails",
        "2: when a copy fails, nothing newer is committed",
        (
            P,
            "            return self.recover(self._overtaken(checkpoint, error))\n",
            (
                "            return self.recover(self._overtaken(checkpoint, error))\n"
                "        except Exception:\n"
                "            return checkpoint\n"
            ),
        ),
    ),
    guard(
        "clear-at-that-version",
        "7: an outbox is cleared only at the version that it belongs to",
        (
            "dynamodb",
            (
                '                UpdateExpression="REMOVE outbox, outbox_manifest",\n'
                "                **_at_version(version),\n"
            ),
            '                UpdateExpression="REMOVE outbox, outbox_manifest",\n',
        ),
    ),
    guard(
        "clear-after-every-copy",
        "7: and only after every copy",
        (
            P,
            "        try:\n            self._outbox.publish(self._entries(checkpoint))\n",
            (
                "        entries = self._entries(checkpoint)\n"
                "        self._checkpoints.clear_outbox(checkpoint.key, checkpoint.version)\n"
                "        try:\n"
                "            self._outbox.publish(entries)\n"
            ),
        ),
    ),
    guard(
        "publish-before-skipping",
        "8: a batch that was applied before is answered with success only when it is published",
        (
            P,
            "            checkpoint = self.recover(checkpoint)  # 2\n            fresh = _fresh(records, checkpoint)  # 3\n",
            "            fresh = _fresh(records, checkpoint)\n",
        ),
        (
            P,
            "                logic = self._logic(checkpoint)  # 4\n",
            "                checkpoint = self.recover(checkpoint)\n                logic = self._logic(checkpoint)\n",
        ),
    ),
    guard(
        "publish-after-losing",
        "8: so is one that lost the race as often as it may",
        (
            P,
            "        checkpoint = self.recover(checkpoint)\n        if _fresh(records, checkpoint):",
            "        if _fresh(records, checkpoint):",
        ),
    ),
    guard(
        "fail-the-batch",
        "8: a partition that failed fails the batch",
        (
            P,
            "        if failures:\n            raise PartitionsFailed",
            "        if False:\n            raise PartitionsFailed",
        ),
    ),
    guard(
        "conflict-is-no-success",
        "6: after a failed condition, the newer checkpoint decides what is left to apply",
        (
            P,
            "                checkpoint = self._overtaken(checkpoint, error)\n",
            "                return Counter(skipped=len(records))\n",
        ),
    ),
    guard(
        "nothing-staged-is-deleted",
        "5: a turn deletes nothing that it staged, whatever becomes of its commit",
        (
            P,
            "        self._checkpoints.commit(committed, expected_version=checkpoint.version)  # 6: the only commit point\n",
            (
                "        try:\n"
                "            self._checkpoints.commit(committed, expected_version=checkpoint.version)\n"
                "        except Exception:\n"
                "            self._outbox.delete(list(effects.objects))\n"
                "            raise\n"
            ),
        ),
    ),
    guard(
        "snapshots-do-not-expire",
        "5: snapshots are outside of the prefix that expires",
        ("outbox", 'STATE = "state"', 'STATE = "staging/state"'),
    ),
    guard(
        "never-start-empty",
        "4: a snapshot that is gone is never taken for an empty one",
        (
            P,
            "        contents = self._outbox.load(names) if names else []\n",
            (
                "        try:\n"
                "            contents = self._outbox.load(names) if names else []\n"
                "        except ObjectMissing:\n"
                "            return []\n"
            ),
        ),
    ),
    guard(
        "warm-at-that-version",
        "4: state in memory is used at exactly the checkpoint that it was committed with",
        ("warm", "return logic if committed.published() == checkpoint.published() else None", "return logic"),
    ),
    guard(
        "warm-until-it-changes",
        "4: and is not kept while a turn changes it: its commit may fail",
        ("warm", "self._kept.pop(checkpoint.key, (None, None))", "self._kept.get(checkpoint.key, (None, None))"),
    ),
    guard(
        "delta-joins-the-chain",
        "6: a commit with a delta names all of the chain before it, and the delta",
        (P, "else (*checkpoint.state_keys, name)", "else checkpoint.state_keys"),
    ),
    guard(
        "delta-needs-a-base",
        "5: a delta comes after an object, never after a snapshot inside of the checkpoint",
        (P, "may_extend=0 < len(checkpoint.state_keys) <=", "may_extend=len(checkpoint.state_keys) <="),
    ),
    guard(
        "deltas-in-order",
        "4: a chain is read from its base on, delta after delta",
        ("topology", "for parts in saved if (part", "for parts in [*saved[:1], *saved[:0:-1]] if (part"),
    ),
    guard(
        "merged-rows-are-gone",
        "5: a delta says what became part of something else",
        ("state", "gone = [row for row in self._gone if not self._alive[row]]", "gone: list[int] = []"),
    ),
    guard(
        "chain-is-bounded",
        "5: after so many deltas comes a base",
        (P, "may_extend=0 < len(checkpoint.state_keys) <= self._max_deltas", "may_extend=bool(checkpoint.state_keys)"),
    ),
    guard(
        "old-chain-stays",
        "5: a base deletes nothing of the chain before it: its commit may fail",
        (
            P,
            "        effects.objects[name] = content\n",
            (
                "        effects.objects[name] = content\n"
                "        if saved.is_base:\n"
                "            self._outbox.delete(checkpoint.state_keys)\n"
            ),
        ),
    ),
    guard(
        "gone-means-overtaken",
        "2: a staged object that is gone is looked up again before anybody is called: somebody faster published it",
        (
            P,
            "            return self.recover(self._overtaken(checkpoint, error))\n",
            "            raise\n",
        ),
    ),
    guard(
        "operators-unchanged",
        "4: windows that other operators opened are left alone",
        (P, "if chain and checkpoint.fingerprint != topology.fingerprint():", "if False:"),
    ),
    guard(
        "gaps-are-counted",
        "6: offsets that are missing are in the books",
        (P, "gaps=gaps)", "gaps=0)"),
    ),
    guard(
        "version-in-key",
        "7: the commit's version is in a final key",
        ("lake", KEY, KEY.replace("{version}", "0")),
    ),
    guard(
        "generation-in-key",
        "7: so is the generation",
        ("lake", KEY, KEY.replace("{generation}", "1")),
    ),
    guard(
        "partition-in-key",
        "7: and the partition",
        ("lake", KEY, KEY.replace("{partition}", "0")),
    ),
    guard(
        "number-in-key",
        "7: and the number of the output",
        ("lake", KEY, KEY.replace("{number}", "0")),
    ),
    guard(
        "nothing-is-overwritten",
        "7: an object at a final key with other bytes is left alone, and told",
        (
            "outbox",
            "        elif self._get(entry.final_key) != data:\n            raise ObjectConflict(entry.staged_key, entry.final_key)\n",
            "        else:\n            self._put({entry.final_key: data})\n",
        ),
        why_kept="no schedule of one deployment writes a final key twice; two deployments on one lake do, or a"
        " checkpoint that was put back (tests/unit/headrace/test_bad_input.py)",
    ),
    guard(
        "per-record-watermark",
        "4: the watermark advances by the record, not by the batch",
        (
            "watermark",
            "accumulate(times_ms, max, initial=watermark_ms + out_of_orderness_ms)\n",
            "[watermark_ms + out_of_orderness_ms] * len(times_ms) + [max([watermark_ms + out_of_orderness_ms, *times_ms])]\n",
        ),
    ),
    guard(
        "watermark-is-kept",
        "4: and it is part of the checkpoint",
        (P, "            watermark_ms=logic.watermark_ms,\n", "            watermark_ms=None,\n"),
    ),
    guard(
        "tick-moves-the-watermark",
        "a tick moves the watermark",
        (
            P,
            "            watermark_ms=logic.watermark_ms,\n",
            "            watermark_ms=logic.watermark_ms if fresh else checkpoint.watermark_ms,\n",
        ),
    ),
    guard(
        "tick-without-backlog",
        "a tick comes only when nothing is left to read",
        ("sweeper", "return not self._log.has_backlog(place, checkpoint.next_offset)", "return True"),
    ),
    guard(
        "tick-by-the-commits-clock",
        "a partition's silence is measured by its checkpoint's clock, not by its records'",
        (
            "sweeper",
            "silence_ms = now_ms - checkpoint.committed_at_ms\n",
            "silence_ms = now_ms - checkpoint.max_timestamp_ms\n",
        ),
    ),
    guard(
        "tick-is-a-version",
        "a tick has a version of its own",
        (
            P,
            "            version=checkpoint.version + 1,\n            next_offset",
            "            version=checkpoint.version + bool(fresh),\n            next_offset",
        ),
    ),
    guard(
        "old-generations-end",
        "the sweeper finishes the generations before, whatever the topic still gets",
        ("sweeper", "if self._is_abandoned(checkpoint):", "if False:"),
    ),
    guard(
        "tables-tick-first",
        "a tick closes tables; what waits for silence is closed by another, when no table is open",
        (
            "topology",
            "return self._open_until_ms(waits=True) if until_ms is None else until_ms\n",
            "return max((m for m in (until_ms, self._open_until_ms(waits=True)) if m is not None), default=None)\n",
        ),
    ),
    guard(
        "end-is-no-silence",
        "a final tick tells nothing of what waits for silence, whatever a tick before it has closed",
        ("topology", "if not final or self._open_until_ms(waits=False) is not None:", "if True:"),
    ),
    guard(
        "alert-when-it-begins",
        "4: a window is an alert only if its last pane is the first one to break the rule",
        (
            "alerts",
            "verdict is not None and not any(rule.judge(panes[:end]) for end in range(1, len(panes))):",
            "verdict:",
        ),
    ),
    guard(
        "alert-on-time",
        "4: what comes when its pane was judged counts in no alert",
        (
            "alerts",
            "if not self._closed_by(watermark_ms, windows):",
            "if self._closed_by(watermark_ms, windows) < len(windows):",
        ),
    ),
    guard(
        "alert-id-of-its-own",
        "4: two alerts never have one id",
        ("alerts", "*([] if alert.offset is None else [alert.offset])", ""),
    ),
    guard(
        "janitor-age",
        "the janitor leaves alone what is younger than a day: it may be about to be committed",
        ("janitor", "older_than_ms = now_ms - DAY_MS", "older_than_ms = now_ms + DAY_MS"),
    ),
    guard(
        "janitor-lists-first",
        "the janitor lists the objects, then reads the checkpoints",
        (
            "janitor",
            "    older_than_ms = now_ms - DAY_MS\n",
            (
                "    try:\n"
                "        named_before = _all_named(checkpoints, application, outbox)\n"
                "    except ObjectMissing:\n"
                "        named_before = _all_named(checkpoints, application, outbox)\n"
                "    older_than_ms = now_ms - DAY_MS\n"
            ),
        ),
        (
            "janitor",
            "        named = _all_named(checkpoints, application, outbox)\n    except",
            "        named = named_before\n    except",
        ),
        why_kept="a day of age protects what is under way as long as clocks agree and invocations end; this does not"
        " depend on clocks",
    ),
    guard(
        "janitor-looks-again",
        "a manifest that is gone is looked up again before anybody is called",
        (
            "janitor",
            "it now.\n        named = _all_named(checkpoints, application, outbox)\n",
            "it now.\n        raise\n",
        ),
    ),
    guard(
        "janitor-spares-outboxes",
        "the janitor spares what an outbox names",
        ("janitor", "    keys = [entry.staged_key for entry in checkpoint.outbox]\n", "    keys = []\n"),
    ),
    guard(
        "janitor-spares-snapshots",
        "and snapshots",
        ("janitor", "    keys += checkpoint.state_keys\n", ""),
    ),
    guard(
        "janitor-spares-deltas",
        "all of a chain, not only its base",
        ("janitor", "    keys += checkpoint.state_keys\n", "    keys += checkpoint.state_keys[:1]\n"),
    ),
    guard(
        "janitor-spares-manifests",
        "and manifests, and what they list",
        (
            "janitor",
            (
                "        keys.append(checkpoint.outbox_manifest)\n"
                "        keys += [entry.staged_key for entry in read_manifest(outbox, checkpoint.outbox_manifest)]\n"
            ),
            "        pass\n",
        ),
    ),
]

BY_NAME = {guard.name: guard for guard in GUARDS}
