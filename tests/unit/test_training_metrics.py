"""Metrics agree with scikit-learn where it defines them, and survive an absent class where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from millrace.contracts import DEVIANCES, LOWER_IS_BETTER, METRICS
from millrace.errors import BadInput
from millrace.training.metrics import REGISTRY, best_first, evaluate, metric_for, score


def random_problem(seed: int, classes: int, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, rows)]).astype(np.int32)
    # Rounding makes ties, which the area under the curve must share.
    probabilities = rng.dirichlet(np.ones(classes), len(truth)).round(1) + 1e-3
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True)


@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_classification_metrics_equal_scikit_learns(seed: int, classes: int) -> None:
    truth, probabilities = random_problem(seed, classes)
    predicted = probabilities.argmax(axis=1)
    area = (
        reference.roc_auc_score(truth, probabilities[:, 1])
        if classes == 2
        else reference.roc_auc_score(truth, probabilities, multi_class="ovr")
    )
    expected = {
        "roc_auc": area,
        "log_loss": reference.log_loss(truth, probabilities, labels=np.arange(classes)),
        "brier": reference.brier_score_loss(
            *((truth, probabilities[:, 1]) if classes == 2 else (truth, probabilities)),
            labels=np.arange(classes),
        ),
        "accuracy": reference.accuracy_score(truth, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(truth, predicted),
        "f1_macro": reference.f1_score(truth, predicted, average="macro", zero_division=0),
    }
    found = evaluate("binary" if classes == 2 else "multiclass", truth, probabilities)
    assert found == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_regression_metrics_equal_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.normal(size=30), rng.normal(size=30)
    assert evaluate("regression", truth, predicted) == pytest.approx(
        {
            "rmse": reference.root_mean_squared_error(truth, predicted),
            "mae": reference.mean_absolute_error(truth, predicted),
            "r2": reference.r2_score(truth, predicted),
        }
    )


def test_the_registry_has_exactly_the_metrics_that_a_spec_may_name() -> None:
    assert set(REGISTRY) == {*DEVIANCES, *(name for names in METRICS.values() for name in names)}
    assert all(metric.name == name for name, metric in REGISTRY.items())


def test_log_loss_counts_all_classes_although_the_rows_lack_one() -> None:
    truth = np.array([0, 1, 0], dtype=np.int32)
    probabilities = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.5, 0.5, 0.0]])
    assert score("log_loss", truth, probabilities) == pytest.approx(np.log(2.0))
    assert np.isfinite(score("roc_auc", truth, probabilities))


def test_a_certain_and_wrong_answer_is_dear_but_finite() -> None:
    truth = np.array([1], dtype=np.int32)
    assert score("log_loss", truth, np.array([[1.0, 0.0]])) == pytest.approx(36.04, abs=0.01)


def test_a_metric_that_is_not_defined_is_none() -> None:
    one_class = evaluate("binary", np.zeros(3, dtype=np.int32), np.full((3, 2), 0.5))
    assert one_class["roc_auc"] is None
    assert one_class["accuracy"] == 1.0
    assert evaluate("regression", np.ones(3), np.ones(3)) == {"rmse": 0.0, "mae": 0.0, "r2": None}


def test_the_choice_falls_back_to_a_metric_that_is_defined() -> None:
    both, one = np.array([0, 1]), np.array([1, 1])
    assert metric_for("binary", "roc_auc", both) == "roc_auc"
    assert metric_for("binary", "roc_auc", one) == "log_loss"
    assert metric_for("regression", "r2", np.ones(4)) == "rmse"
    assert metric_for("multiclass", "accuracy", one) == "accuracy"


def test_the_metrics_of_losses_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    predicted, weight = rng.gamma(2.0, 3.0, 200), rng.random(200)
    counts, amounts = rng.poisson(predicted).astype(np.float64), rng.gamma(2.0, predicted)
    for name, truth, power in (
        ("poisson_deviance", counts, 1.0),
        ("gamma_deviance", amounts, 2.0),
        ("tweedie_deviance", counts, 1.5),
    ):
        expected = reference.mean_tweedie_deviance(truth, predicted, sample_weight=weight, power=power)
        assert REGISTRY[name].prepare(truth, predicted)(weight) == pytest.approx(expected, rel=1e-12)
        assert np.isfinite(score(name, truth, np.zeros(200))), "very bad, but not infinitely"
    expected = reference.mean_pinball_loss(amounts, predicted, alpha=0.9)
    assert score("pinball_0.9", amounts, predicted) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(score("poisson_deviance", -amounts, predicted))
    assert np.isnan(score("gamma_deviance", np.zeros(200), predicted))
    assert metric_for("regression", "pinball_0.9", amounts) == "pinball_0.9"
    assert "poisson_deviance" in evaluate("regression", counts, predicted, "poisson_deviance")
    with pytest.raises(BadInput, match="'poisson_deviance' does not fit a binary task"):
        metric_for("binary", "poisson_deviance", counts)
    with pytest.raises(KeyError):
        score("oracle", counts, predicted)


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(BadInput, match="'rmse' does not fit a binary task") as caught:
        metric_for("binary", "rmse", np.array([0, 1]))
    assert caught.value.code == "metric-unknown"


def test_the_best_comes_first_whichever_way_is_better() -> None:
    scores = {"a": 0.2, "b": 0.9, "c": 0.9}
    assert best_first("roc_auc", scores) == ("b", "c", "a")
    assert best_first("log_loss", scores) == ("a", "b", "c")


@pytest.mark.parametrize("name", [*sorted(REGISTRY), "pinball_0.3"])
def test_the_better_prediction_has_the_better_score(name: str) -> None:
    classify = name in METRICS["binary"]
    truth = np.array([0, 1, 1, 0, 1], dtype=np.int32) if classify else np.array([1.0, 2.0, 5.0, 3.0])
    good = np.column_stack([1.0 - truth, truth]) * 0.9 + 0.05 if classify else truth + 0.1
    bad = good[::-1] * 0.9 + 0.01 if classify else truth + 1.0
    ahead = score(name, truth, good) > score(name, truth, bad)
    assert ahead == REGISTRY[name].greater_is_better == (name not in LOWER_IS_BETTER)
