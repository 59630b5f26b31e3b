"""Why a run failed, as a sentence for people.

Our own errors say what, where and what to do already. What comes from elsewhere (Lambda, Step Functions,
a fault in our code) is translated here, with the remedy that usually helps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from millrace import errors
from millrace.contracts import RunError, RunState
from millrace.errors import MillraceError

__all__ = ["explain", "run_error", "stage_of"]

_STAGES: Mapping[RunState, str] = {
    "QUEUED": "start",
    "PROFILING": "profile",
    "DECIDING": "decide",
    "CONVERTING": "convert",
    "TRAINING": "train",
    "SELECTING": "select",
    "REPORTING": "report",
    "REGISTERING": "register",
    "SCORING": "score",
    "ASSEMBLING": "assemble",
}

_OURS = frozenset(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, MillraceError)
)


class _Foreign(NamedTuple):
    what: str
    code: str
    remedy: str


_MEMORY = _Foreign(
    "The function ran out of memory or its process died",
    code="out-of-memory",
    remedy="Upload fewer rows or columns, or raise the stack's memory parameters.",
)
_TIME = _Foreign(
    "The function ran out of time",
    code="out-of-time",
    remedy="Upload fewer rows or columns, choose the budget 'quick', or raise the stack's memory parameters, "
    "which raises the speed as well.",
)
_FOREIGN = {
    "Sandbox.Timedout": _TIME,
    "Lambda.Timeout": _TIME,
    "States.Timeout": _Foreign(
        "The stage did not end within its time limit",
        code="out-of-time",
        remedy="Look into the function's log; if it was still at work, upload fewer rows or raise the shard "
        "count.",
    ),
    "States.HeartbeatTimeout": _Foreign(
        "The stage's workers fell silent",
        code="workers-silent",
        remedy="Look into the log of preprocess; the account's concurrency limit may be used up. Then upload "
        "the file again.",
    ),
    "Runtime.ExitError": _MEMORY,
    "Runtime.OutOfMemory": _MEMORY,
    "MemoryError": _MEMORY,
    "Lambda.Unknown": _MEMORY,
}


def stage_of(state: RunState) -> str:
    """Return the stage that a run in ``state`` is in, for example ``"convert"``."""
    return _STAGES.get(state, "")


def run_error(error: MillraceError, stage: str) -> RunError:
    """Return an error of ours as it stands on a run."""
    return RunError(type(error).__name__, error.code, str(error), stage)


def explain(name: str, cause: str, stage: str) -> RunError:
    """Translate what Step Functions says of a failed state.

    Parameters
    ----------
    name : str
        ``Error``: the class name of a Lambda function's exception, or a name like ``States.Timeout``.
    cause : str
        ``Cause``: for a Lambda function JSON with ``errorType`` and ``errorMessage``, else a text; may be
        empty. Answers of our workers add ``code``.
    stage : str
        Where it happened.
    """
    detail = _parse(cause)
    kind = str(detail.get("errorType") or name)
    message = str(detail.get("errorMessage") or "" if detail else cause)
    if message and (kind in _OURS or "code" in detail):
        # A stage notes its code on the run; without that, only the class is known. What is worth another try
        # is not noted: it ends a run when the retries are over.
        unnoted = "service-unavailable" if kind == "TransientError" else "unspecified"
        return RunError(kind, str(detail.get("code", unnoted)), message, stage)
    # The words first: by its name alone, Lambda.Unknown may be a time-out as well as a dead process.
    foreign = _by_text(message) or _FOREIGN.get(kind) or _FOREIGN.get(name)
    if foreign is not None:
        where = f" (stage {stage})" if stage else ""
        return RunError(kind, foreign.code, f"{foreign.what}{where}. {foreign.remedy}", stage)
    said = f"{kind}: {message}" if message else kind
    return RunError(
        kind,
        code="internal",
        message=f"The stage {stage or 'unknown'} failed unexpectedly ({said[:500]}). The file is untouched; "
        "look into the function's log by the run's identifier, or upload it again with the metadata "
        "force=true.",
        stage=stage,
    )


def _parse(cause: str) -> dict[str, Any]:
    try:
        value = json.loads(cause)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _by_text(message: str) -> _Foreign | None:
    """Lambda tells a time-out and a dead process only by its words, without a name of their own."""
    if "Task timed out after" in message:
        return _TIME
    if "Runtime exited" in message or "signal: killed" in message:
        return _MEMORY
    return None
