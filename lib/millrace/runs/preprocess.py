"""One chunk of one pass: read its range, do the work, write the result, count it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from millrace import keys
from millrace.contracts import (
    ChunkOutcome,
    Descriptor,
    Layout,
    ObjectStore,
    RunError,
    RunStore,
    read_schema,
)
from millrace.errors import Conflict, MillraceError
from millrace.fanout import (
    claim_chunk,
    complete_chunk,
    fail_pass,
    heartbeats,
    release_next,
    report_complete,
)
from millrace.fanout.ports import DescriptorStream, TaskTokens
from millrace.runs.failure import run_error
from millrace.runs.progress import has_result, read_layout, read_ranges, write_json

if TYPE_CHECKING:
    from millrace.features.blocks import RejectedRecord

__all__ = ["Outcome", "preprocess"]

Outcome = Literal["done", "replayed", "spare", "unwanted", "refused"]
"""``done``: worked on; ``replayed``: was done already; ``spare``: a ticket for which no chunk is left;
``unwanted``: nobody waits for the pass any more; ``refused``: the chunk cannot be done, and the task has been
told so."""


def preprocess(
    descriptor: Descriptor,
    *,
    data: ObjectStore,
    artifacts: ObjectStore,
    runs: RunStore,
    stream: DescriptorStream,
    tasks: TaskTokens,
    heartbeat_s: float,
) -> Outcome:
    """Take one chunk through its pass; harmless when repeated.

    What fails again with the same input fails the task at once. What may succeed later, and what nobody
    foresaw, is raised for the stream to deliver the record again; before that the error is stored where
    ``chunk_failed`` finds it, should the retries run out.

    Parameters
    ----------
    descriptor : Descriptor
        Which chunk, in which pass, of which run; or a ticket for one.
    data, artifacts : ObjectStore
        The data bucket and the artifact bucket.
    runs, stream, tasks
        Run records, the stream of descriptors, and answers to task tokens.
    heartbeat_s : float
        Seconds between heartbeats.

    Raises
    ------
    TransientError
        A service refuses for the moment.
    """
    ticket = descriptor
    try:
        with heartbeats(ticket.token, every_s=heartbeat_s, tasks=tasks) as heartbeat:
            if not heartbeat.wanted:  # a pass that was begun again has descriptors of its own
                return "unwanted"
            claimed, parts = claim_chunk(ticket, runs)
            if claimed is None:
                report_complete(ticket, parts, runs=runs, tasks=tasks)
                return "spare"
            descriptor = claimed
            replayed = has_result(descriptor, artifacts)
            if not replayed:
                _work(descriptor, data, artifacts, runs)
            release_next(ticket, descriptor.chunk, parts, stream)
            complete_chunk(descriptor, runs=runs, tasks=tasks)
            return "replayed" if replayed else "done"
    except MillraceError as error:
        stored = run_error(error, descriptor.pass_name)
        _store_error(descriptor, stored, artifacts, error)
        if error.retry:
            raise
        fail_pass(descriptor.token, stored, tasks=tasks)
        return "refused"
    except Exception as error:
        what = "Ticket" if descriptor.tickets else "Chunk"
        message = f"{what} {descriptor.chunk} failed unexpectedly: {type(error).__name__}: {error}"[:1000]
        stored = RunError(type(error).__name__, code="internal", message=message, stage=descriptor.pass_name)
        _store_error(descriptor, stored, artifacts, error)
        raise


def _store_error(descriptor: Descriptor, error: RunError, artifacts: ObjectStore, cause: Exception) -> None:
    key = keys.ticket_error if descriptor.tickets else keys.chunk_error
    try:
        write_json(artifacts, key(descriptor.run_id, descriptor.pass_name, descriptor.chunk), error)
    except MillraceError as second:  # the store may be what fails; the first error is the one that counts
        cause.add_note(f"This error could not be stored: {second}")


def _work(descriptor: Descriptor, data: ObjectStore, artifacts: ObjectStore, runs: RunStore) -> None:
    if descriptor.pass_name == "scan":
        _scan(descriptor, data, artifacts)
        return
    layout = read_layout(descriptor.run_id, artifacts)
    chunk = layout.chunks[descriptor.chunk]
    source = artifacts if layout.bucket == artifacts.bucket else data
    text = source.get(layout.key, version_id=layout.version_id or None, start=chunk.start, end=chunk.end)
    result = keys.part(descriptor.run_id, descriptor.pass_name, descriptor.chunk)
    if descriptor.pass_name == "score":
        from millrace.runs.score import score_chunk

        scored = score_chunk(runs.get(descriptor.run_id), layout, descriptor.chunk, text, artifacts)
        write_json(artifacts, result, scored, only_if_absent=True)
        return
    if descriptor.pass_name == "profile":
        from millrace.profile import profile_bytes

        part, rejects = profile_bytes(text, layout, chunk)
        if rejects:  # kept from now on, should the file be refused before it is converted
            from millrace.features.blocks import RejectedRecord

            # Only if there are none yet: a worker that was held up must not write over what convert found.
            with contextlib.suppress(Conflict):
                rejected = (RejectedRecord(*reject[1:]) for reject in rejects)
                _keep(descriptor, rejected, artifacts, only_if_absent=True)
        write_json(artifacts, result, part, only_if_absent=True)
    else:
        outcome = _convert(descriptor, text, layout, artifacts)
        # Last, because it says that everything else of the chunk is there.
        write_json(artifacts, result, outcome, only_if_absent=True)


def _scan(descriptor: Descriptor, data: ObjectStore, artifacts: ObjectStore) -> None:
    """Read one byte range of the file from every state in which the parser may enter it."""
    from millrace import csvfile

    layout = read_ranges(descriptor.run_id, artifacts)
    part = layout.chunks[descriptor.chunk]
    offset = max(part.start - csvfile.CONTEXT_BYTES, 0)
    end = min(part.end + csvfile.CONTEXT_BYTES, layout.size_bytes)
    text = data.get(layout.key, version_id=layout.version_id or None, start=offset, end=end)
    states = csvfile.entries(layout.dialect)
    found = csvfile.scan_range(text, offset, part.start, part.end, layout.dialect, states)
    result = keys.part(descriptor.run_id, descriptor.pass_name, descriptor.chunk)
    write_json(artifacts, result, found, only_if_absent=True)


def _keep(
    descriptor: Descriptor,
    rejects: Iterable[RejectedRecord],
    artifacts: ObjectStore,
    *,
    only_if_absent: bool = False,
) -> None:
    from millrace.features.blocks import rejects_jsonl

    key = keys.rejects(descriptor.run_id, descriptor.chunk)
    text = rejects_jsonl(rejects)
    artifacts.put(key, text, content_type="application/jsonl", only_if_absent=only_if_absent)


def _convert(
    descriptor: Descriptor,
    text: bytes,
    layout: Layout,
    artifacts: ObjectStore,
) -> ChunkOutcome:
    from millrace.features import blocks
    from millrace.features.columnar import convert_bytes

    run_id, chunk = descriptor.run_id, descriptor.chunk
    schema = read_schema(run_id, artifacts)
    converted = convert_bytes(text, schema, layout, layout.chunks[chunk])
    table = converted.table
    artifacts.put(
        keys.block(run_id, chunk), blocks.write_block(schema, table.columns, table.target, table.record)
    )
    artifacts.put(
        keys.parquet(run_id, chunk),
        blocks.to_parquet(converted, schema),
        content_type="application/vnd.apache.parquet",
    )
    if converted.rejects:
        _keep(descriptor, converted.rejects, artifacts)
    if converted.cleared:
        artifacts.put(
            keys.cleared(run_id, chunk), blocks.cleared_jsonl(converted), content_type="application/jsonl"
        )
    return ChunkOutcome(
        chunk=chunk,
        rows_read=converted.rows_read,
        rows_kept=len(table),
        rows_rejected=len(converted.rejects),
        cells_cleared=sum(converted.cells_cleared.values()),
        rows_unlabelled=converted.rows_unlabelled,
    )
