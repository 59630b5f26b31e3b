"""select: the best candidate, evaluated on the held-out rows and compiled to a scoring plan."""

from __future__ import annotations

import os
from typing import Any

from millrace.contracts import decode
from millrace.edge.handler import Job, stage
from millrace.edge.settings import SelectSettings
from millrace.features.search import Unit
from millrace.training.threads import pin_threads


@stage("select", SelectSettings, state="SELECTING")
def handler(event: dict[str, Any], job: Job[SelectSettings]) -> dict[str, Any]:
    """Choose, evaluate and compile, and store the plan and the evaluation; or say what to train before."""
    pin_threads(os.environ, int(job.context.memory_limit_in_mb))
    from millrace.edge.turns import turn_of
    from millrace.training.stages import select_model

    trained = [decode(Unit, unit) for unit in event.get("units", ())]
    return select_model(job.run_id, job.ports.artifacts, job.ports.runs, turn_of(event, job), trained)
