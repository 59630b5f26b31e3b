"""One candidate, cross-validated: honest, reproducible, and not stopped by rare classes."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace.contracts import Spec, Task, decode, encode
from millrace.errors import BadInput
from millrace.features.limits import LIMITS
from millrace.training.metrics import score
from millrace.training.pipeline import Learner
from millrace.training.train import FoldResult, cut, put_together, split, train_folds
from millrace.training.turns import MOST_TURNS, Fits, NotDone, Turn
from tests.learning import cross_validated, make_table, mixed_table, real_table, searched, table_of


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_predictions_are_out_of_fold_and_scored(task: Task) -> None:
    table, schema = mixed_table(200, task=task)
    result, predictions = cross_validated(table, schema, "linear", seed=1)
    training = split(table, schema, seed=1).training
    assert (result.state, result.metric, result.folds, result.rows) == ("ok", schema.metric, 3, len(training))
    assert predictions.shape[0] == len(training) == 160
    assert np.isfinite(predictions).all()
    assert result.cv_score == pytest.approx(
        score(schema.metric, table.target[training], predictions), rel=0.1
    )
    assert result.cv_std is not None
    assert result.fit_seconds > 0.0


def test_the_held_out_rows_are_not_looked_at() -> None:
    table, schema = mixed_table(150)
    held = split(table, schema, seed=0).held_out
    other = {name: values.copy() for name, values in table.columns.items()}
    other["number"][held] = 1e6
    first, second = (cross_validated(t, schema, "forest") for t in (table, replace(table, columns=other)))
    assert np.array_equal(first[1], second[1])


def test_noise_cannot_be_learned() -> None:
    """A target without a link to the columns scores like guessing: nothing leaks into the folds."""
    rng = np.random.default_rng(5)
    many = np.array([f"c{i:03d}" for i in rng.integers(0, 150, 400)], dtype=object)
    table, schema = make_table(
        {"x": ("number", rng.normal(size=400)), "many": ("category", many)},
        rng.integers(0, 2, 400),
        task="binary",
        classes=("a", "b"),
    )
    for name in ("linear", "boosted_trees", "extra_trees"):
        result, _ = cross_validated(table, schema, name)
        assert result.cv_score == pytest.approx(0.5, abs=0.12), name


def test_boosting_reports_the_rounds_that_the_folds_agreed_on() -> None:
    table, schema = mixed_table(200)
    result, _ = cross_validated(table, schema, "boosted_trees")
    assert result.rounds is not None
    assert 1 <= result.rounds <= LIMITS["quick"].rounds


def test_the_same_seed_gives_the_same_result() -> None:
    table, schema = mixed_table(120)
    one, two, other = (cross_validated(table, schema, "extra_trees", seed=seed)[1] for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_class_of_one_row_trains_and_is_not_scored() -> None:
    table, schema = mixed_table(60, task="multiclass")
    target = np.where(table.target == 2, 0, table.target)
    target[10] = 2
    lone = replace(table, target=target.astype(np.int32))
    for name in ("linear", "boosted_trees", "forest"):
        result, predictions = cross_validated(lone, schema, name)
        training = split(lone, schema, seed=0).training
        assert 10 in training
        unscored = training[np.isnan(predictions).any(axis=1)]
        assert unscored.tolist() == [10]
        assert result.state == "ok"


def test_where_the_metric_is_not_defined_another_one_scores_and_a_note_says_so() -> None:
    """Twelve rows of one class and one of the other: no validated row has the second class."""
    table, schema = mixed_table(13)
    lone = replace(table, target=(np.arange(13) == 4).astype(np.int32))
    result, _ = cross_validated(lone, schema, "linear")
    assert result.metric == "log_loss"
    assert "roc_auc is not defined" in result.notes[0]


def test_a_time_column_means_that_the_future_is_never_seen() -> None:
    table, schema = mixed_table(120)
    schema = replace(schema, time_column="time")
    time = table.columns["time"]
    sides = split(table, schema, seed=0)
    assert time[sides.training].max() < time[sides.held_out].min()
    result, predictions = cross_validated(table, schema, "boosted_trees")
    unscored = np.isnan(predictions).any(axis=1)
    earliest = time[sides.training][unscored]
    assert 0 < len(earliest) < 40
    assert earliest.max() < time[sides.training][~unscored].min()
    assert result.folds == 3


def test_a_past_of_one_class_is_refused() -> None:
    table, schema = mixed_table(100)
    schema = replace(schema, time_column="time")
    latest = table.columns["time"] > np.quantile(table.columns["time"], 0.9)
    with pytest.raises(BadInput, match="all have the class 'no'") as caught:
        cross_validated(replace(table, target=latest.astype(np.int32)), schema, "linear", seed=0)
    assert caught.value.code == "one-class-in-training"


def test_a_large_table_is_sampled_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(LIMITS["quick"], rows=100)
    monkeypatch.setattr("millrace.training.train.LIMITS", {"quick": small})
    table, schema = mixed_table(300)
    result, predictions = cross_validated(table, schema, "linear")
    assert 100 <= result.rows <= 102
    assert "of 240 training rows" in result.notes[-1]
    assert int(np.isfinite(predictions).all(axis=1).sum()) == result.rows


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_of_very_many_rows_a_fold_validates_a_part(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    table, schema = mixed_table(300, task=task)
    whole = cut(table, schema, budget="quick", seed=0)
    monkeypatch.setattr("millrace.training.train.VALIDATED_ROWS", 40)
    rows, (result,), predictions = searched(table, schema, "linear")
    for part, before in zip(rows.folds, whole.folds, strict=True):
        assert 40 <= len(part.validation) <= 40 + len(schema.classes) < len(before.validation)
        assert set(part.validation) < set(before.validation)
        assert np.array_equal(part.training, before.training)
    known = np.isfinite(predictions["linear"].reshape(len(rows.chosen), -1)).all(axis=1)
    assert np.array_equal(np.flatnonzero(known), np.sort(rows.validated))
    assert result.cv_score is not None


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value).*:RuntimeWarning")
def test_numbers_of_extreme_size_never_give_a_score_that_is_no_number() -> None:
    table, schema = mixed_table(80, task="regression")
    wild = {**table.columns, "number": np.where(np.arange(80) % 2, 1e300, -1e300)}
    names = ("linear", "boosted_trees", "forest")
    _, results, _ = searched(replace(table, columns=wild), schema, *names)
    for result in results:
        # scikit-learn's estimators refuse what float32 cannot hold
        assert result.error or np.isfinite(result.cv_score or np.nan), result.name


def test_a_result_survives_json() -> None:
    table, schema = mixed_table(80)
    rows = cut(table, schema, budget="quick", seed=0)
    (one,) = train_folds(rows, schema, ["boosted_trees"], [1], budget="quick", seed=0)
    for each in (one[0], FoldResult("forest", 0, error="no")):
        assert decode(FoldResult, json.loads(json.dumps(encode(each), allow_nan=False))) == each


def test_folds_trained_apart_give_what_folds_trained_together_give() -> None:
    table, schema = mixed_table(150)
    names = ("linear", "boosted_trees")
    rows, together, predictions = searched(table, schema, *names)
    found = {}
    for name in reversed(names):
        for fold in (2, 0, 1, 7):
            for result, of_fold in train_folds(rows, schema, [name], [fold], budget="quick", seed=0):
                found[name, result.fold] = result, of_fold
    results, apart = put_together(rows, schema, names, found)
    assert [r.cv_score for r in results] == [r.cv_score for r in together]
    assert all(np.array_equal(apart[name], predictions[name], equal_nan=True) for name in names)


def test_a_candidate_that_fails_does_not_touch_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Learner.fit

    def fails(self: Learner, *rest: Any, **more: Any) -> Any:
        if self.name == "forest":
            raise MemoryError("x" * 1000)
        return fit(self, *rest, **more)

    monkeypatch.setattr(Learner, "fit", fails)
    table, schema = mixed_table(80)
    _, (linear, forest), predictions = searched(table, schema, "linear", "forest")
    assert (linear.state, list(predictions)) == ("ok", ["linear"])
    assert (forest.state, forest.error, forest.struck) == ("failed", "MemoryError: " + "x" * 487, True)


def test_a_fit_without_time_left_is_for_the_next_invocation_and_without_one_the_result_says_so() -> None:
    table, schema = mixed_table(80)
    rows = cut(table, schema, budget="quick", seed=0)
    folds = functools.partial(train_folds, rows, schema, ["linear"], [0, 1, 2], budget="quick", seed=0)
    left = [900.0]

    def trained(number: int) -> dict[tuple[str, int], tuple[FoldResult, Any]]:
        fits = Fits(Turn(number, remaining_s=lambda: left[0]))
        left[:], found = [900.0], {}
        for result, of_fold in folds(fits=fits):
            found[result.name, result.fold] = result, of_fold
            left[:] = [15.0]
        return found

    with pytest.raises(NotDone):
        trained(0)
    (result,), predictions = put_together(rows, schema, ["linear"], trained(MOST_TURNS - 1))
    assert (result.state, result.struck, predictions) == ("failed", True, {})
    assert result.error == "There was no time left for this fold."


def test_what_was_stopped_is_told_from_what_died() -> None:
    table, schema = mixed_table(80)
    rows = cut(table, schema, budget="quick", seed=0)
    names = ["linear", "forest", "extra_trees"]
    found = {
        (result.name, 0): (result, of_fold)
        for result, of_fold in train_folds(rows, schema, names[:2], [0], budget="quick", seed=0)
    }
    results, predictions = put_together(rows, schema, names, found, stopped=["forest"])
    assert [result.state for result in results] == ["failed", "stopped", "failed"]
    assert predictions == {}
    assert results[1].cv_score is not None
    assert [result.struck for result in results] == [True, False, True]
    assert "left no result" in str(results[2].error)


def test_the_result_does_not_depend_on_how_the_file_was_cut(shared_data: Path) -> None:
    data, _ = real_table(shared_data, "penguins_raw")
    spec = Spec(target="Species", exclude=("Individual ID", "Sample Number"))
    one, many = (table_of(data, spec, target_bytes=size) for size in (1 << 20, 4000))
    assert one[1] == many[1]
    results = [cross_validated(table, schema, "linear") for table, schema in (one, many)]
    assert np.array_equal(results[0][1], results[1][1])
