"""Runs must not wait for an execution that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from millrace.contracts import TERMINAL_STATES, Run, RunError, RunStore
from millrace.runs.failure import stage_of
from millrace.runs.ports import Executions
from millrace.runs.progress import execution_name, start_execution

__all__ = ["reconcile"]

QUIET = timedelta(minutes=10)
"""A run that changed more recently is left alone: its execution may just be starting."""
HORIZON = timedelta(days=3)
"""Older runs are not looked at; an execution ends within hours."""
MAX_ATTEMPTS = 3


def reconcile(
    *, runs: RunStore, executions: Executions, now: datetime | None = None, quiet: timedelta = QUIET
) -> dict[str, str]:
    """Restart or fail the runs that are not over and have no live execution.

    An execution that is unknown (it was never started, or an emulator forgot it) or that failed without
    recording why is started again under the next attempt's name, twice at most; chunks that are done stay
    done. One that somebody stopped, or that ran out of its time, fails the run.

    Returns
    -------
    dict
        What was done, ``"restarted"`` or ``"failed"``, by run.
    """
    now = now or datetime.now(UTC)
    done: dict[str, str] = {}
    for run in _open_runs(runs, now - HORIZON):
        if datetime.fromisoformat(run.updated_at) > now - quiet:
            continue
        status = executions.status(execution_name(run))
        if status == "RUNNING":
            continue
        # The list comes from an index that may lag: the record itself decides. Another look at the same time
        # may have begun the next attempt, whose execution is not the one that was asked for.
        listed, run = run, runs.get(run.run_id)
        if run.state in TERMINAL_STATES or run.attempt != listed.attempt:
            continue
        done[run.run_id] = _resume(run, status, runs, executions)
    return done


def _open_runs(runs: RunStore, since: datetime) -> Iterator[Run]:
    cursor: str | None = None
    while True:
        page, cursor = runs.list(limit=100, cursor=cursor)
        for run in page:
            if datetime.fromisoformat(run.created_at) < since:
                return
            if run.state not in TERMINAL_STATES:
                yield run
        if cursor is None:
            return


def _resume(run: Run, status: str | None, runs: RunStore, executions: Executions) -> str:
    if status is None and run.state == "QUEUED":
        start_execution(run, executions)  # ingest died before it could
        return "restarted"
    if status == "ABORTED":
        _fail(run, runs, code="execution-aborted", what="The run's execution was stopped")
        return "failed"
    if status == "TIMED_OUT":
        _fail(run, runs, code="execution-timed-out", what="The run's execution ran out of time")
        return "failed"
    if run.attempt >= MAX_ATTEMPTS:
        _fail(run, runs, code="execution-lost", what=f"The run's execution was lost {run.attempt} times")
        return "failed"
    # Started before it is noted: should we die in between, the next look finds that name taken and notes it.
    following = replace(run, attempt=run.attempt + 1)
    start_execution(following, executions)
    runs.update(run.run_id, attempt=following.attempt)
    return "restarted"


def _fail(run: Run, runs: RunStore, *, code: str, what: str) -> None:
    message = (
        f"{what} (execution {execution_name(run)}). Look at the state machine's executions for the reason, "
        "then upload the file again."
    )
    runs.update(
        run.run_id, state="FAILED", error=RunError("ExecutionLost", code, message, stage_of(run.state))
    )
