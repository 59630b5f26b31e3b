"""Curves, importance and the naive baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference

from millrace.training import evaluate
from millrace.training.evaluate import MOST_POINTS, curves, importance, naive_prediction
from millrace.training.frame import to_frame
from millrace.training.limits import LIMITS
from millrace.training.metrics import score
from millrace.training.pipeline import Learner
from tests.learning import make_table, mixed_table


def test_the_naive_model_knows_the_shares_or_the_mean() -> None:
    _, schema = mixed_table(20, task="multiclass")
    shares = naive_prediction(schema, np.array([0, 0, 1, 0]), 2)
    assert shares.tolist() == [[0.75, 0.25, 0.0]] * 2
    _, regression = mixed_table(20, task="regression")
    assert naive_prediction(regression, np.array([1.0, 2.0, 6.0]), 2).tolist() == [3.0, 3.0]


def binary(rows: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    positive = rng.random(rows).round(2)
    truth = (rng.random(rows) < positive).astype(np.int32)
    return truth, np.column_stack([1.0 - positive, positive]), np.arange(rows)


def test_the_roc_curve_is_scikit_learns() -> None:
    truth, probabilities, record = binary()
    _, schema = mixed_table(20)
    roc = curves(schema, truth, probabilities, record, seed=0)["roc"]
    fpr, tpr, _ = reference.roc_curve(truth, probabilities[:, 1], drop_intermediate=False)
    assert roc["fpr"] == pytest.approx(fpr)
    assert roc["tpr"] == pytest.approx(tpr)
    assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(score("roc_auc", truth, probabilities))


def test_the_positive_class_decides_whose_curve_it_is() -> None:
    truth, probabilities, record = binary()
    _, schema = mixed_table(20)
    other = curves(replace(schema, positive_class="no"), truth, probabilities, record, seed=0)
    ours = curves(schema, truth, probabilities, record, seed=0)
    assert other["roc"] != ours["roc"]
    assert np.trapezoid(other["roc"]["tpr"], other["roc"]["fpr"]) == pytest.approx(
        np.trapezoid(ours["roc"]["tpr"], ours["roc"]["fpr"])
    )


def test_honest_probabilities_are_calibrated() -> None:
    truth, probabilities, record = binary()
    _, schema = mixed_table(20)
    calibration = curves(schema, truth, probabilities, record, seed=0)["calibration"]
    assert sum(calibration["count"]) == len(truth)
    assert calibration["predicted"] == pytest.approx(calibration["observed"], abs=0.06)


def test_the_confusion_matrix_counts_every_row() -> None:
    table, schema = mixed_table(60, task="multiclass")
    perfect = np.eye(3)[table.target]
    found = curves(schema, table.target, perfect, table.record, seed=0)
    assert found["confusion"]["labels"] == list(schema.classes)
    assert found["confusion"]["matrix"] == np.diag(np.bincount(table.target)).tolist()
    assert set(found) == {"confusion"}, "the other curves are for two classes"


def test_no_curve_has_too_many_points() -> None:
    labels = tuple(f"c{i:03d}" for i in range(200))
    truth = np.arange(5000, dtype=np.int32) % 200
    _, schema = make_table({"x": ("number", np.zeros(3))}, np.arange(3), task="multiclass", classes=labels)
    confusion = curves(schema, truth, np.eye(200)[truth], np.arange(5000), seed=0)["confusion"]
    assert len(confusion["labels"]) ** 2 <= MOST_POINTS
    _, regression = mixed_table(20, task="regression")
    values = np.arange(5000.0)
    residuals = curves(regression, values, values, np.arange(5000), seed=0)["residuals"]
    assert len(residuals["predicted"]) == len(residuals["actual"]) == MOST_POINTS
    rng = np.random.default_rng(0)
    positive = rng.random(5000)
    _, two = mixed_table(20)
    codes = rng.integers(0, 2, 5000).astype(np.int32)
    roc = curves(two, codes, np.column_stack([1 - positive, positive]), np.arange(5000), seed=0)["roc"]
    assert len(roc["fpr"]) + len(roc["tpr"]) <= MOST_POINTS
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0.0, 0.0, 1.0, 1.0)


def test_a_curve_that_one_class_does_not_define_is_absent() -> None:
    _, schema = mixed_table(20)
    found = curves(schema, np.zeros(3, dtype=np.int32), np.full((3, 2), 0.5), np.arange(3), seed=0)
    assert set(found) == {"confusion", "calibration"}


@pytest.mark.parametrize("block", [20_000, 1])
def test_importance_finds_the_columns_that_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Also when the shuffled copies do not go through the pipeline together."""
    monkeypatch.setattr(evaluate, "IMPORTANCE_BLOCK", block)
    table, schema = mixed_table(300, task="regression")
    frame = to_frame(table, schema)
    pipeline = Learner("linear", schema, LIMITS["quick"], 0).fit(frame, table.target, table.record).pipeline
    found = importance(pipeline, frame, table.target, table.record, schema, metric="rmse", seed=0)
    assert {entry["column"] for entry in found} == set(frame.columns)
    assert found[0]["column"] == "number"
    assert found[0]["mean"] > 0.5
    by_name = {entry["column"]: entry["mean"] for entry in found}
    assert by_name["colour"] > 0.1
    assert abs(by_name["half"]) < 0.05
    assert [entry["mean"] for entry in found] == sorted(by_name.values(), reverse=True)


def test_importance_of_a_table_beyond_the_bound_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "IMPORTANCE_CELLS", 100)
    table, schema = mixed_table(50)
    frame = to_frame(table, schema)
    pipeline = Learner("linear", schema, LIMITS["quick"], 0).fit(frame, table.target, table.record).pipeline
    assert importance(pipeline, frame, table.target, table.record, schema, metric="roc_auc", seed=0) == []
