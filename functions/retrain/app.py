"""retrain: rows that a stream brought become a training file, once enough of them wait or a schedule asks."""

from __future__ import annotations

from typing import Any

from millrace.edge.handler import Job, stage
from millrace.edge.settings import RetrainSettings
from millrace.errors import MillraceError
from millrace.runs.again import train_changed
from millrace.runs.retrain import Due, retrain_all


@stage("retrain", RetrainSettings)
def handler(event: dict[str, Any], job: Job[RetrainSettings]) -> dict[str, Any]:
    """Look at every dataset with collected rows; of a schedule's ``{"now": true}``, at all datasets."""
    ports, settings, now = job.ports, job.settings, event.get("now") is True
    occasion = job.context.aws_request_id

    def failed(dataset: str, error: MillraceError) -> None:
        job.logger.error("failed", extra={"dataset": dataset, "code": error.code, "reason": str(error)})
        job.count("RetrainingsFailed")

    made: dict[str, int] = {}
    if settings.ledger:
        made = retrain_all(
            data=ports.data,
            artifacts=ports.artifacts,
            runs=ports.runs,
            ledger=ports.ledger,
            due=Due(settings.retrain_rows, settings.retrain_after_minutes, now),
            holder=occasion,
            remaining_s=lambda: job.context.get_remaining_time_in_millis() / 1000,
            failed=failed,
        )
    begun: dict[str, str] = {}
    if now:
        begun = train_changed(
            occasion=occasion,
            data=ports.data,
            artifacts=ports.artifacts,
            runs=ports.runs,
            executions=ports.executions,
            max_file_bytes=settings.max_file_bytes,
            failed=failed,
        )
    for dataset, number in made.items():
        job.logger.info("generation", extra={"dataset": dataset, "generation": number})
        job.count("RetrainingsBegun")
    for dataset, run_id in begun.items():
        job.logger.info("trained again", extra={"dataset": dataset, "run": run_id})
        job.count("RetrainingsBegun")
    return {"generations": made, "runs": begun}
