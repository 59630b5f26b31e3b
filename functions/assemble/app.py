"""assemble: the scored parts become one file, with its rejects and its report beside it."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import AssembleSettings
from millrace.runs.assemble import assemble


@stage("assemble", AssembleSettings, state="ASSEMBLING")
def handler(event: dict[str, Any], job: Job[AssembleSettings]) -> dict[str, Any]:
    """Write the result of a score run."""
    return {
        "result": assemble(
            job.run_id, data=job.ports.data, artifacts=job.ports.artifacts, runs=job.ports.runs
        )
    }
