"""Step Functions: executions by name, and answers to tokens that nobody waits for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber
from moto import mock_aws

from millrace.aws.states import (
    MAP_ITEMS,
    StepFunctionsExecutions,
    StepFunctionsMap,
    StepFunctionsTasks,
)
from millrace.contracts import Descriptor
from millrace.errors import Misconfigured, TransientError
from millrace.fanout import spread
from tests.moto_clients import moto_client

TOKEN = "t" * 40


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield moto_client("stepfunctions")


@pytest.fixture
def executions(states: Any) -> StepFunctionsExecutions:
    definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
    arn = states.create_state_machine(
        name="run", definition=definition, roleArn="arn:aws:iam::123456789012:role/run"
    )["stateMachineArn"]
    return StepFunctionsExecutions(arn, states)


def test_starts_an_execution_once(executions: StepFunctionsExecutions) -> None:
    assert executions.status("cars-1-1") is None
    assert executions.start("cars-1-1", {"run_id": "cars-1"})
    assert executions.status("cars-1-1") == "RUNNING"


def test_an_execution_of_that_name_is_no_error(states: Any) -> None:
    executions = StepFunctionsExecutions("arn:aws:states:us-east-1:0:stateMachine:run", states)
    with Stubber(states) as stub:
        stub.add_client_error("start_execution", "ExecutionAlreadyExists")
        assert not executions.start("cars-1-1", {"run_id": "cars-1"})


def test_a_state_machine_that_is_not_there_is_misconfigured(states: Any) -> None:
    executions = StepFunctionsExecutions("arn:aws:states:us-east-1:123456789012:stateMachine:no", states)
    with pytest.raises(Misconfigured):
        executions.start("cars-1-1", {})


def started(states: Any, arn: str) -> list[dict[str, Any]]:
    """What each execution was given, in the order of the chunks."""
    found = states.list_executions(stateMachineArn=arn)["executions"]
    inputs = [
        json.loads(states.describe_execution(executionArn=one["executionArn"])["input"]) for one in found
    ]
    return sorted(inputs, key=lambda one: one["chunks"])


def test_a_map_gets_every_chunk_once_however_often_it_is_told(states: Any) -> None:
    definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
    arn = states.create_state_machine(
        name="chunks", definition=definition, roleArn="arn:aws:iam::123456789012:role/run"
    )["stateMachineArn"]
    many = spread([Descriptor("cars-1", "profile", chunk, "t1") for chunk in range(2 * MAP_ITEMS + 1)])
    chunks = StepFunctionsMap(StepFunctionsExecutions(arn, states))
    chunks.put(many)
    chunks.put(many)
    found = started(states, arn)
    assert [one["chunks"] for one in found] == [
        list(range(MAP_ITEMS)),
        list(range(MAP_ITEMS, 2 * MAP_ITEMS)),
        [2 * MAP_ITEMS],
    ]
    assert {(one["run_id"], one["pass_name"], one["token"]) for one in found} == {("cars-1", "profile", "t1")}
    chunks.put(spread([Descriptor("cars-1", "profile", 0, "t2")]))  # begun anew, under another token
    assert len(started(states, arn)) == 4


CALLS = {
    "succeed": ("send_task_success", ({"done": 1},), {"output": '{"done": 1}'}),
    "fail": ("send_task_failure", ("BadInput", "why"), {"error": "BadInput", "cause": "why"}),
    "heartbeat": ("send_task_heartbeat", (), {}),
}


@pytest.mark.parametrize("call", CALLS)
def test_answers_a_token(states: Any, call: str) -> None:
    api, arguments, expected = CALLS[call]
    with Stubber(states) as stub:
        stub.add_response(api, {}, {"taskToken": TOKEN, **expected})
        assert getattr(StepFunctionsTasks(states), call)(TOKEN, *arguments)
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
@pytest.mark.parametrize("call", CALLS)
def test_says_when_nobody_waits(states: Any, call: str, code: str) -> None:
    api, arguments, _ = CALLS[call]
    with Stubber(states) as stub:
        stub.add_client_error(api, code)
        assert not getattr(StepFunctionsTasks(states), call)(TOKEN, *arguments)


@pytest.mark.parametrize("call", CALLS)
def test_a_throttle_is_transient(states: Any, call: str) -> None:
    api, arguments, _ = CALLS[call]
    with Stubber(states) as stub:
        stub.add_client_error(api, "ThrottlingException", http_status_code=400)
        with pytest.raises(TransientError):
            getattr(StepFunctionsTasks(states), call)(TOKEN, *arguments)


def test_a_long_cause_is_cut_to_what_the_service_takes(states: Any) -> None:
    with Stubber(states) as stub:
        stub.add_response(
            "send_task_failure", {}, {"taskToken": TOKEN, "error": "e" * 256, "cause": "c" * 32768}
        )
        assert StepFunctionsTasks(states).fail(TOKEN, "e" * 300, "c" * 40_000)
