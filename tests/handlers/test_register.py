"""register, the real handler, on moto."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace import keys
from millrace.aws.objects import S3Store
from millrace.aws.runs import DynamoRunStore
from millrace.errors import BadInput
from millrace.registry.registry import Registry
from tests.fakes import Context, MemoryRunStore
from tests.handlers.test_manage import aws, load
from tests.unit.test_registry import finished_run

__all__ = ["aws"]

EVENT = json.loads((Path(__file__).resolve().parents[2] / "events/register.run.json").read_text())
RUN_ID: str = EVENT["run_id"]


def prepare(**changes: object) -> tuple[S3Store, DynamoRunStore]:
    """Leave behind what the stages before left."""
    artifacts, runs, memory = S3Store("artifacts"), DynamoRunStore("runs"), MemoryRunStore()
    finished_run(artifacts, memory, RUN_ID, **changes)
    runs.open(memory.runs[RUN_ID])
    return artifacts, runs


@pytest.mark.usefixtures("aws")
def test_register_twice() -> None:
    artifacts, runs = prepare()
    handler = load("register").handler
    first = handler(EVENT, Context())
    assert first == handler(EVENT, Context())
    assert (first["model"], first["version"], first["promoted"]) == ("demo", 1, True)
    run = runs.get(RUN_ID, full=True)
    assert (run.state, run.model, run.version, run.promoted) == ("REGISTERING", "demo", 1, True)
    assert [usage.invocations for usage in run.usage if usage.function == "register"] == [2]
    assert artifacts.get(keys.version("demo", 1, "report.html")) == b"<html>"
    assert artifacts.get(keys.version("demo", 1, "report.json")) == b"{}"
    assert Registry(artifacts).numbers("demo") == [1]


@pytest.mark.usefixtures("aws")
def test_refusal_is_noted_on_the_run() -> None:
    _, runs = prepare(parity={"rows": 2, "max_difference": 0.5, "limit": 1e-9, "passed": False})
    with pytest.raises(BadInput):
        load("register").handler(EVENT, Context())
    error = runs.get(RUN_ID).error
    assert error is not None
    assert (error.code, error.stage) == ("parity-failed", "register")
