"""chunk_failed: a chunk that was given up on fails its task, with the worker's own error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millrace.contracts import Descriptor, decode
from millrace.edge.events import stored_objects
from millrace.edge.handler import Job, stage
from millrace.edge.settings import ChunkFailedSettings
from millrace.runs.chunk_failed import chunk_failed, give_up


@stage("chunk_failed", ChunkFailedSettings, sinks_run=False)
def handler(event: dict[str, Any], job: Job[ChunkFailedSettings]) -> dict[str, Any]:
    """Fail the task of the chunk that a Map names, or of those in the batches of an S3 notification."""
    failed = 0
    for descriptor in _failed(event, job):
        job.concerns(descriptor.run_id)
        job.logger.warning("chunk failed", extra={"pass": descriptor.pass_name, "chunk": descriptor.chunk})
        job.count("ChunksFailed")
        failed += 1
    return {"chunks": failed}


def _failed(event: dict[str, Any], job: Job[ChunkFailedSettings]) -> Iterator[Descriptor]:
    ports = job.ports
    world: Any = {
        "artifacts": ports.artifacts,
        "runs": ports.runs,
        "stream": ports.stream,
        "tasks": ports.tasks,
    }
    if "descriptor" in event:
        failed = give_up(decode(Descriptor, event["descriptor"]), **world)
        if failed is not None:
            yield failed
        return
    for found in stored_objects(event):
        yield from chunk_failed(found.key, **world)
