"""reconcile: finds runs whose execution is gone and resumes or fails them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import ReconcileSettings
from millrace.runs.reconcile import QUIET, reconcile


@stage("reconcile", ReconcileSettings)
def handler(event: dict[str, Any], job: Job[ReconcileSettings]) -> dict[str, Any]:
    """Reconcile every open run; ``{"quiet_s": 0}`` looks at those that changed just now as well."""
    quiet = timedelta(seconds=float(event.get("quiet_s", QUIET.total_seconds())))
    done = reconcile(runs=job.ports.runs, executions=job.ports.executions, quiet=quiet)
    for run_id, what in done.items():
        job.logger.warning(what, extra={"run": run_id})
        job.count("RunsRestarted" if what == "restarted" else "RunsFailed")
    return {"runs": done}
