"""Losses, weights and groups: what a spec asks for is what models learn, and what is served."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from millrace import keys, plan
from millrace.compiler import certified
from millrace.contracts import Loss, Schema, Spec
from millrace.features.blocks import Table
from millrace.features.candidates import CANDIDATES, candidate_names
from millrace.features.limits import LIMITS
from millrace.features.search import Unit
from millrace.training.baselines import naive_prediction
from millrace.training.frame import to_frame
from millrace.training.pipeline import Encoded, Learner, predict
from millrace.training.stages import select_model, train
from millrace.training.train import cut, rows_of, split
from tests.learning import make_table, table_of
from tests.world import World

ROWS = 900
LATER = 300


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def claims(rng: np.random.Generator, loss: Loss, quantile: float | None = None) -> tuple[Table, Schema]:
    """Return a table whose target has a skewed distribution around a mean that can be learned."""
    x, colour = rng.uniform(-1, 1, ROWS), np.array(["red", "blue"], dtype=object)[rng.integers(0, 2, ROWS)]
    mean = np.exp(1.0 + x + 0.5 * (colour == "red"))
    target = rng.gamma(1.5, mean / 1.5)
    if loss == "poisson":
        target = rng.poisson(mean).astype(float)
    if loss == "tweedie":
        target = np.where(rng.random(ROWS) < 0.4, 0.0, target)
    table, schema = make_table(
        {"x": ("number", x), "colour": ("category", colour)}, target, task="regression"
    )
    label = replace(schema.column("label"), minimum=float(target.min()))
    columns = (*schema.columns[:-1], label)
    return table, replace(schema, columns=columns, loss=loss, quantile=quantile)


@pytest.mark.parametrize(
    ("loss", "quantile"),
    [
        ("absolute", None),
        ("quantile", 0.9),
        ("quantile", 0.25),
        ("poisson", None),
        ("gamma", None),
        ("tweedie", None),
    ],
)
def test_a_model_predicts_what_the_loss_asks_for_and_a_plan_serves_it(
    rng: np.random.Generator, loss: Loss, quantile: float | None
) -> None:
    table, schema = claims(rng, loss, quantile)
    frame = to_frame(table, schema)
    first, later = np.arange(ROWS - LATER), np.arange(ROWS - LATER, ROWS)
    truth = table.target[later]
    names = candidate_names(schema, "standard", ROWS)
    assert len(names) >= 3
    for name in (name for name in names if name in ("linear", "boosted_trees", "log_linear")):
        fitted = Learner(name, schema, LIMITS["quick"], 0).pipeline(rows_of(table, schema, frame, first))
        said = predict(fitted, frame.iloc[later], schema)
        if loss == "quantile":
            assert np.mean(truth <= said) == pytest.approx(quantile, abs=0.08), name
        elif loss == "absolute":
            if CANDIDATES[name].kind == "boosted":
                assert np.mean(truth <= said) == pytest.approx(0.5, abs=0.08), name
        else:
            assert said.min() >= 0.0, name
            assert said.sum() == pytest.approx(truth.sum(), rel=0.15), name
        _, parity = certified(fitted, schema=schema, model="m", frame=frame.iloc[later])
        assert parity.passed, name


def test_what_cannot_predict_a_quantile_or_only_what_is_not_negative_is_not_trained() -> None:
    _, schema = claims(np.random.default_rng(0), "poisson")

    def kinds(schema: Schema, rows: int = 5_000) -> set[str]:
        return {CANDIDATES[name].kind for name in candidate_names(schema, "thorough", rows)}

    assert kinds(schema) == {"log_linear", "boosted", "forest", "extra_trees"}
    quantile = replace(schema, loss="quantile", quantile=0.5)
    assert kinds(quantile) == {"boosted"}
    assert kinds(quantile, 2_000) == {"boosted", "linear"}
    assert "linear" in kinds(replace(schema, loss="absolute"))


def test_the_naive_prediction_is_the_best_constant_of_the_loss(rng: np.random.Generator) -> None:
    _, schema = claims(rng, "squared")
    target = rng.gamma(1.0, 5.0, 101)
    assert naive_prediction(schema, target, 2)[0] == pytest.approx(target.mean())
    assert naive_prediction(replace(schema, loss="absolute"), target, 2)[0] == pytest.approx(
        np.median(target)
    )
    high = naive_prediction(replace(schema, loss="quantile", quantile=0.9), target, 2)[0]
    assert np.mean(target <= high) == pytest.approx(0.9, abs=0.01)


def labelled(rng: np.random.Generator, **columns: NDArray[Any]) -> tuple[Table, Schema]:
    x = rng.normal(size=ROWS)
    target = (x + rng.normal(size=ROWS) > 1.6).astype(np.int32)
    return make_table(
        {"x": ("number", x), **{name: ("number", values) for name, values in columns.items()}},
        target,
        task="binary",
        classes=("no", "yes"),
    )


@pytest.mark.parametrize("name", [each.name for each in CANDIDATES.values() if "binary" in each.tasks])
def test_classes_count_as_they_come_unless_they_are_to_be_balanced(
    rng: np.random.Generator, name: str
) -> None:
    table, schema = labelled(rng)
    frame = to_frame(table, schema)
    share = float(table.target.mean())
    assert share < 0.2
    means = []
    for asked in (schema, replace(schema, class_weight="balanced")):
        rows = rows_of(table, asked, frame, np.arange(ROWS))
        fitted = Learner(name, asked, LIMITS["quick"], 0).pipeline(rows)
        means.append(float(predict(fitted, frame, asked)[:, 1].mean()))
    assert means[0] == pytest.approx(share, abs=0.04), "probabilities are shares of rows"
    # An isotonic or sigmoid calibration of its own keeps support vectors from showing it fully.
    assert means[1] > means[0] + 0.05


@pytest.mark.parametrize("name", [each.name for each in CANDIDATES.values() if "regression" in each.tasks])
def test_a_row_that_weighs_nothing_is_not_learned_from(rng: np.random.Generator, name: str) -> None:
    table, schema = claims(rng, "squared")
    spoilt = rng.random(ROWS) < 0.3
    table = replace(table, target=np.where(spoilt, 500.0, table.target))
    table.columns["w"] = np.where(spoilt, 0.0, 1.0)
    table.columns["w"][:1] = np.nan
    weight = replace(schema.column("x"), name="w", index=3, role="weight")
    schema = replace(schema, columns=(*schema.columns, weight), weight_column="w")
    frame = to_frame(table, schema)
    assert list(frame) == ["x", "colour"]
    rows = rows_of(table, schema, frame, np.arange(ROWS))
    assert rows.weight is not None and rows.weight[0] == 0.0 and rows.weight.mean() == pytest.approx(1.0)
    fitted = Learner(name, schema, LIMITS["quick"], 0).pipeline(rows)
    said = predict(fitted, frame, schema)
    assert said.mean() < 12.0, "those of the rows that count have a mean of about 4"


def grouped(rng: np.random.Generator) -> bytes:
    """Return a table in which only the customer, known by a number of his own, says the target."""
    lines = ["customer,height,noise,weight,y"]
    for customer in range(60):
        height, y = rng.random(), rng.random()
        lines += [f"c{customer % 60:03d},{height:.6f},{rng.random():.3f},{1 + customer % 3},{y:.4f}"] * 8
    return ("\n".join([lines[0], *rng.permutation(lines[1:])]) + "\n").encode()


def test_a_group_is_never_on_both_sides_of_hold_out_folds_or_early_stopping(rng: np.random.Generator) -> None:
    data = grouped(rng)
    spec = Spec(target="y", group_column="customer", weight_column="weight")
    whole, schema = table_of(data, spec)
    pieces, _ = table_of(data, spec, target_bytes=len(data) // 7)
    assert [c.name for c in schema.features] == ["height", "noise"]
    found = cut(whole, schema, budget="quick", seed=3)
    again = cut(pieces, schema, budget="quick", seed=3)
    assert found.chosen.tolist() == again.chosen.tolist(), "it does not matter how the file was cut"
    customers = whole.columns["customer"]
    sides = split(whole, schema, seed=3)
    assert len(sides.held_out) == pytest.approx(len(whole) / 5, abs=8)
    assert not set(customers[sides.training]) & set(customers[sides.held_out])
    for part in found.folds:
        inside = customers[found.chosen]
        assert not set(inside[part.training]) & set(inside[part.validation])
    assert found.rows.group is not None and found.rows.weight is not None
    encoded = Encoded.of(found.rows, schema, "boosted", seed=0, watched=True)
    assert encoded.watch is not None
    learns, watches = (found.rows.group[side] for side in (encoded.watch.training, encoded.watch.validation))
    assert not set(learns) & set(watches)


def test_a_run_with_groups_and_weights_serves_without_them() -> None:
    world = World(max_chunk_bytes=6_000)
    spec = {"target": "y", "group_column": "customer", "weight_column": "weight", "loss": "quantile"}
    asked = spec | {"quantile": 0.9, "budget": "quick"}
    world.data.put("datasets/cars/spec.json", json.dumps(asked).encode())
    run_id = world.prepare(grouped(np.random.default_rng(2)))
    unit = Unit(0, ("linear",), (0, 1, 2))
    train(run_id, unit, world.artifacts, world.runs)
    select_model(run_id, world.artifacts, world.runs)
    evaluation = json.loads(world.artifacts.get(keys.evaluation(run_id)))
    read = plan.read(world.artifacts.get(keys.run_plan(run_id)))
    assert [field["name"] for field in read.signature.fields] == ["height", "noise"]
    assert evaluation["metric"] == "pinball_0.9"
    assert set(evaluation["metrics"]) == {"pinball_0.9", "rmse", "mae", "r2"}
    assert evaluation["metrics"]["r2"] < 0.2, "only the customer says the target, and none was on both sides"
    warnings = " ".join(world.runs.get(run_id).warnings)
    assert "it weighs the rows: 'weight'" in warnings and "which rows belong together: 'customer'" in warnings
