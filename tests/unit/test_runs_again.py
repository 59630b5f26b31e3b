"""Training again: on demand whatever is there, on a schedule what has changed."""

from __future__ import annotations

import pytest

from millrace import keys
from millrace.contracts import Run
from millrace.errors import BadInput, MillraceError, NotFound
from millrace.registry.register import code_version
from millrace.registry.registry import Registry
from millrace.registry.versions import Lineage
from millrace.runs.again import train_again, train_changed
from tests.unit.test_registry import PLAN, draft
from tests.world import CARS, World


class Trained(World):
    """A dataset whose file has become version 1."""

    def __init__(self, code: str | None = None) -> None:
        super().__init__()
        self.last = self.upload(CARS)
        lineage = Lineage("", "", "", 0, {}, "", code or code_version())
        Registry(self.artifacts).register(draft(self.last.run_id, model="cars", lineage=lineage), PLAN)
        self.runs.update(self.last.run_id, state="SUCCEEDED", model="cars", version=1)
        self.runs.record_success(self.last.run_id)
        self.refused: list[tuple[str, str]] = []

    def again(self, occasion: str = "one", dataset: str = "cars") -> Run:
        return train_again(
            dataset,
            occasion=occasion,
            data=self.data,
            runs=self.runs,
            executions=self.executions,
            max_file_bytes=self.max_file_bytes,
        )

    def on_schedule(self, occasion: str = "tick") -> dict[str, str]:
        def failed(dataset: str, error: MillraceError) -> None:
            self.refused.append((dataset, error.code))

        return train_changed(
            occasion=occasion,
            data=self.data,
            artifacts=self.artifacts,
            runs=self.runs,
            executions=self.executions,
            max_file_bytes=self.max_file_bytes,
            failed=failed,
        )

    def spec(self, text: bytes) -> None:
        self.data.put(keys.spec("cars"), text)


def test_on_demand_the_same_file_is_trained_on_again_with_the_spec_of_today() -> None:
    world = Trained()
    world.spec(b'{"seed": 7}')
    run = world.again()
    assert (run.key, run.version_id, run.state) == (world.last.key, world.last.version_id, "QUEUED")
    assert (run.run_id != world.last.run_id, run.forced, run.spec.seed) == (True, True, 7)
    assert world.again().run_id == run.run_id
    assert world.again("two").run_id != run.run_id
    assert len(world.executions.started) == 3, "the first run, and one for each occasion"


def test_a_spec_that_cannot_be_used_fails_the_run_and_nothing_to_train_on_is_refused() -> None:
    world = Trained()
    world.spec(b'{"seed": -1}')
    run = world.again()
    assert run.error is not None
    assert (run.state, run.error.code) == ("FAILED", "spec-invalid")
    with pytest.raises(NotFound) as unknown:
        world.again(dataset="cats")
    assert unknown.value.code == "dataset-untrained"
    world.data.delete(world.last.key)
    with pytest.raises(BadInput) as gone:
        world.again("later")
    assert gone.value.code == "base-gone"


def test_a_schedule_trains_again_what_has_changed_and_nothing_else() -> None:
    world = Trained()
    world.data.put("datasets/new/spec.json", b"{}")  # a dataset without a run
    assert world.on_schedule() == {}
    world.spec(b'{"seed": 7}')
    begun = world.on_schedule()
    assert list(begun) == ["cars"]
    assert world.on_schedule() == begun, "an event that comes twice is one run"
    world.spec(b'{"seed": 7, "retrain_on_schedule": false}')
    assert world.on_schedule("next") == {}
    world.spec(b"{")
    assert world.on_schedule("next") == {}
    assert world.refused == [("cars", "spec-invalid")]


def test_a_schedule_trains_again_when_the_code_is_another() -> None:
    assert list(Trained("0.0.9+0123456789abcdef").on_schedule()) == ["cars"]
