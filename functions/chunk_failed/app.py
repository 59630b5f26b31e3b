"""chunk_failed: a chunk that the stream gave up on fails its task, with the worker's own error."""

from __future__ import annotations

from typing import Any

from millrace.edge.events import stored_objects
from millrace.edge.handler import Job, stage
from millrace.edge.settings import ChunkFailedSettings
from millrace.runs.chunk_failed import chunk_failed


@stage("chunk_failed", ChunkFailedSettings, sinks_run=False)
def handler(event: dict[str, Any], job: Job[ChunkFailedSettings]) -> dict[str, Any]:
    """Fail the tasks of the chunks in the discarded batches that the S3 notification names."""
    failed = 0
    for found in stored_objects(event):
        ports = job.ports
        for descriptor in chunk_failed(
            found.key, artifacts=ports.artifacts, runs=ports.runs, stream=ports.stream, tasks=ports.tasks
        ):
            job.concerns(descriptor.run_id)
            job.logger.warning(
                "chunk failed", extra={"pass": descriptor.pass_name, "chunk": descriptor.chunk}
            )
            job.count("ChunksFailed")
            failed += 1
    return {"chunks": failed}
