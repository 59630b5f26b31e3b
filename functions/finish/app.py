"""finish: records how the run ended, with a sentence that says what, where and what to do."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import FinishSettings
from millrace.runs.finish import finish


@stage("finish", FinishSettings, sinks_run=False)
def handler(event: dict[str, Any], job: Job[FinishSettings]) -> dict[str, Any]:
    """Record success, or the error that the state machine caught."""
    error = finish(job.run_id, event.get("error"), runs=job.ports.runs)
    job.count("RunsFailed" if error else "RunsSucceeded")
    if error is None:
        return {"state": "SUCCEEDED"}
    job.logger.warning("run failed", extra={"code": error.code, "reason": error.message})
    return {"state": "FAILED", "code": error.code, "stage": error.stage}
