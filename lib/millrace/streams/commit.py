"""A batch's outcomes, each into the bucket exactly once, and made known.

An invocation writes all its outcomes of a kind as one object under a key that no other invocation ever
uses. The steps, and what a worker that dies after each of them leaves behind:

1. *Claim*: the ledger gives each identity to this object, if it has none. (Claims on an object that is not
   there.)
2. *Write* the object, only if absent: its outcomes are committed from now on. (An object that is not
   published.)
3. *Publish*: put its outcomes on the output stream, or count its rows for the next training, and note in
   the ledger that this is done.

Whoever meets an identity that belongs to another object, a replay or a producer's duplicate, looks at that
object. If it is published, there is nothing to do. Else an empty object is put in its place, only if absent.
That succeeds when step 2 had not come to pass, and never can any more: the identity moves to the object at
hand. It fails when step 2 had, and then the outcomes that stand there are published, all of them.

So an identity stands in exactly one object that is not empty. On the output stream it stands at least
once, and more often only if a worker died within step 3, or another met the object while it was published;
the repeated record is the same to the byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from millrace import keys
from millrace.contracts import ObjectStore
from millrace.errors import Conflict, TransientError
from millrace.fanout.ports import DescriptorStream
from millrace.streams.outcome import Outcome
from millrace.streams.ports import Batch, Ledger

__all__ = ["Committed", "Publish", "commit", "lines_of", "publisher"]

Publish = Callable[[str, Sequence[bytes]], None]
"""Makes the lines of the object of that key known, and has the ledger note it; harmless when repeated."""

MAX_RECORD_BYTES = 1 << 20
"""Data and partition key of a stream's record (Kinesis developer guide, "Quotas and limits")."""
_AT_ONCE = 16


class Committed(NamedTuple):
    """What became of a batch's outcomes: written now, or found to have been written before.

    ``elsewhere`` has the object in which each of those stands whose identity was not written now.
    """

    written: int
    repeated: int
    elsewhere: Mapping[str, str]


def commit(
    outcomes: Sequence[Outcome], object_key: str, *, ledger: Ledger, store: ObjectStore, publish: Publish
) -> Committed:
    """Commit what came of a batch; harmless when repeated, with another key.

    Parameters
    ----------
    outcomes : sequence of Outcome
        In the order of the stream. Of two with one identity, the first counts.
    object_key : str
        Where to write them: a key that is used for this call alone.
    ledger, store
        The ledger, and the bucket that the object goes to.
    publish : callable
        How an object's lines are made known.

    Raises
    ------
    TransientError
        A service refuses for the moment, or another worker was faster in part: the batch is to be
        delivered again.
    """
    unique: dict[str, Outcome] = {}
    for outcome in outcomes:
        unique.setdefault(outcome.identity, outcome)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        owners = list(pool.map(lambda identity: ledger.claim(identity, object_key), unique))
    mine = {identity for identity, owner in zip(unique, owners, strict=True) if owner == object_key}
    elsewhere: dict[str, list[str]] = {}
    for identity, owner in zip(unique, owners, strict=True):
        if owner != object_key:
            elsewhere.setdefault(owner, []).append(identity)
    for other, identities in elsewhere.items():
        if _settle(other, ledger, store, publish):
            continue
        for identity in identities:
            if not ledger.move(identity, other, object_key):
                raise TransientError(
                    "Another worker has taken a record over", code="record-taken", where=identity
                )
            mine.add(identity)
    lines = [_line(outcome) for identity, outcome in unique.items() if identity in mine]
    if lines:
        _write(object_key, lines, store)
        publish(object_key, lines)
    found = {identity: owner for identity, owner in zip(unique, owners, strict=True) if identity not in mine}
    return Committed(len(lines), len(outcomes) - len(lines), found)


def lines_of(key: str, store: ObjectStore) -> list[bytes]:
    """Return the lines of a committed object; none for one that marks the place of a worker that died."""
    return [line for line in store.get(key).split(b"\n") if line]


def publisher(ledger: Ledger, bucket: str, output: DescriptorStream) -> Publish:
    """Return what makes the lines of an object known, as its key's kind asks.

    What was scored is put on ``output``; rows of a dataset wait for the next training; records that were
    refused for a dataset are for people to find.
    """

    def publish(key: str, lines: Sequence[bytes]) -> None:
        dataset = keys.collecting(key)
        if dataset is not None:
            ledger.mark_pending(batch_of(key, dataset, lines))
            return
        if not key.startswith(keys.COLLECTED):
            output.put([_record(line, f"s3://{bucket}/{key}") for line in lines])
        ledger.mark_published(key)

    return publish


def batch_of(key: str, dataset: str, lines: Sequence[bytes]) -> Batch:
    """Return what the ledger notes of collected rows."""
    records = [json.loads(line) for line in lines]
    return Batch(
        key=key,
        dataset=dataset,
        rows=sum(len(record["rows"]) for record in records),
        since=min(record["source"]["arrived_at"] for record in records),
        size_bytes=sum(map(len, lines)),
    )


def _settle(key: str, ledger: Ledger, store: ObjectStore, publish: Publish) -> bool:
    """See to it that the object's outcomes are published, or are never written; return which."""
    if ledger.published(key):
        return True
    try:
        store.put(key, b"", content_type=_TYPE, only_if_absent=True)
    except Conflict:
        lines = lines_of(key, store)
        if lines:
            publish(key, lines)
        return bool(lines)
    return False


def _write(key: str, lines: Sequence[bytes], store: ObjectStore) -> None:
    data = b"".join(line + b"\n" for line in lines)
    try:
        store.put(key, data, content_type=_TYPE, only_if_absent=True)
    except Conflict:
        # Our own write, of which the first answer was lost; or an empty object in the place of ours.
        if store.get(key) != data:
            raise TransientError(
                "Another worker has taken the batch over", code="record-taken", where=key
            ) from None


def _line(outcome: Outcome) -> bytes:
    text = json.dumps(outcome.content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Lone surrogates, which JSON's escapes can spell, are no text that UTF-8 could hold.
    return text.encode("utf-8", "replace")


def _record(line: bytes, uri: str) -> tuple[bytes, str, str]:
    """Return a line as a stream's record: data, partition key, hash key; too long a one names its object."""
    content = json.loads(line)
    name = f"{content.get('model')}/{content['id']}"
    key = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    if len(line) + len(key) > MAX_RECORD_BYTES:
        kept = {part: content[part] for part in ("id", "model", "version", "source") if part in content}
        line = json.dumps({**kept, "object": uri}, ensure_ascii=False).encode()
    return line, key, str(int(key, 16))


_TYPE = "application/jsonl"
