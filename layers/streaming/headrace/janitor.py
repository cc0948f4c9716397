"""Removes staged objects and snapshots that no checkpoint names: leftovers of attempts that lost or died.

List first, then read the checkpoints: an object that a checkpoint comes to name after the listing is either younger
than the age limit, and so not on the list, or named already.
"""

from itertools import chain

from headrace.checkpoint import Checkpoint, CheckpointCatalog
from headrace.errors import ObjectMissing
from headrace.outbox import STAGING, STATE, ObjectCatalog, Outbox, read_manifest

DAY_MS = 86_400_000
"""No invocation lives that long, so nothing this old can still be about to be committed."""
PAGE = 1000
"""Keys per deletion: S3's limit for one request."""


def clean(
    objects: ObjectCatalog, outbox: Outbox, checkpoints: CheckpointCatalog, *, application: str, now_ms: int
) -> int:
    """Delete what is older than a day and named by no checkpoint of the application; how many objects that were.

    The store belongs to one application: another one's objects would look like leftovers. Nothing is deleted when a
    checkpoint, or a manifest that one names, cannot be read: nobody knows what it names.

    Raises:
        CheckpointCorrupt, ObjectMissing: that is so.
    """
    older_than_ms = now_ms - DAY_MS
    old = list(chain.from_iterable(objects.keys(f"{p}/", older_than_ms=older_than_ms) for p in (STAGING, STATE)))
    if not old:
        return 0
    try:
        named = _all_named(checkpoints, application, outbox)
    except ObjectMissing:
        # Published and swept away by somebody else while this was reading? Then no checkpoint names it now.
        named = _all_named(checkpoints, application, outbox)
    leftovers = [key for key in old if key not in named]
    for start in range(0, len(leftovers), PAGE):
        objects.delete(leftovers[start : start + PAGE])
    return len(leftovers)


def _all_named(checkpoints: CheckpointCatalog, application: str, outbox: Outbox) -> set[str]:
    return {key for checkpoint in checkpoints.checkpoints(application) for key in _named(checkpoint, outbox)}


def _named(checkpoint: Checkpoint, outbox: Outbox) -> list[str]:
    keys = [entry.staged_key for entry in checkpoint.outbox]
    keys += checkpoint.state_keys
    if checkpoint.outbox_manifest:
        keys.append(checkpoint.outbox_manifest)
        keys += [entry.staged_key for entry in read_manifest(outbox, checkpoint.outbox_manifest)]
    return keys
