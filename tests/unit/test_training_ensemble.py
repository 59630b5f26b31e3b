"""Which candidates answer together, how they are calibrated, and that the whole is what its parts say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from millrace.contracts import Task
from millrace.features.limits import LIMITS
from millrace.training.ensemble import Calibration, Method, _calibrated, calibration, choose, fit_ensemble
from millrace.training.frame import to_frame
from millrace.training.metrics import score
from millrace.training.pipeline import Learner, Rows, predict
from millrace.training.splits import folds
from tests.learning import mixed_table

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=500)


def off(scale: float) -> np.ndarray:
    return TRUTH + RNG.normal(scale=scale, size=500)


def test_members_whose_errors_differ_are_put_together() -> None:
    found = choose("rmse", TRUTH, {"a": off(1.0), "b": off(1.0), "bad": off(20.0)}, most=4)
    assert set(found) == {"a", "b"}
    assert sum(found.values()) == pytest.approx(1.0)
    assert all(weight == pytest.approx(0.5, abs=0.1) for weight in found.values())


def test_one_that_nobody_helps_stands_alone_and_the_number_is_bounded() -> None:
    assert choose("rmse", TRUTH, {"good": off(0.01), "bad": off(5.0)}, most=4) == {"good": 1.0}
    alike = {f"m{i}": off(1.0) for i in range(8)}
    assert len(choose("r2", TRUTH, alike, most=3)) == 3
    assert len(choose("mae", TRUTH, alike, most=1)) == 1


def test_rows_that_no_fold_validated_do_not_count() -> None:
    a, b = off(1.0), off(1.0)
    a[:100] = b[:100] = np.nan
    assert choose("rmse", TRUTH, {"a": a, "b": b}, most=4) == choose(
        "rmse", TRUTH[100:], {"a": a[100:], "b": b[100:]}, most=4
    )


def binary(power: float, rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return truth, and probabilities whose log-odds are ``power`` times what they should be."""
    rng = np.random.default_rng(3)
    odds = rng.normal(scale=1.5, size=rows)
    truth = (rng.random(rows) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int32)
    said = 1.0 / (1.0 + np.exp(-power * odds))
    return truth, np.column_stack([1.0 - said, said])


@pytest.mark.parametrize("power", [0.3, 3.0])
def test_probabilities_that_are_too_timid_or_too_bold_are_calibrated(power: float) -> None:
    truth, probabilities = binary(power)
    parts = folds(np.arange(len(truth)), codes=truth, count=5)
    found = calibration(truth, probabilities, parts)
    assert found.method != "none"
    assert found.log_loss[found.method] == min(found.log_loss.values()) < found.log_loss["none"] - 0.01
    assert {"none", "sigmoid", "temperature", "isotonic"} == set(found.log_loss)


def test_what_is_calibrated_already_stays_and_few_rows_are_left_alone() -> None:
    truth, probabilities = binary(1.0)
    assert calibration(truth, probabilities, folds(np.arange(3000), codes=truth, count=5)).method == "none"
    few, rows = binary(3.0, rows=15)
    assert calibration(few, rows, folds(np.arange(15), codes=few, count=3)).log_loss == {}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_an_ensemble_says_the_weighted_mean_of_what_its_members_say(task: Task) -> None:
    table, schema = mixed_table(150, task=task)
    rows = Rows(to_frame(table, schema), table.target, table.record)
    weights = {"boosted_trees": 0.5, "linear": 0.3, "boosted_shallow": 0.2}
    rounds = {"boosted_trees": 20, "boosted_shallow": 10, "linear": None}
    limits = LIMITS["quick"]
    whole = fit_ensemble(weights, rounds, rows, schema, limits, seed=0)
    expected = sum(
        weight * predict(Learner(n, schema, limits, 0).pipeline(rows, rounds=rounds[n]), rows.frame, schema)
        for n, weight in weights.items()
    )
    assert np.allclose(predict(whole, rows.frame, schema), expected, rtol=1e-12)


@pytest.mark.parametrize("method", ["none", "sigmoid", "temperature", "isotonic"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_calibration_is_the_same_again_from_its_arrays(method: Method, classes: int) -> None:
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.ones(classes), size=400)
    truth = np.array([rng.choice(classes, p=row) for row in shares])
    calibrators: tuple[Any, ...] = ()
    if method != "none":
        calibrators = tuple(_calibrated(shares, truth, method).calibrated_classifiers_[0].calibrators)
    found = Calibration(method, {"none": 0.5}, calibrators)
    again = Calibration.of(method, found.log_loss, found.arrays())
    assert (again.method, again.log_loss, len(again.calibrators)) == (method, {"none": 0.5}, len(calibrators))
    unseen = rng.dirichlet(np.ones(classes), size=100)
    values = np.log(unseen) if method == "temperature" else unseen[:, 0]
    for one, other in zip(found.calibrators, again.calibrators, strict=True):
        assert np.array_equal(one.predict(values), other.predict(values))


def test_a_calibration_is_put_around_the_model() -> None:
    table, schema = mixed_table(300)
    rows = Rows(to_frame(table, schema), table.target, table.record)
    truth, bold = binary(3.0)
    learned = calibration(truth, bold, folds(np.arange(len(truth)), codes=truth, count=5))
    for weights in ({"linear": 1.0}, {"linear": 0.5, "boosted_trees": 0.5}):
        rounds = {"linear": None, "boosted_trees": 10}
        plain, around = (
            predict(
                fit_ensemble(weights, rounds, rows, schema, LIMITS["quick"], seed=0, calibration=each),
                rows.frame,
                schema,
            )
            for each in (None, learned)
        )
        assert not np.allclose(plain, around)
        assert score("roc_auc", table.target, around) == pytest.approx(
            score("roc_auc", table.target, plain), abs=0.01
        )
