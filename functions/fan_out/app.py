"""fan_out: cuts the file at record boundaries and has its chunks worked on, by tickets on the stream."""

from __future__ import annotations

from typing import Any

from millrace.edge.events import text_field
from millrace.edge.handler import Job, stage
from millrace.edge.settings import FanOutSettings
from millrace.runs.fan_out import fan_out, pass_named


@stage("fan_out", FanOutSettings)
def handler(event: dict[str, Any], job: Job[FanOutSettings]) -> dict[str, Any]:
    """Begin the pass that the state machine waits for."""
    ports, settings = job.ports, job.settings
    layout = fan_out(
        job.run_id,
        pass_named(text_field(event, "pass_name")),
        text_field(event, "token"),
        data=ports.data,
        artifacts=ports.artifacts,
        runs=ports.runs,
        stream=ports.stream,
        tasks=ports.tasks,
        shards=settings.shard_count if settings.stream else 0,
        width=settings.width,
        tickets=settings.tickets,
        group_tickets=settings.group_tickets,
        min_chunk_bytes=settings.min_chunk_bytes,
        max_chunk_bytes=settings.max_chunk_bytes,
        max_file_bytes=settings.max_file_bytes,
    )
    return {"chunks": len(layout.chunks)}
