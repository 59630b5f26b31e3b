"""ingest: an upload opens a run and starts its execution."""

from __future__ import annotations

from typing import Any

from millrace.edge.events import stored_objects
from millrace.edge.handler import Job, stage
from millrace.edge.settings import IngestSettings
from millrace.runs.ingest import Upload, ingest


@stage("ingest", IngestSettings)
def handler(event: dict[str, Any], job: Job[IngestSettings]) -> dict[str, Any]:
    """Ingest every object that the S3 notification names."""
    states: dict[str, str] = {}
    for found in stored_objects(event):
        run = ingest(
            Upload(*found),
            data=job.ports.data,
            artifacts=job.ports.artifacts,
            runs=job.ports.runs,
            executions=job.ports.executions,
            max_file_bytes=job.settings.max_file_bytes,
        )
        if run is None:
            job.logger.info("ignored", extra={"key": found.key})
            continue
        job.concerns(run.run_id)
        job.logger.info("run", extra={"state": run.state, "key": run.key, "size_bytes": run.size_bytes})
        job.count({"FAILED": "RunsFailed", "UNCHANGED": "RunsUnchanged"}.get(run.state, "RunsStarted"))
        states[run.run_id] = run.state
    return {"runs": states}
