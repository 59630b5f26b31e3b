"""The stack whose chunks go through a Map: the same results and the same words for failures, and no stream.

``MILLRACE_FAN_OUT=map`` runs every other test of this folder against such a stack, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace import keys
from millrace.local.platform import Platform
from tests.platform.conftest import PARAMETERS, PENGUINS_FILE, PENGUINS_SPEC
from tests.platform.stack import Stack
from tests.platform.test_accidents import (
    test_a_chunk_that_exhausts_its_retries_fails_the_run_with_the_workers_words as fails_a_run,
)


@pytest.fixture(scope="module")
def mapped(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack without a stream; the one with it has built the template."""
    iam_log: Path = tmp_path_factory.mktemp("iam") / "decisions.jsonl"
    with Platform(tmp_path_factory.mktemp("platform"), auth=True, iam_log=iam_log) as platform:
        yield Stack(
            platform, platform.deploy(parameters={**PARAMETERS, "FanOut": "map", "RowsShardCount": "0"})
        )


def test_nothing_is_there_that_costs_while_idle(mapped: Stack) -> None:
    assert mapped.platform.client("kinesis").list_streams()["StreamNames"] == []
    assert mapped.outputs["IdlePrice"].startswith("2 x 0 x")


def test_an_upload_becomes_what_it_becomes_over_the_stream(
    stack: Stack, penguins: dict[str, Any], mapped: Stack, penguins_csv: bytes
) -> None:
    run = mapped.wait(mapped.upload("penguins", penguins_csv, file=PENGUINS_FILE, spec=PENGUINS_SPEC))
    assert (run["state"], run["version"], run["promoted"]) == ("SUCCEEDED", 1, True), run["error"]
    for name in ("metrics", "rows_read", "rows_kept", "rows_rejected", "target", "task"):
        assert run[name] == penguins[name]
    for key in (keys.schema, keys.profile):
        assert mapped.read(key(run["run"])) == stack.read(key(penguins["run"]))
    answer = mapped.post("/predict", {"model": "penguins", "rows": [{"Island": "Dream"}]})
    assert answer.status == 200, answer.text


def test_a_chunk_that_no_worker_can_do_fails_the_run(mapped: Stack) -> None:
    fails_a_run(mapped)


def test_each_worker_was_asked_once_by_an_execution_of_its_own(mapped: Stack) -> None:
    states = mapped.platform.client("stepfunctions")
    (machine,) = (one for one in states.list_state_machines()["stateMachines"] if "Chunk" in one["name"])
    found = states.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
    assert {one["name"].split("-")[-2] for one in found} >= {"profile", "convert"}
    assert {one["status"] for one in found} == {"SUCCEEDED"}, (
        "one that gives up on a chunk says so and ends well"
    )
