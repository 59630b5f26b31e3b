"""train: one candidate of the Map, cross-validated."""

from __future__ import annotations

import os
from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import TrainSettings
from millrace.errors import BadInput
from millrace.training.threads import pin_threads


@stage("train", TrainSettings, state="TRAINING", sinks_run=False)
def handler(event: dict[str, Any], job: Job[TrainSettings]) -> dict[str, Any]:
    """Train the event's candidate; its failure is stored with it and does not sink the run."""
    candidate = event.get("candidate")
    if not isinstance(candidate, str):
        raise BadInput(
            "The event names no candidate",
            code="event-invalid",
            remedy='Pass {"run_id": …, "candidate": …} as the state machine does.',
        )
    pin_threads(os.environ, int(job.context.memory_limit_in_mb))
    from millrace.training.stages import train

    return train(job.run_id, candidate, job.ports.artifacts, job.ports.runs)
