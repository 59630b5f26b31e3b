"""A large file's way to its chunks: looked through in parallel, or unpacked and cut on the way."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest

from millrace import keys
from tests.platform.stack import Stack

ROWS = b"town,amount\r\n" + b"".join(
    b'"Z\xc3\xbcrich, ""%d""\r\nnorth",%d\r\n' % (n, n) for n in range(12_000)
)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_that_counts_as_large_is_cut_where_its_records_end(stack: Stack, packed: bool) -> None:
    dataset = "cut-packed" if packed else "cut-plain"
    spec = {"target": "nowhere"}  # the run ends once the file is profiled
    data = gzip.compress(ROWS) if packed else ROWS
    small = stack.wait(stack.upload(dataset, data, spec=spec))
    assert small["error"]["stage"] == "decide", small["error"]
    run = replace(stack.runs.get(small["run"]), run_id=f"{dataset}-large", state="QUEUED", error=None)
    assert stack.runs.open(replace(run, progress={}, usage=()))
    stack.platform.client("stepfunctions").start_execution(
        stateMachineArn=stack.outputs["StateMachineArn"],
        name=f"{run.run_id}-1",
        input=json.dumps({"run_id": run.run_id, "kind": "train", "size_bytes": 1 << 40}),
    )
    large = stack.wait(run.run_id)
    assert large["error"] == small["error"]
    progress = stack.runs.get(run.run_id).progress
    chunks = json.loads(stack.read(keys.layout(run.run_id)))["chunks"]
    assert len(chunks) > 8, "more than the window"
    assert progress["profile"].done == len(chunks)
    assert ("scan" in progress) is not packed
    assert stack.read(keys.profile(run.run_id)) == stack.read(keys.profile(small["run"]))
    starts = [chunk["start"] for chunk in chunks]
    assert {ROWS[start : start + 2] for start in starts} == {b'"Z'}
