"""score: records of the stream `rows`, each once; and rows or a file that an event names directly."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from millrace.edge import score
from millrace.edge.collect import LiveSignatures, delivery_of
from millrace.edge.handler import Job, stage
from millrace.edge.settings import ScoreSettings
from millrace.streams import Delivery, Outcome, commit_all

_signatures: LiveSignatures | None = None


@stage("score", ScoreSettings, sinks_run=False)
def handler(event: dict[str, Any], job: Job[ScoreSettings]) -> dict[str, Any]:
    """Score what the event holds or names, and collect what it brings for datasets."""
    global _signatures
    if "file" in event:
        run = score.score_named_file(event, job)
        job.concerns(run.run_id)
        return {"run": run.run_id, "state": run.state}
    ports = job.ports
    _signatures = signatures = _signatures or LiveSignatures(score.read_registry(job), ports.artifacts)
    remaining_ms = job.context.get_remaining_time_in_millis
    if "Records" not in event:
        return score.answer_rows(event, signatures.reader, remaining_ms)
    outcomes: list[Outcome] = []
    deliveries: list[Delivery] = []

    def take(record: Any) -> None:
        arrival = score.arrival_of(record.raw_event)
        if arrival.dataset is None:
            outcomes.append(score.outcome_of(arrival, signatures.reader, remaining_ms))
        else:
            deliveries.append(delivery_of(arrival, signatures))

    processor = BatchProcessor(
        EventType.KinesisDataStreams,
        raise_on_entire_batch_failure=False,
        logger=job.logger,  # type: ignore[arg-type]  # Powertools' own Logger passes every call on to one
    )
    answer = dict(process_partial_response(event, take, processor))
    name = score.name_of(event)
    counted = commit_all(
        outcomes, deliveries, name, ledger=ports.ledger, store=ports.data, output=ports.results
    )
    for metric, value in counted.items():
        job.count(metric, value)
    job.logger.info("batch", extra=counted)
    return answer
