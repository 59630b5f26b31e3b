"""What goes wrong beside the file itself: a chunk that no worker can do, and an execution that is gone."""

from __future__ import annotations

import json
import time
from typing import Any

from millrace import keys
from millrace.contracts import Chunk, Dialect, Layout, Run, RunState, encode
from millrace.runs.progress import utc_now
from tests.platform.stack import WAIT_S, Stack


def open_run(stack: Stack, name: str, state: RunState = "QUEUED", **changes: Any) -> str:
    """Open a run as ingest does, but start nothing."""
    now = utc_now()
    run = Run(
        run_id=f"{name}-000000000000",
        dataset=name,
        bucket=stack.data_bucket,
        key=f"datasets/{name}/table.csv",
        version_id="",
        etag="",
        size_bytes=4,
        state=state,
        created_at=now,
        updated_at=now,
        **changes,
    )
    assert stack.runs.open(run)
    return run.run_id


def lay_out(stack: Stack, run_id: str, text: bytes, *, end: int) -> None:
    """Write the layout that fan_out would find from an earlier attempt."""
    layout = Layout(
        bucket=stack.artifact_bucket,
        key=keys.source(run_id),
        version_id="",
        size_bytes=end,
        dialect=Dialect(),
        names=("a", "b"),
        chunks=(Chunk(0, 4, end, 2, 0),),
    )
    stack.s3.put_object(Bucket=stack.artifact_bucket, Key=keys.source(run_id), Body=text)
    stack.s3.put_object(
        Bucket=stack.artifact_bucket, Key=keys.layout(run_id), Body=json.dumps(encode(layout)).encode()
    )


def test_a_chunk_that_exhausts_its_retries_fails_the_run_with_the_workers_words(stack: Stack) -> None:
    run_id = open_run(stack, "poison")
    lay_out(stack, run_id, b"a,b\n1,2\n", end=400)  # the chunk is longer than the file
    states = stack.platform.client("stepfunctions")
    states.start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"],
        name=f"{run_id}-1",
        input=json.dumps({"run_id": run_id}),
    )
    run = stack.wait(run_id)
    assert run["state"] == "FAILED"
    assert run["error"]["stage"] == "profile"
    assert run["error"]["code"] == "internal"
    assert "Chunk 0 failed unexpectedly: ValueError" in run["error"]["message"]
    if "StreamName" in stack.outputs:
        assert stack.keys(keys.FAILURES), "the discarded record is kept"
    assert json.loads(stack.read(keys.chunk_error(run_id, "profile", 0)))["type"] == "ValueError"
    assert execution(stack, f"{run_id}-1") == "FAILED"


def test_a_run_whose_execution_is_gone_goes_on_as_the_next_attempt(stack: Stack) -> None:
    run_id = open_run(stack, "lost", "TRAINING")
    lay_out(stack, run_id, b"a,b\n1,2\n", end=8)
    answer = stack.platform.invoke("reconcile", {"quiet_s": 0})
    assert not answer.error, answer
    assert answer.payload["runs"][run_id] == "restarted"
    run = stack.wait(run_id)
    assert run["state"] == "FAILED"
    assert run["error"]["stage"] == "decide", "one row is too few to learn from"
    assert stack.runs.get(run_id).attempt == 2
    assert stack.executions(run_id) == [f"{run_id}-2"]


def test_a_file_that_is_gone_fails_the_run_without_a_retry(stack: Stack) -> None:
    run_id = open_run(stack, "gone")
    lay_out(stack, run_id, b"a,b\n1,2\n", end=8)
    stack.s3.delete_object(Bucket=stack.artifact_bucket, Key=keys.source(run_id))
    stack.platform.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"],
        name=f"{run_id}-1",
        input=json.dumps({"run_id": run_id}),
    )
    run = stack.wait(run_id)
    assert (run["state"], run["error"]["stage"]) == ("FAILED", "profile")
    assert keys.source(run_id) in run["error"]["message"]


def execution(stack: Stack, name: str) -> str:
    """Return how an execution ended; it ends a moment after its run."""
    arn = f"{stack.outputs['StateMachineArn'].replace(':stateMachine:', ':execution:')}:{name}"
    states = stack.platform.client("stepfunctions")
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        status: str = states.describe_execution(executionArn=arn)["status"]
        if status != "RUNNING":
            return status
        time.sleep(0.1)
    raise AssertionError(f"execution {name} did not end")
