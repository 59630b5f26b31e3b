"""Step Functions: executions of the state machine, and answers to its task tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from millrace.aws.clients import client
from millrace.aws.errors import error_code, translated

__all__ = ["StepFunctionsExecutions", "StepFunctionsMap", "StepFunctionsTasks"]

MAP_ITEMS = 1000
"""Chunks of one execution of the Map: each takes about 7 of the 25,000 events that its history may have, and
more when it is tried again."""

_GONE = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})


class StepFunctionsExecutions:
    """Executions of one state machine.

    Parameters
    ----------
    state_machine_arn : str
        Its ARN.
    states : botocore client, optional
        Built on first use when absent.
    """

    def __init__(self, state_machine_arn: str, states: Any = None) -> None:
        self._arn = state_machine_arn
        self._given = states

    @property
    def _states(self) -> Any:
        return self._given if self._given is not None else client("stepfunctions")

    def start(self, name: str, data: Mapping[str, Any]) -> bool:
        """Start the execution called ``name``; ``False`` when there was one of that name already.

        Names stay taken for 90 days, which makes them the de-duplication. (While an execution of that
        name and input still runs, AWS answers a second start as if it had just begun.)
        """
        with translated(f"execution {name}"):
            try:
                self._states.start_execution(stateMachineArn=self._arn, name=name, input=json.dumps(data))
            except self._states.exceptions.ClientError as error:
                if error_code(error) == "ExecutionAlreadyExists":
                    return False
                raise
        return True

    def status(self, name: str) -> str | None:
        """Return ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT``, ``ABORTED``; ``None`` if unknown."""
        arn = f"{self._arn.replace(':stateMachine:', ':execution:')}:{name}"
        with translated(f"execution {name}"):
            try:
                answer = self._states.describe_execution(executionArn=arn)
            except self._states.exceptions.ClientError as error:
                if error_code(error) == "ExecutionDoesNotExist":
                    return None
                raise
        status: str = answer["status"]
        return status


class StepFunctionsMap:
    """Executions of a state machine that hands chunks to workers: a stream of descriptors without a stream.

    Parameters
    ----------
    executions : StepFunctionsExecutions
        Of that state machine.
    """

    def __init__(self, executions: StepFunctionsExecutions) -> None:
        self._executions = executions

    def put(self, records: Iterable[tuple[bytes, str, str]]) -> None:
        """Start executions for descriptors, given as records of a stream; their keys mean nothing here.

        An execution is named by what it is about, so that starting it again changes nothing.

        Raises
        ------
        TransientError
            Step Functions refuses for the moment; the call may be repeated as it is.
        """
        passes: dict[tuple[str, str, str], list[int]] = {}
        for data, _, _ in records:
            found = json.loads(data)
            passes.setdefault((found["run_id"], found["pass_name"], found["token"]), []).append(
                found["chunk"]
            )
        for (run_id, pass_name, token), chunks in passes.items():
            for start in range(0, len(chunks), MAP_ITEMS):
                part = chunks[start : start + MAP_ITEMS]
                digest = hashlib.sha256(f"{run_id} {pass_name} {token} {part}".encode()).hexdigest()
                self._executions.start(
                    f"{run_id[:48]}-{pass_name}-{digest[:16]}",
                    {"run_id": run_id, "pass_name": pass_name, "token": token, "chunks": part},
                )


class StepFunctionsTasks:
    """Answers to task tokens.

    Each method returns ``False`` when nobody waits for the token any more: the task has been answered,
    has timed out, or its execution is over. That is normal for a replayed record.
    """

    def __init__(self, states: Any = None) -> None:
        self._given = states

    def succeed(self, token: str, output: Mapping[str, Any]) -> bool:
        """End the task with ``output``."""
        return self._send("send_task_success", token, output=json.dumps(output))

    def fail(self, token: str, error: str, cause: str) -> bool:
        """End the task with an error's name (at most 256 characters) and cause (at most 32,768)."""
        return self._send("send_task_failure", token, error=error[:256], cause=cause[:32768])

    def heartbeat(self, token: str) -> bool:
        """Say that the task is still worked on."""
        return self._send("send_task_heartbeat", token)

    def _send(self, call: str, token: str, **answer: str) -> bool:
        states = self._given if self._given is not None else client("stepfunctions")
        with translated("task token"):
            try:
                getattr(states, call)(taskToken=token, **answer)
            except states.exceptions.ClientError as error:
                if error_code(error) in _GONE:
                    return False
                raise
        return True
