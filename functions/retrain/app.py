"""retrain: rows that a stream brought become a training file, once enough of them wait."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import RetrainSettings
from millrace.errors import MillraceError
from millrace.runs.retrain import Due, retrain_all


@stage("retrain", RetrainSettings)
def handler(event: dict[str, Any], job: Job[RetrainSettings]) -> dict[str, Any]:
    """Look at every dataset with collected rows; the event says nothing."""
    ports, settings = job.ports, job.settings

    def failed(dataset: str, error: MillraceError) -> None:
        job.logger.error("failed", extra={"dataset": dataset, "code": error.code, "reason": str(error)})
        job.count("RetrainingsFailed")

    made = retrain_all(
        data=ports.data,
        artifacts=ports.artifacts,
        runs=ports.runs,
        ledger=ports.ledger,
        due=Due(settings.retrain_rows, settings.retrain_after_minutes),
        holder=job.context.aws_request_id,
        remaining_s=lambda: job.context.get_remaining_time_in_millis() / 1000,
        failed=failed,
    )
    for dataset, number in made.items():
        job.logger.info("generation", extra={"dataset": dataset, "generation": number})
        job.count("RetrainingsBegun")
    return {"generations": made}
