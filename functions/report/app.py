"""report: figures and one HTML page about what the run learned."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import ReportSettings


@stage("report", ReportSettings, state="REPORTING")
def handler(event: dict[str, Any], job: Job[ReportSettings]) -> dict[str, Any]:
    """Write the report of the run and note on the run where it lies."""
    from millrace.edge.cost import run_cost
    from millrace.report import write_report

    return {"report": write_report(job.run_id, job.ports.artifacts, job.ports.runs, run_cost)}
