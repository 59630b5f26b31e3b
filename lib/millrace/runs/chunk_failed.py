"""A chunk that exhausted its retries fails its task, with the error that its worker stored.

One whose work is done, and whose workers only could not say so, is reported instead.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from millrace import keys
from millrace.contracts import Descriptor, ObjectStore, RunError, RunStore, decode
from millrace.errors import BadInput, NotFound
from millrace.fanout import complete_chunk, decode_descriptor, fail_pass, release_next, report_complete
from millrace.fanout.ports import DescriptorStream, TaskTokens
from millrace.runs.progress import has_result

__all__ = ["chunk_failed", "discarded_records", "give_up"]


def chunk_failed(
    key: str, *, artifacts: ObjectStore, runs: RunStore, stream: DescriptorStream, tasks: TaskTokens
) -> tuple[Descriptor, ...]:
    """Fail the tasks of the chunks in a batch that Lambda gave up on.

    Parameters
    ----------
    key : str
        Where Lambda stored the batch.
    artifacts : ObjectStore
        The artifact bucket: the batch, the chunks' results, and the errors that workers stored.
    runs, stream, tasks
        Run records, the stream of descriptors, and answers to task tokens.

    Returns
    -------
    tuple of Descriptor
        The chunks that failed; those in the batch whose work is done are counted as done, not as failed.

    Raises
    ------
    BadInput
        The object is no discarded batch of the stream.
    """
    record = _parse(artifacts.get(key))
    failed: list[Descriptor] = []
    foreign: BadInput | None = None
    for data in discarded_records(record, key):
        try:
            descriptor = decode_descriptor(data)
        except BadInput as error:  # the others in the batch must not wait for it
            foreign = error
            continue
        lost = give_up(
            descriptor,
            artifacts=artifacts,
            runs=runs,
            stream=stream,
            tasks=tasks,
            condition=_condition(record),
        )
        if lost is not None:
            failed.append(lost)
    if foreign is not None:
        raise foreign
    return tuple(failed)


def give_up(
    descriptor: Descriptor,
    *,
    artifacts: ObjectStore,
    runs: RunStore,
    stream: DescriptorStream,
    tasks: TaskTokens,
    condition: str = "",
) -> Descriptor | None:
    """Fail the task of one chunk, with the error that its worker stored, and return it.

    ``None`` if there is no need: its work was done, the pass was begun again, so that it is in other hands,
    or no chunk was left for the ticket.

    Parameters
    ----------
    descriptor : Descriptor
        The chunk, or the ticket for one.
    artifacts, runs, stream, tasks
        As for :func:`chunk_failed`.
    condition : str
        Why Lambda gave up on the record, in its own word.
    """
    ticket = descriptor
    parts = runs.parts(ticket.run_id, ticket.pass_name, ticket.group)
    if parts is not None and not parts.begun_with(ticket.token):
        return None
    if ticket.tickets and parts is not None:
        if ticket.chunk in parts.claimed:
            descriptor = replace(ticket, chunk=parts.claimed[ticket.chunk], tickets=0)
        elif not parts.left:
            report_complete(ticket, parts, runs=runs, tasks=tasks)
            return None
    if not descriptor.tickets and has_result(descriptor, artifacts):
        release_next(ticket, descriptor.chunk, parts, stream)
        complete_chunk(descriptor, runs=runs, tasks=tasks)
        return None
    fail_pass(ticket.token, _stored_error(ticket, descriptor, condition, artifacts), tasks=tasks)
    return descriptor


def discarded_records(record: Any, where: str) -> Iterator[bytes]:
    """Yield the data of the stream records in an invocation record with its payload.

    The payload is the event that the function was invoked with, as an object or as JSON text (Lambda
    developer guide, "Retain discarded batch records for a Kinesis Data Streams event source").

    Raises
    ------
    BadInput
        There is no payload with records in it.
    """
    payload = record.get("payload") if isinstance(record, dict) else None
    if isinstance(payload, str):
        payload = _parse(payload)
    if not isinstance(payload, dict) or "Records" not in payload:
        raise BadInput(
            "The object is no discarded batch: it carries no records",
            code="batch-invalid",
            where=where,
            remedy="Nothing but the stream's event source should write below aws/lambda/.",
        )
    for item in payload["Records"]:
        yield base64.b64decode(item["kinesis"]["data"])


def _parse(text: bytes | str) -> Any:
    """Return the JSON value, or None for what is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _condition(record: dict[str, Any]) -> str:
    return str(record.get("requestContext", {}).get("condition", ""))


def _stored_error(
    ticket: Descriptor, descriptor: Descriptor, condition: str, artifacts: ObjectStore
) -> RunError:
    stored = []
    if not descriptor.tickets:
        stored.append(keys.chunk_error(descriptor.run_id, descriptor.pass_name, descriptor.chunk))
    if ticket.tickets:
        stored.append(keys.ticket_error(ticket.run_id, ticket.pass_name, ticket.chunk))
    for key in stored:
        with contextlib.suppress(NotFound):
            return decode(RunError, json.loads(artifacts.get(key)))
    what = f"{'Ticket' if descriptor.tickets else 'Chunk'} {descriptor.chunk}"
    if condition == "RecordAgeExceeded":
        return RunError(
            "RecordAgeExceeded",
            code="workers-behind",
            message=f"{what} waited on the stream for longer than a record may. "
            "Raise the stack's shard count or the account's concurrency limit, then upload the file again.",
            stage=descriptor.pass_name,
        )
    # A worker stores its error before it fails; one that could not was stopped from outside.
    return RunError(
        "WorkerStopped",
        code="worker-stopped",
        message=f"The worker of {what.lower()} was stopped each time, out of memory or of time. "
        "Raise the stack's parameter WorkerMemory or lower MaxChunkBytes, then upload the file again.",
        stage=descriptor.pass_name,
    )
