"""select, the real handler, on moto."""

from __future__ import annotations

import json

import pytest

from millrace import keys, plan
from millrace.errors import BadInput
from millrace.training import turns
from tests.fakes import Context
from tests.handlers.test_manage import aws, load
from tests.handlers.test_train import EVENTS, LINEAR, prepared
from tests.infra.template import ROOT

__all__ = ["aws"]

PENGUINS = ROOT / "examples" / "penguins" / "penguins.csv"
BOOSTED = {"part": 0, "candidates": ["boosted_trees"], "folds": [0, 1, 2]}
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


class Ticks:
    """A clock that every look moves on, so that no machine is too fast or too slow; a context's time, too."""

    TICK_S = 0.02

    def __init__(self) -> None:
        self.now_s = 0.0

    def perf_counter(self) -> float:
        self.now_s += self.TICK_S
        return self.now_s


class Ticking(Context):
    """The context of an invocation that began when it was made."""

    def __init__(self, clock: Ticks) -> None:
        super().__init__()
        self._clock, self._began_s = clock, clock.now_s

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms - round(1000 * (self._clock.perf_counter() - self._began_s))


@pytest.mark.slow
@pytest.mark.usefixtures("aws")
def test_with_a_limit_of_a_fraction_of_a_second_invocations_go_on_from_each_other_to_the_same_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, run_id = prepared(PENGUINS.read_bytes(), "penguins", "Species")
    clock = Ticks()
    monkeypatch.setattr(turns, "time", clock)
    plans, invocations = [], []
    for seconds in ("0.2", "880"):
        monkeypatch.setenv("MILLRACE_TRAIN_SECONDS", seconds)
        for verb, event in (("train", {"unit": BOOSTED}), ("select", {})):
            handler, answer = load(verb).handler, {"done": False, "next": 0}
            while not answer["done"]:
                answer = handler({"run_id": run_id, "turn": answer["next"], **event}, Ticking(clock))
            invocations.append(answer["next"])
        plans.append(world.artifacts.get(answer["plan"]))
        for key in list(world.artifacts.list(keys.run(run_id, "turns/"))):
            world.artifacts.delete(key)
    assert min(invocations[:2]) > 1
    assert invocations[2:] == [1, 1]
    assert plans[0] == plans[1]
    # Struck are those that this test does not train.
    assert "boosted_trees" not in plan.read(plans[0]).header["about"]["struck"]


@pytest.mark.usefixtures("aws")
def test_without_a_candidate_the_run_notes_why() -> None:
    world, run_id = prepared()
    with pytest.raises(BadInput):
        load("select").handler(EVENT | {"run_id": run_id}, Context())
    error = world.runs.get(run_id).error
    assert error is not None
    assert (error.code, error.stage) == ("no-candidate", "select")
    assert keys.run_plan(run_id) not in list(world.artifacts.list(keys.run(run_id)))
