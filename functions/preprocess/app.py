"""preprocess: takes chunks through their pass, off the stream or as a Map hands them over."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response

from millrace.contracts import Descriptor, decode
from millrace.edge.handler import Job, stage
from millrace.edge.settings import PreprocessSettings
from millrace.fanout import decode_descriptor
from millrace.runs.preprocess import preprocess


@stage("preprocess", PreprocessSettings)
def handler(event: dict[str, Any], job: Job[PreprocessSettings]) -> dict[str, Any]:
    """Work on the descriptors; the answer names the records that the stream should deliver again."""

    def work(descriptor: Descriptor) -> str:
        job.concerns(descriptor.run_id)
        outcome = preprocess(
            descriptor,
            data=job.ports.data,
            artifacts=job.ports.artifacts,
            runs=job.ports.runs,
            stream=job.ports.stream,
            tasks=job.ports.tasks,
            heartbeat_s=job.settings.heartbeat_s,
        )
        job.count("ChunksDone" if outcome == "done" else "ChunksSkipped")
        job.logger.info(
            "chunk",
            extra={
                "pass": descriptor.pass_name,
                "ticket" if descriptor.tickets else "chunk": descriptor.chunk,
                "outcome": outcome,
            },
        )
        return outcome

    if "descriptor" in event:
        return {"outcome": work(decode(Descriptor, event["descriptor"]))}

    def take(record: Any) -> None:
        work(decode_descriptor(record.kinesis.data_as_bytes()))

    # A batch in which every record fails is answered like any other: each record is named, none is lost.
    processor = BatchProcessor(
        EventType.KinesisDataStreams,
        raise_on_entire_batch_failure=False,
        logger=job.logger,  # type: ignore[arg-type]  # Powertools' own Logger passes every call on to one
    )
    return dict(process_partial_response(event, take, processor))
