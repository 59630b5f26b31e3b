"""decide: merges the profiles and decides the schema; refuses what cannot be learned."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import DecideSettings
from millrace.runs.decide import decide


@stage("decide", DecideSettings, state="DECIDING")
def handler(event: dict[str, Any], job: Job[DecideSettings]) -> dict[str, Any]:
    """Decide target, task, types and roles of the run's table."""
    schema = decide(job.run_id, artifacts=job.ports.artifacts, runs=job.ports.runs)
    return {"target": schema.target, "task": schema.task, "features": len(schema.features)}
