"""score: records of the stream `rows`, each once; and rows or a file that an event names directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from millrace.edge.handler import Job, stage
from millrace.edge.score import answer_rows, batch_key, outcome_of, read_registry, score_named_file
from millrace.edge.settings import ScoreSettings
from millrace.streams import Outcome, commit

if TYPE_CHECKING:
    from millrace.registry.reader import Reader

_reader: Reader | None = None


@stage("score", ScoreSettings, sinks_run=False)
def handler(event: dict[str, Any], job: Job[ScoreSettings]) -> dict[str, Any]:
    """Score what the event holds or names."""
    global _reader
    if "file" in event:
        run = score_named_file(event, job)
        job.concerns(run.run_id)
        return {"run": run.run_id, "state": run.state}
    _reader = _reader or read_registry(job)
    remaining_ms = job.context.get_remaining_time_in_millis
    if "Records" not in event:
        return answer_rows(event, _reader, remaining_ms)
    outcomes: list[Outcome] = []

    def take(record: Any) -> None:
        assert _reader is not None
        outcomes.append(outcome_of(record.raw_event, _reader, remaining_ms))

    processor = BatchProcessor(
        EventType.KinesisDataStreams,
        raise_on_entire_batch_failure=False,
        logger=job.logger,  # type: ignore[arg-type]  # Powertools' own Logger passes every call on to one
    )
    answer = dict(process_partial_response(event, take, processor))
    ports = job.ports
    made = commit(outcomes, batch_key(event), ledger=ports.ledger, store=ports.data, output=ports.results)
    job.count("RecordsScored", made.written)
    job.count("RecordsRepeated", made.repeated)
    job.count("RecordsRefused", sum("error" in outcome.content for outcome in outcomes))
    job.logger.info("batch", extra={"written": made.written, "repeated": made.repeated})
    return answer
