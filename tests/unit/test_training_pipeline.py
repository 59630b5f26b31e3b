"""Pipelines: every candidate learns every task, within its bounds, from any column that a file may have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from millrace.contracts import Schema, Task
from millrace.features.blocks import Table
from millrace.features.candidates import CANDIDATES
from millrace.features.limits import LIMITS, boosting_rounds, fold_count, forest_size
from millrace.training.frame import to_frame
from millrace.training.metrics import score
from millrace.training.pipeline import Encoded, Fitted, Learner, Rows, predict
from tests.learning import make_table, mixed_table

FOR_ALL = [each.name for each in CANDIDATES.values() if len(each.tasks) == 3]


def fit(table: Table, schema: Schema, name: str, *, rounds: int | None = None) -> Fitted:
    learner = Learner(name, schema, LIMITS["quick"], seed=0)
    return learner.fit(encoded(table, schema, name, watched=rounds is None), table.target, rounds=rounds)


def encoded(table: Table, schema: Schema, name: str, *, watched: bool = True) -> Encoded:
    rows = Rows(to_frame(table, schema), table.target, table.record)
    return Encoded.of(rows, schema, CANDIDATES[name].family, seed=0, watched=watched)


def fitted(table: Table, schema: Schema, name: str) -> Pipeline:
    rows = Rows(to_frame(table, schema), table.target, table.record)
    return Learner(name, schema, LIMITS["quick"], seed=0).pipeline(rows)


def test_a_frame_holds_floats_and_objects_only() -> None:
    """pandas 3 would make its own string type of text, with another missing value."""
    frame = to_frame(*mixed_table(50))
    assert [str(kind) for kind in frame.dtypes] == [
        *["float64"] * 3,
        "object",
        "float64",
        "object",
    ]
    assert {type(value) for value in frame["colour"]} == {str, type(None)}


@pytest.mark.parametrize(
    ("name", "task"), [(each.name, task) for each in CANDIDATES.values() for task in each.tasks]
)
def test_each_candidate_learns_its_tasks(name: str, task: Task) -> None:
    table, schema = mixed_table(400, task=task)
    test, _ = mixed_table(200, task=task, seed=1)
    if CANDIDATES[name].counts:
        table, test = (replace(each, target=np.exp(each.target / 2.0)) for each in (table, test))
    prediction = predict(fitted(table, schema, name), to_frame(test, schema), schema)
    if task == "regression":
        assert prediction.shape == (200,)
        assert score("r2", test.target, prediction) > 0.4
    else:
        assert prediction.shape == (200, len(schema.classes))
        assert prediction.sum(axis=1) == pytest.approx(1.0)
        assert score("roc_auc", test.target, prediction) > 0.75


@pytest.mark.parametrize("name", ["linear", "boosted_trees", "forest"])
def test_missing_unseen_and_empty_values_are_predicted(name: str) -> None:
    table, schema = mixed_table(120)
    pipeline = fitted(table, schema, name)
    odd = pd.DataFrame(
        {
            "number": [np.nan, 1e12],
            "half": [np.nan, 0.0],
            "flag": [np.nan, 1.0],
            "colour": pd.Series(["violet", None], dtype=object),
            "time": [np.nan, -1e12],
            "text": pd.Series([None, "never seen words"], dtype=object),
        }
    )
    assert np.isfinite(predict(pipeline, odd, schema)).all()


@pytest.mark.parametrize("name", FOR_ALL)
def test_columns_that_are_empty_in_the_rows_at_hand_do_no_harm(name: str) -> None:
    """A column may be filled in the file and yet empty in a fold; a text may have no word in it."""
    rows = 40
    empty = np.full(rows, None, dtype=object)
    dots = np.array(["...", "!"] * 20, dtype=object)
    table, schema = make_table(
        {
            "x": ("number", np.arange(rows, dtype=np.float64)),
            "nothing": ("number", np.full(rows, np.nan)),
            "never": ("time", np.full(rows, np.nan)),
            "blank": ("category", empty),
            "silent": ("text", empty),
            "dots": ("text", dots),
        },
        np.arange(rows) % 2,
        task="binary",
        classes=("a", "b"),
    )
    prediction = predict(fitted(table, schema, name), to_frame(table, schema), schema)
    assert np.isfinite(prediction).all()


def test_a_class_that_the_rows_lack_gets_no_probability() -> None:
    table, schema = mixed_table(90, task="multiclass")
    schema = replace(schema, classes=("absent", *schema.classes))
    shifted = replace(table, target=table.target + 1)
    for name in ("linear", "boosted_trees", "forest"):
        prediction = predict(fitted(shifted, schema, name), to_frame(table, schema), schema)
        assert (prediction[:, 0] == 0.0).all()
        assert prediction.sum(axis=1) == pytest.approx(1.0)


def test_rows_of_one_class_give_the_constant_model_of_it() -> None:
    table, schema = mixed_table(30)
    alone = replace(table, target=np.ones(30, dtype=np.int32))
    prediction = predict(fitted(alone, schema, "linear"), to_frame(table, schema), schema)
    assert prediction.tolist() == [[0.0, 1.0]] * 30


def test_a_class_of_one_row_does_not_stop_early_stopping() -> None:
    table, schema = mixed_table(60)
    rare = replace(table, target=np.where(np.arange(60) == 7, 1, 0).astype(np.int32))
    rounds = fit(rare, schema, "boosted_trees").rounds
    assert rounds is not None
    assert rounds >= 1


def test_boosting_finds_its_rounds_and_then_takes_them_as_given() -> None:
    table, schema = mixed_table(300)
    found = fit(table, schema, "boosted_trees").rounds
    assert found is not None
    assert 1 <= found <= LIMITS["quick"].rounds
    assert fit(table, schema, "linear").rounds is None
    given = fit(table, schema, "boosted_trees", rounds=7)
    assert given.estimator.n_iter_ == 7
    assert given.rounds is None


def test_fitting_twice_gives_the_same_predictions() -> None:
    table, schema = mixed_table(60)
    frame = to_frame(table, schema)
    for name in FOR_ALL:
        one, two = (predict(fitted(table, schema, name), frame, schema) for _ in range(2))
        assert np.array_equal(one, two), name


def test_many_categories_are_grouped_for_boosting_and_numbered_for_trees() -> None:
    rows = 1200
    many = np.array([f"c{i % 400:03d}" for i in range(rows)], dtype=object)
    signal = np.array([float(name[1:]) for name in many])
    table, schema = make_table({"many": ("category", many)}, signal, task="regression")
    for name in ("boosted_trees", "forest", "extra_trees", "linear"):
        prediction = predict(fitted(table, schema, name), to_frame(table, schema), schema)
        assert score("r2", table.target, prediction) > 0.8, name


def test_bounds_grow_with_the_budget() -> None:
    quick, standard, thorough = (LIMITS[name] for name in ("quick", "standard", "thorough"))
    for small, large in ((quick, standard), (standard, thorough)):
        assert small.rows < large.rows
        assert small.rounds < large.rounds
        assert small.leaf_values < large.leaf_values


@pytest.mark.parametrize("rows", [100, 5_000, 50_000, 200_000])
@pytest.mark.parametrize("outputs", [1, 3, 50])
def test_a_forest_stays_within_its_leaves(rows: int, outputs: int) -> None:
    limits = LIMITS["standard"]
    trees, leaves = forest_size(limits, rows, 5, outputs)
    assert 40 <= trees <= limits.trees
    assert leaves >= 2
    assert trees * leaves * outputs <= max(limits.leaf_values, 40 * 2 * outputs)


def test_boosting_is_bounded_by_trees_and_by_work() -> None:
    limits = LIMITS["standard"]
    assert boosting_rounds(limits, 1_000, 10, 1) == limits.rounds
    assert boosting_rounds(limits, 1_000, 10, 20) == limits.boosted_trees // 20
    assert boosting_rounds(limits, 200_000, 100, 1) == 50
    assert boosting_rounds(limits, 1_000, 10, 5_000) == 1


def test_large_tables_get_fewer_folds() -> None:
    assert fold_count(LIMITS["standard"], 20_000) == 5
    assert fold_count(LIMITS["standard"], 20_001) == 3
