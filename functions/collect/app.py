"""collect: adds up what the convert pass made and names the candidates to train."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import CollectSettings
from millrace.runs.collect import collect


@stage("collect", CollectSettings)
def handler(event: dict[str, Any], job: Job[CollectSettings]) -> dict[str, Any]:
    """Return one object a candidate, for the state machine's Map."""
    names = collect(
        job.run_id,
        artifacts=job.ports.artifacts,
        runs=job.ports.runs,
        max_reject_share=job.settings.max_reject_share,
    )
    return {"candidates": [{"name": name} for name in names]}
