"""register: the run's plan becomes a version; the gate promotes it or holds it."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import RegisterSettings
from millrace.registry.register import register_run


@stage("register", RegisterSettings, state="REGISTERING")
def handler(event: dict[str, Any], job: Job[RegisterSettings]) -> dict[str, Any]:
    """Register what the run made and note version and verdict on the run."""
    outcome = register_run(
        job.run_id,
        job.ports.artifacts,
        job.ports.runs,
        predict_memory_mb=job.settings.predict_memory_mb,
    )
    job.logger.info("registered", extra=outcome)
    return outcome
