"""Curves, importance and partial dependence."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from sklearn import metrics as reference

from millrace.contracts import Schema, Task
from millrace.features.blocks import Table
from millrace.features.limits import LIMITS
from millrace.training import evaluate
from millrace.training.evaluate import MOST_CURVES, MOST_POINTS, Answer, curves, dependence, importance
from millrace.training.frame import to_frame
from millrace.training.metrics import score
from millrace.training.pipeline import Learner, Rows, predict
from tests.learning import make_table, mixed_table


def binary(rows: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    positive = rng.random(rows).round(2)
    truth = (rng.random(rows) < positive).astype(np.int32)
    return truth, np.column_stack([1.0 - positive, positive]), np.arange(rows)


def test_the_roc_curve_is_scikit_learns() -> None:
    truth, probabilities, record = binary()
    _, schema = mixed_table(20)
    (roc,) = curves(schema, truth, probabilities, record, seed=0)["ranking"]
    fpr, tpr, _ = reference.roc_curve(truth, probabilities[:, 1], drop_intermediate=False)
    assert roc["fpr"] == pytest.approx(fpr)
    assert roc["tpr"] == pytest.approx(tpr)
    precision, recall, _ = reference.precision_recall_curve(truth, probabilities[:, 1])
    assert roc["recall"][1:] == pytest.approx(recall[-2::-1])
    assert roc["precision"][1:] == pytest.approx(precision[-2::-1])
    assert (roc["class"], roc["rows"], roc["share"]) == ("yes", truth.sum(), truth.mean())
    assert np.trapezoid(roc["tpr"], roc["fpr"]) == pytest.approx(score("roc_auc", truth, probabilities))


def test_the_positive_class_decides_whose_curve_it_is() -> None:
    truth, probabilities, record = binary()
    _, schema = mixed_table(20)
    other = curves(replace(schema, positive_class="no"), truth, probabilities, record, seed=0)
    ours = curves(schema, truth, probabilities, record, seed=0)
    (of_no,), (of_yes,) = other["ranking"], ours["ranking"]
    assert (of_no["class"], other["calibration"]["class"]) == ("no", "no")
    assert of_no["precision"] != of_yes["precision"]
    assert np.trapezoid(of_no["tpr"], of_no["fpr"]) == pytest.approx(
        np.trapezoid(of_yes["tpr"], of_yes["fpr"])
    )


def test_honest_probabilities_are_calibrated() -> None:
    truth, probabilities, record = binary()
    _, schema = mixed_table(20)
    calibration = curves(schema, truth, probabilities, record, seed=0)["calibration"]
    assert sum(calibration["count"]) == len(truth)
    assert calibration["predicted"] == pytest.approx(calibration["observed"], abs=0.06)
    assert calibration["error"] < 0.03
    ends = zip(calibration["low"], calibration["predicted"], calibration["high"], strict=True)
    assert sum(low <= middle <= high for low, middle, high in ends) >= 8, "95 % of the bins, nearly"


def test_of_several_classes_the_answered_one_is_judged() -> None:
    table, schema = mixed_table(60, task="multiclass")
    boastful = np.where(np.eye(3)[(table.target + 1) % 3] == 1.0, 0.98, 0.01)
    found = curves(schema, table.target, boastful, table.record, seed=0)
    assert found["calibration"]["class"] is None
    assert found["calibration"]["observed"] == [0.0]
    assert found["calibration"]["error"] == pytest.approx(0.98)
    assert [entry["class"] for entry in found["ranking"]] == list(schema.classes)


def test_the_confusion_matrix_counts_every_row() -> None:
    table, schema = mixed_table(60, task="multiclass")
    perfect = np.eye(3)[table.target]
    found = curves(schema, table.target, perfect, table.record, seed=0)
    assert found["confusion"]["labels"] == list(schema.classes)
    assert found["confusion"]["matrix"] == np.diag(np.bincount(table.target)).tolist()
    assert found["calibration"]["error"] == 0.0


def test_no_curve_has_too_many_points() -> None:
    labels = tuple(f"c{i:03d}" for i in range(200))
    truth = np.arange(5000, dtype=np.int32) % 200
    _, schema = make_table({"x": ("number", np.zeros(3))}, np.arange(3), task="multiclass", classes=labels)
    many = curves(schema, truth, np.eye(200)[truth], np.arange(5000), seed=0)
    assert len(many["confusion"]["labels"]) ** 2 <= MOST_POINTS
    assert len(many["ranking"]) == MOST_CURVES
    _, regression = mixed_table(20, task="regression")
    values = np.arange(5000.0)
    residuals = curves(regression, values, values, np.arange(5000), seed=0)["residuals"]
    assert len(residuals["predicted"]) == len(residuals["actual"]) == MOST_POINTS
    rng = np.random.default_rng(0)
    positive = rng.random(5000)
    _, two = mixed_table(20)
    codes = rng.integers(0, 2, 5000).astype(np.int32)
    (roc,) = curves(two, codes, np.column_stack([1 - positive, positive]), np.arange(5000), seed=0)["ranking"]
    assert sum(len(roc[name]) for name in ("fpr", "tpr", "recall", "precision")) <= MOST_POINTS
    assert (roc["fpr"][0], roc["tpr"][0], roc["fpr"][-1], roc["tpr"][-1]) == (0.0, 0.0, 1.0, 1.0)


def test_a_curve_that_one_class_does_not_define_is_absent() -> None:
    _, schema = mixed_table(20)
    found = curves(schema, np.zeros(3, dtype=np.int32), np.full((3, 2), 0.5), np.arange(3), seed=0)
    assert found["ranking"] == []


def fitted(rows: int, *, task: Task) -> tuple[Answer, Table, Schema]:
    table, schema = mixed_table(rows, task=task)
    learner = Learner("linear", schema, LIMITS["quick"], 0)
    pipeline = learner.pipeline(Rows(to_frame(table, schema), table.target, table.record))
    return partial(predict, pipeline, schema=schema), table, schema


@pytest.mark.parametrize("block", [20_000, 1])
def test_importance_finds_the_columns_that_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Also when the shuffled copies do not go through the pipeline together."""
    monkeypatch.setattr(evaluate, "IMPORTANCE_BLOCK", block)
    answer, table, schema = fitted(300, task="regression")
    frame = to_frame(table, schema)
    found = importance(answer, frame, table.target, table.record, schema, metric="rmse", seed=0)
    assert {entry["column"] for entry in found} == set(frame.columns)
    assert found[0]["column"] == "number"
    assert found[0]["mean"] > 0.5
    by_name = {entry["column"]: entry["mean"] for entry in found}
    assert by_name["colour"] > 0.1
    assert abs(by_name["half"]) < 0.05
    assert [entry["mean"] for entry in found] == sorted(by_name.values(), reverse=True)


def test_importance_of_a_table_beyond_the_bound_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "IMPORTANCE_CELLS", 100)
    answer, table, schema = fitted(50, task="binary")
    frame = to_frame(table, schema)
    assert importance(answer, frame, table.target, table.record, schema, metric="roc_auc", seed=0) == []


def test_dependence_shows_what_the_target_was_made_of() -> None:
    answer, table, schema = fitted(400, task="regression")
    frame = to_frame(table, schema)
    names = ("text", "colour", "number", "half", "flag", "time")
    found = dependence(answer, frame, schema, names, table.record, seed=0)
    assert (found["rows"], found["of"]) == (200, [])
    by_name = {entry["column"]: entry for entry in found["columns"]}
    assert list(by_name) == ["colour", "number", "half", "flag", "time"], "a text has no axis"
    (along,) = by_name["number"]["mean"]
    slope = np.polyfit(by_name["number"]["values"], along, 1)[0]
    assert slope == pytest.approx(1.5, abs=0.1)
    colours = dict(zip(by_name["colour"]["values"], by_name["colour"]["mean"][0], strict=True))
    assert set(colours) == {"red", "green", "blue", None}
    assert colours["red"] - colours["blue"] == pytest.approx(2.0, abs=0.3)


def test_dependence_of_classes_is_of_their_probabilities() -> None:
    answer, table, schema = fitted(200, task="multiclass")
    frame = to_frame(table, schema)
    found = dependence(answer, frame, schema, ["number"], table.record, seed=0)
    assert found["of"] == list(schema.classes)
    assert np.sum(found["columns"][0]["mean"], axis=0) == pytest.approx(1.0)
    answer, table, schema = fitted(200, task="binary")
    found = dependence(answer, to_frame(table, schema), schema, ["number"], table.record, seed=0)
    assert found["of"] == ["yes"]
    (along,) = found["columns"][0]["mean"]
    assert along == sorted(along), "the more the surer"
