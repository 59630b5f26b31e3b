"""train: candidates on folds, cross-validated; and the rounds in which linear ones are fitted to all rows."""

from __future__ import annotations

import os
from typing import Any

from millrace.contracts import decode
from millrace.edge.handler import Job, stage
from millrace.edge.settings import TrainSettings
from millrace.errors import BadInput
from millrace.features.search import Unit
from millrace.training.threads import MB_PER_PROCESSOR, pin_threads


@stage("train", TrainSettings, state="TRAINING", sinks_run=False)
def handler(event: dict[str, Any], job: Job[TrainSettings]) -> dict[str, Any]:
    """Train the event's unit; a failure is stored with its candidates and does not sink the run."""
    exact = event.get("exact")
    if isinstance(exact, dict):
        return _round(exact, job)
    if not isinstance(event.get("unit"), dict):
        raise BadInput(
            "The event names nothing to train",
            code="event-invalid",
            remedy='Pass {"run_id": …, "unit": {"part": …, "candidates": […], "folds": […]}} as the state '
            "machine does.",
        )
    unit = decode(Unit, event["unit"])
    pin_threads(os.environ, int(job.context.memory_limit_in_mb))
    from millrace.edge.turns import turn_of
    from millrace.training.stages import train

    return train(job.run_id, unit, job.ports.artifacts, job.ports.runs, turn_of(event, job))


def _round(exact: dict[str, Any], job: Job[TrainSettings]) -> dict[str, Any]:
    """Begin the rounds over all rows, sum one shard, or add up a round."""
    # One thread: with more of them, BLAS adds in another order on a function of another size.
    pin_threads(os.environ, MB_PER_PROCESSOR)
    from millrace.training import rounds

    ports, number = job.ports, exact.get("round")
    if "names" in exact:
        return rounds.begin_rounds(job.run_id, tuple(exact["names"]), ports.artifacts, ports.runs)
    if isinstance(number, int) and isinstance(exact.get("shard"), int):
        rounds.sum_shard(job.run_id, number, exact["shard"], ports.artifacts, ports.runs)
        return {}
    if isinstance(number, int):
        return rounds.add_round(job.run_id, number, ports.artifacts, ports.runs)
    raise BadInput(
        "The event names no round",
        code="event-invalid",
        remedy='Pass {"run_id": …, "exact": {"names": […]} or {"round": …} or {"round": …, "shard": …}}.',
    )
