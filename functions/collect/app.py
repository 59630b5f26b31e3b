"""collect: adds up what the convert pass made, or the first round of training; names what to train next."""

from __future__ import annotations

from typing import Any

from millrace.contracts import decode, encode
from millrace.edge.handler import Job, stage
from millrace.edge.settings import CollectSettings
from millrace.features.search import Unit
from millrace.runs.collect import collect, narrow


@stage("collect", CollectSettings)
def handler(event: dict[str, Any], job: Job[CollectSettings]) -> dict[str, Any]:
    """Return one object an invocation of ``train``, for the state machine's Map, and whether more follow."""
    ports = job.ports
    if event.get("after") == "train":
        trained = [decode(Unit, unit) for unit in event.get("units", ())]
        found = narrow(job.run_id, artifacts=ports.artifacts, runs=ports.runs, trained=trained)
        return dict(encode(found))
    work = collect(
        job.run_id,
        artifacts=ports.artifacts,
        runs=ports.runs,
        max_reject_share=job.settings.max_reject_share,
    )
    return dict(encode(work))
