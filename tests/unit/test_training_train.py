"""One candidate, cross-validated: honest, reproducible, and not stopped by rare classes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from millrace.contracts import Spec, Task, decode, encode
from millrace.errors import BadInput
from millrace.training.limits import LIMITS
from millrace.training.metrics import score
from millrace.training.train import CandidateResult, failed, split, train_candidate
from tests.learning import make_table, mixed_table, real_table, table_of


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_predictions_are_out_of_fold_and_scored(task: Task) -> None:
    table, schema = mixed_table(200, task=task)
    result, predictions = train_candidate(table, schema, "linear", budget="quick", seed=1)
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
    first, second = (
        train_candidate(t, schema, "forest", budget="quick", seed=0)
        for t in (table, replace(table, columns=other))
    )
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
        result, _ = train_candidate(table, schema, name, budget="quick", seed=0)
        assert result.cv_score == pytest.approx(0.5, abs=0.12), name


def test_boosting_reports_the_rounds_that_the_folds_agreed_on() -> None:
    table, schema = mixed_table(200)
    result, _ = train_candidate(table, schema, "boosted_trees", budget="quick", seed=0)
    assert result.rounds is not None
    assert 1 <= result.rounds <= LIMITS["quick"].rounds


def test_the_same_seed_gives_the_same_result() -> None:
    table, schema = mixed_table(120)
    one, two, other = (
        train_candidate(table, schema, "extra_trees", budget="quick", seed=seed)[1] for seed in (3, 3, 4)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_class_of_one_row_trains_and_is_not_scored() -> None:
    table, schema = mixed_table(60, task="multiclass")
    target = np.where(table.target == 2, 0, table.target)
    target[10] = 2
    lone = replace(table, target=target.astype(np.int32))
    for name in ("linear", "boosted_trees", "forest"):
        result, predictions = train_candidate(lone, schema, name, budget="quick", seed=0)
        training = split(lone, schema, seed=0).training
        assert 10 in training
        unscored = training[np.isnan(predictions).any(axis=1)]
        assert unscored.tolist() == [10]
        assert result.state == "ok"


def test_where_the_metric_is_not_defined_another_one_scores_and_a_note_says_so() -> None:
    """Twelve rows of one class and one of the other: no validated row has the second class."""
    table, schema = mixed_table(13)
    lone = replace(table, target=(np.arange(13) == 4).astype(np.int32))
    result, _ = train_candidate(lone, schema, "linear", budget="quick", seed=0)
    assert result.metric == "log_loss"
    assert "roc_auc is not defined" in result.notes[0]


def test_a_time_column_means_that_the_future_is_never_seen() -> None:
    table, schema = mixed_table(120)
    schema = replace(schema, time_column="time")
    time = table.columns["time"]
    sides = split(table, schema, seed=0)
    assert time[sides.training].max() < time[sides.held_out].min()
    result, predictions = train_candidate(table, schema, "boosted_trees", budget="quick", seed=0)
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
        train_candidate(
            replace(table, target=latest.astype(np.int32)), schema, "linear", budget="quick", seed=0
        )
    assert caught.value.code == "one-class-in-training"


def test_a_large_table_is_sampled_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(LIMITS["quick"], rows=100)
    monkeypatch.setattr("millrace.training.train.LIMITS", {"quick": small})
    table, schema = mixed_table(300)
    result, predictions = train_candidate(table, schema, "linear", budget="quick", seed=0)
    assert 100 <= result.rows <= 102
    assert "of 240 training rows" in result.notes[-1]
    assert int(np.isfinite(predictions).all(axis=1).sum()) == result.rows


@pytest.mark.filterwarnings("ignore:.*(overflow|invalid value).*:RuntimeWarning")
def test_numbers_of_extreme_size_never_give_a_score_that_is_no_number() -> None:
    table, schema = mixed_table(80, task="regression")
    wild = {**table.columns, "number": np.where(np.arange(80) % 2, 1e300, -1e300)}
    for name in ("linear", "boosted_trees", "forest"):
        try:
            result, _ = train_candidate(replace(table, columns=wild), schema, name, budget="quick", seed=0)
        except (ValueError, BadInput):
            continue  # scikit-learn's estimators refuse what float32 cannot hold
        assert np.isfinite(result.cv_score or np.nan), name


def test_a_result_survives_json() -> None:
    table, schema = mixed_table(80)
    result, _ = train_candidate(table, schema, "boosted_trees", budget="quick", seed=0)
    for each in (result, failed("forest", ValueError("no"))):
        assert decode(CandidateResult, json.loads(json.dumps(encode(each), allow_nan=False))) == each


def test_a_failure_names_its_error() -> None:
    error = BadInput("It is wrong", code="wrong", remedy="Mend it.")
    assert failed("linear", error).error == "BadInput: It is wrong. Mend it."
    assert failed("linear", ValueError("x" * 1000)).error == "ValueError: " + "x" * 488


def test_the_result_does_not_depend_on_how_the_file_was_cut(shared_data: Path) -> None:
    data, _ = real_table(shared_data, "penguins_raw")
    spec = Spec(target="Species", exclude=("Individual ID", "Sample Number"))
    one, many = (table_of(data, spec, target_bytes=size) for size in (1 << 20, 4000))
    assert one[1] == many[1]
    results = [
        train_candidate(table, schema, "linear", budget="quick", seed=0) for table, schema in (one, many)
    ]
    assert np.array_equal(results[0][1], results[1][1])
