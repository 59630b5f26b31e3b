"""What a state machine learns of a function that fails."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.contract.local.conftest import ROLE, Function, Workshop, eventually

pytestmark = pytest.mark.platform


def run(workshop: Workshop, states: dict[str, Any], start: str, data: Any = None) -> dict[str, Any]:
    """Run a state machine to its end."""
    client = workshop.platform.client("stepfunctions")
    machine = client.create_state_machine(
        name=f"m-{uuid.uuid4().hex[:12]}",
        definition=json.dumps({"StartAt": start, "States": states}),
        roleArn=ROLE,
    )["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=machine, input=json.dumps(data or {}))["executionArn"]

    def ended() -> dict[str, Any] | None:
        described: dict[str, Any] = client.describe_execution(executionArn=execution)
        return described if described["status"] != "RUNNING" else None

    result: dict[str, Any] = eventually(ended)
    return result


def task(function: Function, *, wait: bool = False, payload: Any = None, **fields: Any) -> dict[str, Any]:
    resource = "arn:aws:states:::lambda:invoke" + (".waitForTaskToken" if wait else "")
    return {
        "Type": "Task",
        "Resource": resource,
        "Parameters": {"FunctionName": function.arn, "Payload": payload or {"a": 1}},
        "End": True,
        **fields,
    }


RAISES = """
class TransientError(Exception):
    pass

def handler(event, context):
    note("tried")
    raise TransientError("again")
"""


@pytest.mark.parametrize("wait", [False, True], ids=["plain", "waitForTaskToken"])
def test_an_error_is_retried_and_caught_by_its_name(workshop: Workshop, wait: bool) -> None:
    function = workshop.function(RAISES)
    retry = {
        "ErrorEquals": ["TransientError"],
        "MaxAttempts": 2,
        "IntervalSeconds": 0,
        "JitterStrategy": "FULL",
    }
    catch = [
        {"ErrorEquals": ["ValueError"], "Next": "Wrong"},
        {"ErrorEquals": ["TransientError"], "ResultPath": "$.error", "Next": "Caught"},
    ]
    states = {
        "Task": task(function, wait=wait, Retry=[retry], Catch=catch),
        "Wrong": {"Type": "Fail"},
        "Caught": {"Type": "Pass", "End": True},
    }
    ended = run(workshop, states, "Task", {"run_id": "r"})
    assert ended["status"] == "SUCCEEDED"
    output = json.loads(ended["output"])
    assert output["run_id"] == "r"
    assert output["error"]["Error"] == "TransientError"
    assert json.loads(output["error"]["Cause"])["errorMessage"] == "again"
    assert function.events() == ["tried"] * 3


@pytest.mark.parametrize("wait", [False, True], ids=["plain", "waitForTaskToken"])
def test_an_error_that_nobody_catches_fails_the_execution(workshop: Workshop, wait: bool) -> None:
    function = workshop.function("def handler(event, context): os._exit(1)")
    ended = run(workshop, {"Task": task(function, wait=wait)}, "Task")
    assert (ended["status"], ended["error"]) == ("FAILED", "Runtime.ExitError")


def test_a_functions_timeout_has_its_name(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): time.sleep(20)", timeout_s=1)
    ended = run(workshop, {"Task": task(function)}, "Task")
    assert (ended["status"], ended["error"]) == ("FAILED", "Sandbox.Timedout")


def test_a_task_token_is_answered(workshop: Workshop) -> None:
    function = workshop.function(
        """
        import boto3

        def handler(event, context):
            boto3.client("stepfunctions").send_task_success(taskToken=event["token"], output='{"answer": 42}')
        """
    )
    state = task(function, wait=True, payload={"token.$": "$$.Task.Token"})
    ended = run(workshop, {"Task": state}, "Task")
    assert json.loads(ended["output"]) == {"answer": 42}


def test_a_task_token_without_a_heartbeat_times_out(workshop: Workshop) -> None:
    function = workshop.function("def handler(event, context): note(event)")
    ended = run(workshop, {"Task": task(function, wait=True, HeartbeatSeconds=1, TimeoutSeconds=60)}, "Task")
    assert (ended["status"], ended["error"]) == ("FAILED", "States.HeartbeatTimeout")


def test_heartbeats_keep_a_task_alive(workshop: Workshop) -> None:
    function = workshop.function(
        """
        import boto3

        states = boto3.client("stepfunctions")

        def handler(event, context):
            if event == "warm up":
                return
            for _ in range(8):
                time.sleep(0.5)
                states.send_task_heartbeat(taskToken=event["token"])
            states.send_task_success(taskToken=event["token"], output='"done"')
        """
    )
    function.invoke("warm up")
    state = task(
        function, wait=True, payload={"token.$": "$$.Task.Token"}, HeartbeatSeconds=3, TimeoutSeconds=60
    )
    assert run(workshop, {"Task": state}, "Task")["status"] == "SUCCEEDED"


def test_a_map_runs_its_items_together_and_keeps_their_order(workshop: Workshop) -> None:
    function = workshop.function(
        """
        def handler(event, context):
            meet("map", 4)
            if event["item"] == 2:
                raise ValueError("two")
            return event["item"] * 10
        """
    )
    inner = task(
        function,
        payload={"item.$": "$.item"},
        OutputPath="$.Payload",
        Catch=[{"ErrorEquals": ["ValueError"], "ResultPath": "$.error", "Next": "Noted"}],
    )
    states = {
        "Map": {
            "Type": "Map",
            "ItemsPath": "$.items",
            "ItemSelector": {"item.$": "$$.Map.Item.Value"},
            "ItemProcessor": {
                "ProcessorConfig": {"Mode": "INLINE"},
                "StartAt": "Task",
                "States": {"Task": inner, "Noted": {"Type": "Pass", "Result": "caught", "End": True}},
            },
            "End": True,
        }
    }
    ended = run(workshop, states, "Map", {"items": [1, 2, 3, 4]})
    assert json.loads(ended["output"]) == [10, "caught", 30, 40]
