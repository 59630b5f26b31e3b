"""The end of a run, good or bad."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.contracts import RunError, RunStore
from millrace.runs.failure import explain, stage_of

__all__ = ["finish"]


def finish(run_id: str, error: Mapping[str, str] | None, *, runs: RunStore) -> RunError | None:
    """Record how the run ended; harmless when repeated.

    Parameters
    ----------
    run_id : str
        The run.
    error : mapping, optional
        ``Error`` and ``Cause`` of the state that failed, as Step Functions gives them to a catcher.
    runs : RunStore
        Run records.

    Returns
    -------
    RunError or None
        What was recorded. ``None`` for a run that succeeded: one that has once is not failed afterwards,
        for its model is registered.
    """
    run = runs.get(run_id)
    if run.state == "SUCCEEDED":
        return None
    if error is None:
        # In this order: a run that shows as succeeded is also what the next upload is compared with.
        if run.kind == "train":
            runs.record_success(run_id)
        runs.update(run_id, state="SUCCEEDED", error=None)
        return None
    if run.state == "FAILED":
        return run.error
    stage = stage_of(run.state)
    found = explain(error.get("Error", ""), error.get("Cause", ""), stage)
    noted = run.error  # with its code, which Lambda does not pass on
    if noted is not None and (noted.type, noted.message) == (found.type, found.message):
        found = RunError(noted.type, noted.code, noted.message, stage)
    runs.update(run_id, state="FAILED", error=found)
    return found
