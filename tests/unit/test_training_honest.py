"""Honest numbers: intervals that hold, baselines that saw no held-out target, thresholds, slices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from millrace.contracts import Costs, Schema
from millrace.training import bootstrap
from millrace.training.baselines import naive_prediction, single_column
from millrace.training.bootstrap import confidence, resamples
from millrace.training.frame import to_frame
from millrace.training.learning import learning_curve
from millrace.training.metrics import REGISTRY, score
from millrace.training.slices import slices
from millrace.training.thresholds import SHOWN, thresholds
from tests.learning import make_table, mixed_table


def noisy(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return classes, and probabilities that tell them as they are."""
    rng = np.random.default_rng(seed)
    positive = rng.beta(2.0, 2.0, rows)
    return (rng.random(rows) < positive).astype(np.int32), np.column_stack([1.0 - positive, positive])


@pytest.mark.parametrize("name", ["roc_auc", "log_loss", "brier", "balanced_accuracy", "f1_macro"])
def test_a_weight_counts_like_so_many_rows(name: str) -> None:
    truth, prediction = noisy(60, 0)
    times = np.random.default_rng(1).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), times)
    weighted = REGISTRY[name].prepare(truth, prediction)(times.astype(np.float64))
    assert weighted == pytest.approx(score(name, truth[rows], prediction[rows]), abs=1e-12)


@pytest.mark.parametrize("name", ["rmse", "mae", "r2"])
def test_a_weight_counts_like_so_many_numbers(name: str) -> None:
    rng = np.random.default_rng(0)
    truth, prediction, times = rng.normal(size=50), rng.normal(size=50), rng.integers(0, 4, 50)
    rows = np.repeat(np.arange(50), times)
    weighted = REGISTRY[name].prepare(truth, prediction)(times.astype(np.float64))
    assert weighted == pytest.approx(score(name, truth[rows], prediction[rows]), abs=1e-12)


def test_intervals_hold_the_true_value_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 samples of a population whose Brier score is known: E[p (1 - p)] of a Beta(2, 2), a fifth."""
    monkeypatch.setattr(bootstrap, "MOST_RESAMPLES", 200)
    held = 0
    for seed in range(60):
        truth, prediction = noisy(200, seed)
        low, high = confidence("binary", truth, prediction, {}, metric="brier", seed=seed)["metrics"]["brier"]
        held += low <= 0.2 <= high
    # Of 57 in 60, three standard errors are 5.1.
    assert held >= 52


def test_of_many_rows_a_part_gives_intervals_as_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prediction = noisy(8000, 0)
    whole = confidence("binary", truth, prediction, {}, metric="log_loss", seed=0)
    assert (whole["rows"], whole["level"]) == (8000, 0.95)
    monkeypatch.setattr(bootstrap, "MOST_ROWS", 1500)
    part = confidence("binary", truth, prediction, {}, metric="log_loss", seed=0)
    assert part["rows"] == 1500
    for name, ends in whole["metrics"].items():
        low, high = part["metrics"][name]
        assert low <= score(name, truth, prediction) <= high
        assert high - low == pytest.approx(ends[1] - ends[0], rel=0.25)


def test_rows_of_a_group_are_no_independent_witnesses() -> None:
    """Each of 100 rows ten times over: the interval is that of 100 rows, not of 1,000."""
    truth, prediction = noisy(100, 0)
    rows = np.tile(np.arange(100), 10)

    def width(*of: np.ndarray, group: np.ndarray | None = None) -> float:
        found = confidence("binary", *of, {}, metric="brier", seed=0, group=group)
        low, high = found["metrics"]["brier"]
        return float(high - low)

    alone = width(truth, prediction)
    assert width(truth[rows], prediction[rows], group=rows) == pytest.approx(alone, rel=0.1)
    assert width(truth[rows], prediction[rows]) < 0.4 * alone


def test_of_many_groups_whole_ones_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MOST_ROWS", 300)
    monkeypatch.setattr(bootstrap, "FEWEST_ROWS", 300)
    truth, prediction = noisy(900, 0)
    group = np.arange(900) // 9
    found = confidence("binary", truth, prediction, {}, metric="brier", seed=0, group=group)
    assert (found["groups"], found["rows"]) == (33, 297)


def test_the_work_is_bounded_whatever_the_table() -> None:
    for rows in (1, 50, 10_000, 280_000, 5_000_000):
        for classes in (1, 2, 9, 200, 5000):
            repeats, drawn = resamples(rows, classes)
            assert 200 <= repeats <= 1000 and drawn <= rows
            assert repeats * drawn * min(classes, 100) <= bootstrap.CELLS


def test_a_gain_is_certain_when_its_interval_excludes_zero() -> None:
    truth, prediction = noisy(1000, 0)
    naive = np.full((1000, 2), 0.5)
    same = {"baseline": naive, "itself": prediction}
    found = confidence("binary", truth, prediction, same, metric="log_loss", seed=0)["better_than"]
    assert found["itself"] == [0.0, 0.0]
    assert 0.0 < found["baseline"][0] < found["baseline"][1]


def test_a_metric_that_hardly_any_resample_defines_has_no_interval() -> None:
    truth = np.zeros(30, dtype=np.int32)
    prediction = np.full((30, 2), 0.5)
    found = confidence("binary", truth, prediction, {}, metric="log_loss", seed=0)["metrics"]
    assert "roc_auc" not in found and "log_loss" in found


def test_the_naive_model_knows_the_shares_or_the_mean() -> None:
    _, schema = mixed_table(20, task="multiclass")
    shares = naive_prediction(schema, np.array([0, 0, 1, 0]), 2)
    assert shares.tolist() == [[0.75, 0.25, 0.0]] * 2
    _, regression = mixed_table(20, task="regression")
    assert naive_prediction(regression, np.array([1.0, 2.0, 6.0]), 2).tolist() == [3.0, 3.0]


@pytest.mark.parametrize(("task", "metric"), [("binary", "roc_auc"), ("multiclass", "log_loss")])
def test_the_best_single_column_predicts_better_than_none(task: str, metric: str) -> None:
    table, schema = mixed_table(900, task=task)  # type: ignore[arg-type]
    frame = to_frame(table, schema)
    fit, judge = np.arange(600), np.arange(600, 900)
    found = single_column(
        *(schema, frame.iloc[fit], table.target[fit], table.record[fit], frame.iloc[judge]),
        metric=metric,
        seed=0,
    )
    assert found is not None and found.column == "number"
    assert found.prediction.sum(axis=1) == pytest.approx(1.0)
    naive = naive_prediction(schema, table.target[fit], 300)
    losses = [score("log_loss", table.target[judge], said) for said in (found.prediction, naive)]
    assert losses[0] < 0.8 * losses[1]


def test_a_single_column_says_the_mean_of_its_value_and_of_all_where_it_is_new() -> None:
    colour = np.array(["red", "blue"] * 200, dtype=object)
    noise = np.random.default_rng(0).normal(size=400)
    table, schema = make_table(
        {"noise": ("number", noise), "colour": ("category", colour)},
        np.where(colour == "red", 10.0, 20.0),
        task="regression",
    )
    asked = to_frame(table, schema).iloc[:3].copy()
    asked["colour"] = ["red", "green", None]
    found = single_column(
        schema, to_frame(table, schema), table.target, table.record, asked, metric="rmse", seed=0
    )
    assert found is not None and found.column == "colour"
    red, green, missing = found.prediction
    assert red == pytest.approx(10.0, abs=0.2)
    assert green == missing == pytest.approx(15.0)


@pytest.mark.parametrize(("loss", "quantile", "near"), [("absolute", None, 0.0), ("quantile", 0.9, 1.28)])
def test_a_single_column_says_the_quantile_that_was_asked_for(
    loss: str, quantile: float | None, near: float
) -> None:
    side = np.array(["low", "high"] * 2000, dtype=object)
    target = 10.0 * (side == "high") + np.random.default_rng(0).normal(size=4000)
    table, schema = make_table({"side": ("category", side)}, target, task="regression")
    schema = replace(schema, loss=loss, quantile=quantile)
    frame = to_frame(table, schema)
    found = single_column(schema, frame, table.target, table.record, frame, metric="mae", seed=0)
    assert found is not None
    assert np.mean(table.target <= found.prediction) == pytest.approx(quantile or 0.5, abs=0.02)
    assert found.prediction[0] == pytest.approx(near, abs=0.15)


def test_every_threshold_counts_what_it_flags() -> None:
    truth, prediction = noisy(500, 3)
    positive, probability = truth == 1, prediction[:, 1].round(2)
    found = thresholds(positive, probability, np.arange(500), Costs(1.0, 4.0), seed=0)
    assert [line["threshold"] for line in found["table"]] == list(SHOWN)
    for line in [*found["table"], found["best_f1"], found["least_cost"], found["by_costs"], found["half"]]:
        flagged = probability >= line["threshold"]
        hits = int((flagged & positive).sum())
        assert line["flagged"] == flagged.mean()
        assert line["precision"] == (hits / flagged.sum() if flagged.any() else None)
        assert line["recall"] == hits / positive.sum()
        assert line["f1"] == pytest.approx(2 * hits / (flagged.sum() + positive.sum()))
        wrong, missed = (flagged & ~positive).sum(), (~flagged & positive).sum()
        assert line["cost"] == pytest.approx((wrong + 4.0 * missed) / 500)
    tried = np.unique(probability)
    costs = [
        float(np.sum((probability >= t) & ~positive) + 4.0 * np.sum((probability < t) & positive)) / 500
        for t in tried
    ]
    assert found["least_cost"]["cost"] == pytest.approx(min(costs))
    assert found["by_costs"]["threshold"] == 0.2, "fp / (fp + fn), of calibrated probabilities"
    assert found["least_cost"]["cost"] <= found["by_costs"]["cost"] < found["half"]["cost"]
    assert found["least_cost_elsewhere"] >= found["least_cost"]["cost"]


def test_without_costs_no_threshold_has_one() -> None:
    truth, prediction = noisy(50, 0)
    found = thresholds(truth == 1, prediction[:, 1], np.arange(50), None, seed=0)
    assert set(found) == {"table", "best_f1"}
    assert "cost" not in found["table"][0]


def test_when_flagging_never_pays_the_threshold_is_above_all_probabilities() -> None:
    positive = np.zeros(10, dtype=np.bool_)
    probability = np.linspace(0.1, 0.9, 10)
    least = thresholds(positive, probability, np.arange(10), Costs(1.0, 1.0), seed=0)["least_cost"]
    assert 0.9 < least["threshold"] < 0.91
    assert (least["flagged"], least["cost"], least["recall"], least["precision"]) == (0.0, 0.0, None, None)


def sliced(
    rows: int, *, bad: str | None, seed: int = 0, task: str = "regression"
) -> tuple[dict[str, object], Schema]:
    """Return the slices of a table in which the model errs more in the region ``bad``."""
    rng = np.random.default_rng(seed)
    region = np.array(list("abcdefgh"), dtype=object)[rng.integers(0, 8, rows)]
    flag = np.where(rng.random(rows) < 0.1, np.nan, rng.integers(0, 2, rows).astype(float))
    when = np.sort(rng.uniform(0.0, 4e7, rows))
    truth = rng.normal(size=rows)
    error = rng.normal(size=rows) * np.where(region == bad, 1.5, 0.7)
    table, schema = make_table(
        {"region": ("category", region), "flag": ("boolean", flag), "when": ("time", when)},
        truth,
        task="regression",
    )
    prediction = truth + error
    found = slices(
        schema,
        to_frame(table, schema),
        truth,
        prediction,
        np.zeros(rows),
        table.record,
        metric="rmse",
        first=["flag"],
        within=np.abs(error) < 1.645 * 0.7,
        level=0.9,
        seed=0,
    )
    return found, schema


def test_the_slice_that_is_worse_is_called_out_and_no_other() -> None:
    found, _ = sliced(2000, bad="c")
    lines = found["slices"]
    assert isinstance(lines, list)
    assert [(line["column"], line["value"]) for line in lines if line["worse"]] == [("region", "c")]
    assert [(line["column"], line["value"]) for line in lines if line["uncovered"]] == [("region", "c")]
    assert next(line["value"] for line in lines if line["column"] == "when").startswith("1970-01-01 ")
    assert {line["value"] for line in lines if line["column"] == "flag"} == {"yes", "no", "(missing)"}
    assert lines[0]["column"] == "flag", "the more important column comes first"
    assert sum(line["rows"] for line in lines if line["column"] == "when") == 2000


def test_where_all_slices_are_alike_hardly_any_is_accused() -> None:
    accused = sum(
        any(line["worse"] for line in sliced(400, bad=None, seed=s)[0]["slices"]) for s in range(60)
    )  # type: ignore[attr-defined]
    # At most 5 in 100 by Holm; three standard errors of that are 5 in 60.
    assert accused <= 8


def test_the_test_of_a_slice_is_welchs() -> None:
    found, _ = sliced(300, bad="a")
    lines = found["slices"]
    assert isinstance(lines, list)
    rng = np.random.default_rng(0)
    region = rng.integers(0, 8, 300)
    rng.random(300), rng.integers(0, 2, 300), rng.uniform(0.0, 4e7, 300), rng.normal(size=300)
    loss = (rng.normal(size=300) * np.where(region == 0, 1.5, 0.7)) ** 2
    line = next(line for line in lines if line["value"] == "a")
    p = stats.ttest_ind(loss[region == 0], loss[region != 0], equal_var=False, alternative="greater").pvalue
    assert line["loss"] == pytest.approx(loss[region == 0].mean())
    assert line["p"] == pytest.approx(p * len(lines)), "the least p, times the slices"


def test_a_learning_curve_is_of_nested_training_rows_only() -> None:
    table, schema = mixed_table(500, task="binary")
    training = np.arange(0, 500, 2)
    asked: list[np.ndarray] = []

    def fit(rows: np.ndarray):  # type: ignore[no-untyped-def]
        asked.append(rows)
        return lambda frame: np.full((len(frame), 2), 0.5)

    found = learning_curve(
        fit,
        schema,
        to_frame(table, schema),
        table.target,
        table.record,
        training,
        time=None,
        metric="log_loss",
        seed=0,
    )
    assert [len(rows) for rows in asked] == [point["rows"] for point in found["points"]] == [30, 80, 200]
    assert set(asked[0]) < set(asked[1]) < set(asked[2]) < set(training)
    assert found["rows"] == 50
    assert found["points"][0]["score"] == pytest.approx(np.log(2.0))


def test_a_class_that_the_rows_lack_leaves_a_point_out() -> None:
    table, schema = mixed_table(120, task="binary")
    lone = replace(table, target=(np.arange(120) < 3).astype(np.int32))
    found = learning_curve(
        lambda rows: lambda frame: np.full((len(frame), 2), 0.5),
        schema,
        to_frame(lone, schema),
        lone.target,
        lone.record,
        np.arange(120),
        time=table.columns["time"],
        metric="roc_auc",
        seed=0,
    )
    assert found["points"] == [], "the latest rows have one class"
