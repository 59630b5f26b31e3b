"""Rounds over shards: a run's linear candidate, fitted to all rows though training draws a part of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from millrace import keys
from millrace.contracts import read_schema
from millrace.errors import NotFound
from millrace.features import limits, search
from millrace.plan import read
from millrace.scoring.blocks import BlockScorer
from millrace.training import rounds
from millrace.training.newton import Exact
from millrace.training.stages import select_model, train
from tests.world import World

ROWS = 3_000
HEAD = b"size,colour,age,label\n"


def lines(task: str) -> bytes:
    rng = np.random.default_rng(0)
    found = []
    for number in range(ROWS):
        size, colour, age = rng.normal(), rng.choice(["red", "green", "blue"]), rng.integers(1, 90)
        raw = 2.0 * size + (colour == "red") - 0.02 * age + rng.logistic()
        label = {"binary": "yes" if raw > 0 else "no", "regression": f"{raw:.3f}"}.get(
            task, "low" if raw < -1 else "middle" if raw < 1 else "high"
        )
        cell = "" if number % 17 == 0 else str(age)
        found.append(f"{size:.4f},{colour},{cell},{label}\n".encode())
    return HEAD + b"".join(found)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of thousands of rows count as large, and have several shards."""
    quick = replace(limits.LIMITS["quick"], rows=500)
    monkeypatch.setattr("millrace.features.limits.LIMITS", {**limits.LIMITS, "quick": quick})
    for module in ("features.search", "training.stages", "training.train", "training.rounds"):
        if hasattr(__import__(f"millrace.{module}", fromlist=["LIMITS"]), "LIMITS"):
            monkeypatch.setattr(f"millrace.{module}.LIMITS", {**limits.LIMITS, "quick": quick})
    monkeypatch.setattr(search, "SHARD_ROWS", 512)
    monkeypatch.setattr(rounds, "SHARD_ROWS", 512)


def prepared(task: str, chunk_bytes: int) -> tuple[World, str]:
    world = World(width=1, max_chunk_bytes=chunk_bytes)
    spec = {"target": "label", "task": task, "budget": "quick"}
    world.data.put("datasets/cars/spec.json", json.dumps(spec).encode())
    return world, world.prepare(lines(task))


def through(world: World, run_id: str, *, lose: bool = False) -> Exact:
    state = rounds.begin_rounds(run_id, ("linear",), world.artifacts, world.runs)
    while not state["done"]:
        order = state["shards"][::-1] if lose else state["shards"]
        for shard in order:
            rounds.sum_shard(run_id, state["round"], shard, world.artifacts, world.runs)
        if lose:
            world.artifacts.delete(keys.exact_sums(run_id, state["round"], order[0]))
            rounds.sum_shard(run_id, state["round"], order[0], world.artifacts, world.runs)
        state = rounds.add_round(run_id, state["round"], world.artifacts, world.runs)
    found = rounds.exact_weights(run_id, world.artifacts)
    assert found is not None
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_weights_are_those_of_all_rows_that_are_not_held_out(task: str) -> None:
    world, run_id = prepared(task, 1 << 20)
    found = through(world, run_id)
    schema = read_schema(run_id, world.artifacts)
    run = world.runs.get(run_id)
    about = rounds.stored(world.artifacts, keys.exact(run_id, "rows.npz"))
    shards = [
        rounds.rows_of_shard(run, schema, shard, about["held_out"], world.artifacts)
        for shard in range(search.shards(ROWS))
    ]
    scorer = BlockScorer(read(world.artifacts.get(keys.exact(run_id, "features.plan"))))
    matrix = np.concatenate([scorer.encoded(table.columns) for table in shards])
    target = np.concatenate([table.target for table in shards])
    assert found.rows == len(matrix) == ROWS - len(about["held_out"])
    model = Ridge() if task == "regression" else LogisticRegression(tol=1e-12, max_iter=10_000)
    model.fit(matrix, target)
    expected = np.column_stack([np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)])
    np.testing.assert_allclose(found.weights["linear"], expected, rtol=1e-3, atol=1e-4)
    assert found.rounds <= 5


@pytest.mark.usefixtures("small")
def test_cuts_orders_and_lost_workers_change_no_bit() -> None:
    whole, pieces = (
        through(*prepared("binary", size), lose=lose).weights["linear"]
        for size, lose in ((1 << 20, False), (9_000, True))
    )
    assert whole.tobytes() == pieces.tobytes()


@pytest.mark.usefixtures("small")
def test_sums_that_are_there_are_left_alone() -> None:
    world, run_id = prepared("binary", 1 << 20)
    state = rounds.begin_rounds(run_id, ("linear",), world.artifacts, world.runs)
    assert len(state["shards"]) == 6
    rounds.sum_shard(run_id, 0, 2, world.artifacts, world.runs)
    before = len(world.artifacts.writes)  # type: ignore[attr-defined]
    rounds.sum_shard(run_id, 0, 2, world.artifacts, world.runs)
    assert len(world.artifacts.writes) == before  # type: ignore[attr-defined]


@pytest.mark.usefixtures("small")
def test_a_round_is_not_added_up_without_all_of_its_shards() -> None:
    world, run_id = prepared("regression", 1 << 20)
    rounds.begin_rounds(run_id, ("linear",), world.artifacts, world.runs)
    rounds.sum_shard(run_id, 0, 0, world.artifacts, world.runs)
    with pytest.raises(NotFound):
        rounds.add_round(run_id, 0, world.artifacts, world.runs)
    assert rounds.exact_weights(run_id, world.artifacts) is None


@pytest.mark.usefixtures("small")
def test_too_many_weights_make_no_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MAX_PARAMETERS", 3)
    world, run_id = prepared("binary", 1 << 20)
    state = rounds.begin_rounds(run_id, ("linear",), world.artifacts, world.runs)
    assert state == {"round": 0, "shards": [], "done": True}


@pytest.mark.usefixtures("small")
@pytest.mark.slow
def test_rounds_that_do_not_end_are_told() -> None:
    world, run_id = prepared("binary", 1 << 20)
    work = world.collect(run_id)
    assert work.exact == ("linear",)
    for unit in work.units:
        train(run_id, unit, world.artifacts, world.runs)

    def told() -> bool:
        select_model(run_id, world.artifacts, world.runs)
        notes = json.loads(world.artifacts.get(keys.evaluation(run_id)))["notes"]
        return any("could not be fitted to all rows" in note for note in notes)

    assert told()
    through(world, run_id)
    assert not told()
