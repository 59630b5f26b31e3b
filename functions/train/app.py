"""train: some candidates on some folds, cross-validated; one item of the state machine's Map."""

from __future__ import annotations

import os
from typing import Any

from millrace.contracts import decode
from millrace.edge.handler import Job, stage
from millrace.edge.settings import TrainSettings
from millrace.errors import BadInput
from millrace.features.search import Unit
from millrace.training.threads import pin_threads


@stage("train", TrainSettings, state="TRAINING", sinks_run=False)
def handler(event: dict[str, Any], job: Job[TrainSettings]) -> dict[str, Any]:
    """Train the event's unit; a failure is stored with its candidates and does not sink the run."""
    if not isinstance(event.get("unit"), dict):
        raise BadInput(
            "The event names nothing to train",
            code="event-invalid",
            remedy='Pass {"run_id": …, "unit": {"part": …, "candidates": […], "folds": […]}} as the state '
            "machine does.",
        )
    unit = decode(Unit, event["unit"])
    pin_threads(os.environ, int(job.context.memory_limit_in_mb))
    from millrace.training.stages import train

    def remaining_s() -> float:
        return float(job.context.get_remaining_time_in_millis()) / 1000.0

    return train(job.run_id, unit, job.ports.artifacts, job.ports.runs, remaining_s)
