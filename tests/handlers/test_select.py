"""select, the real handler, on moto."""

from __future__ import annotations

import json

import pytest

from millrace import keys, plan
from millrace.errors import BadInput
from tests.fakes import Context
from tests.handlers.test_manage import aws, load
from tests.handlers.test_train import EVENTS, LINEAR, prepared

__all__ = ["aws"]

EVENT = json.loads((EVENTS / "select.run.json").read_text("utf-8"))


@pytest.mark.usefixtures("aws")
def test_select_leaves_a_plan_and_an_evaluation() -> None:
    world, run_id = prepared()
    load("train").handler({"run_id": run_id, "unit": LINEAR}, Context())
    answer = load("select").handler(EVENT | {"run_id": run_id}, Context())
    run = world.runs.get(run_id)
    evaluation = json.loads(world.artifacts.get(answer["evaluation"]))
    assert answer["chosen"] == evaluation["chosen"] == "linear"
    assert plan.read(world.artifacts.get(answer["plan"])).model == "cars"
    assert (run.state, run.rows_trained) == ("SELECTING", 96)
    assert run.metrics == pytest.approx(evaluation["metrics"])
    assert run.error is None


@pytest.mark.usefixtures("aws")
def test_without_a_candidate_the_run_notes_why() -> None:
    world, run_id = prepared()
    with pytest.raises(BadInput):
        load("select").handler(EVENT | {"run_id": run_id}, Context())
    error = world.runs.get(run_id).error
    assert error is not None
    assert (error.code, error.stage) == ("no-candidate", "select")
    assert keys.run_plan(run_id) not in list(world.artifacts.list(keys.run(run_id)))
