"""What an estimator learns further: what a fit to all rows would, or what scikit-learn itself would."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from millrace.contracts import Task
from millrace.errors import BadInput
from millrace.features.limits import LIMITS
from millrace.training.estimators import Builder, scale_of
from millrace.training.frame import to_frame
from millrace.training.further import Lesson, go_on, keep
from millrace.training.newton import Objective, moved, partial_sums
from millrace.training.pipeline import Encoded, Learner
from millrace.training.state import pack, unpack
from millrace.training.train import rows_of
from tests.learning import mixed_table

FIRST, ALL = 200, 300


def lesson(name: str, task: Task) -> tuple[Learner, Lesson]:
    """Return a candidate, and rows of a search with new ones under their features."""
    table, schema = mixed_table(ALL, task=task)
    learner = Learner(name, schema, LIMITS["quick"], 0)
    frame = to_frame(table, schema)
    rows = rows_of(table, schema, frame, np.arange(FIRST))
    searched = Encoded.of(rows, schema, learner.candidate.family, seed=0, watched=False)
    more = searched.features.transform(frame.iloc[FIRST:])
    stack = sparse.vstack if sparse.issparse(more) else np.concatenate
    matrix = stack([searched.matrix, more])
    matrix = sparse.csr_matrix(matrix) if sparse.issparse(more) else matrix
    return learner, Lesson(searched, matrix, table.target, ALL - FIRST)


def fitted(learner: Learner, given: Lesson, rounds: int | None = None) -> Any:
    return learner.fit(given.searched, given.begun, rounds=rounds).estimator


def builder(learner: Learner, given: Lesson, rounds: int | None = None) -> Any:
    made = Builder(learner.candidate, learner.schema, learner.limits, learner.seed)
    return made.build(given.searched.matrix.shape, given.begun, native=given.searched.native, rounds=rounds)


def test_least_squares_become_those_of_all_rows() -> None:
    learner, given = lesson("linear", "regression")
    kept = keep(fitted(learner, given), given.searched, given.begun)
    half = Lesson(given.searched, given.matrix[:250], given.target[:250], 50)
    once = go_on(learner, kept, half, rounds=None)
    rest = Lesson(given.searched, given.matrix, given.target, 50)
    twice = go_on(learner, once.kept, rest, rounds=None).estimator
    whole = Ridge(alpha=1.0, solver="cholesky").fit(given.matrix, given.target)
    assert np.abs(twice.coef_ - whole.coef_).max() < 1e-10
    assert abs(twice.intercept_ - whole.intercept_) < 1e-10
    assert np.abs(twice.predict(given.matrix) - whole.predict(given.matrix)).max() < 1e-9


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_a_logistic_model_comes_near_the_minimum_over_all_rows(task: Task) -> None:
    learner, given = lesson("linear", task)
    before = fitted(learner, given)
    kept = keep(before, given.searched, given.begun)
    after = go_on(learner, kept, given, rounds=None).estimator
    whole = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(given.matrix, given.target)

    def excess(model: Any) -> float:
        """How far the loss, the penalty included, is above its minimum, relative to it."""
        found = []
        for one in (model, whole):
            shares = one.predict_proba(given.matrix)[np.arange(ALL), given.target]
            found.append(float(-np.log(shares).sum() + 0.5 * np.sum(one.coef_**2)))
        return found[0] / found[1] - 1.0

    assert 0.0 <= excess(after) < 0.02 * excess(before)


def test_sums_moved_to_other_weights_are_those_taken_there_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    matrix, target = rng.normal(size=(50, 4)), rng.normal(size=50)
    objective = Objective(4, 0, 1.0)
    here, there = rng.normal(size=(2, 1, 5))
    found = moved(objective, partial_sums(objective, here, matrix, target), here, there)
    assert np.allclose(found, partial_sums(objective, there, matrix, target), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_boosting_goes_on_as_a_warm_start_does(task: Task) -> None:
    """On the rows that it was fitted to, where scikit-learn's own warm start may be compared."""
    learner, given = lesson("boosted_trees", task)
    kept = keep(fitted(learner, given, 12), given.searched, given.begun)
    same = Lesson(given.searched, given.searched.matrix, given.begun, FIRST // 2)
    ours = go_on(learner, kept, same, rounds=12).estimator
    theirs = builder(learner, given, 12).set_params(warm_start=True)
    theirs.fit(given.searched.matrix, given.begun)
    theirs.set_params(max_iter=24).fit(given.searched.matrix, given.begun)
    assert ours.n_iter_ == theirs.n_iter_ == 24
    assert nodes(ours) == nodes(theirs)


def test_boosting_keeps_its_trees_and_bins_over_new_rows_with_other_ranges_and_categories() -> None:
    learner, given = lesson("boosted_trees", "binary")
    before = fitted(learner, given, 12)
    matrix = given.matrix.copy()
    matrix[FIRST:, given.searched.native :] *= 3.0
    matrix[FIRST:, 0] = -1.0
    kept = keep(before, given.searched, given.begun)
    wider = Lesson(given.searched, matrix, given.target, given.new)
    after = go_on(learner, kept, wider, rounds=12)
    assert nodes(after.estimator)[: len(nodes(before))] == nodes(before)
    assert after.how == "12 rounds became 18"
    thresholds = set(np.concatenate(before._bin_mapper.bin_thresholds_).tolist())
    grown = [tree.nodes for one in after.estimator._predictors[12:] for tree in one]
    for tree in grown:
        numeric = tree["num_threshold"][(tree["is_leaf"] == 0) & (tree["is_categorical"] == 0)]
        assert set(numeric.tolist()) <= thresholds | {np.inf}
    again = go_on(learner, kept, wider, rounds=12)
    assert nodes(again.estimator) == nodes(after.estimator)


def nodes(boosted: Any) -> list[bytes]:
    return [tree.nodes.tobytes() for one in boosted._predictors for tree in one]


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_a_network_goes_on_as_partial_fit_does(task: Task) -> None:
    learner, given = lesson("network", task)
    network = fitted(learner, given)
    kept = keep(network, given.searched, given.begun)
    assert kept is not None
    ours = go_on(learner, kept, given, rounds=None)
    target, (center, scale) = given.target, (0.0, 1.0)
    if task == "regression":
        center, scale = scale_of(given.begun)
        target = (target - center) / scale
    theirs = network.set_params(early_stopping=False)
    rescale(theirs, 1.0 / scale, -center / scale)
    passes = given.share(kept.about["passes"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(passes):
            theirs.partial_fit(given.matrix, target)
    rescale(theirs, scale, center)
    assert passes > 1
    assert ours.how.startswith(f"{passes} passes")
    mine = ours.estimator
    for one, other in ((mine.coefs_, theirs.coefs_), (mine.intercepts_, theirs.intercepts_)):
        assert all(map(np.array_equal, one, other))


def rescale(network: Any, scale: float, center: float) -> None:
    if scale != 1.0:
        network.coefs_[-1] = network.coefs_[-1] * scale
        network.intercepts_[-1] = network.intercepts_[-1] * scale + center


def test_a_forest_is_fitted_anew_to_all_rows() -> None:
    learner, given = lesson("forest", "binary")
    assert keep(fitted(learner, given), given.searched, given.begun) is None
    ours = go_on(learner, None, given, rounds=None)
    whole = Encoded(given.searched.features, given.matrix, given.searched.native)
    theirs = learner.fit(whole, given.target).estimator
    assert np.array_equal(ours.estimator.predict_proba(given.matrix), theirs.predict_proba(given.matrix))


def test_what_is_for_small_tables_does_not_learn_more_rows_than_those_have() -> None:
    learner, given = lesson("support_vectors", "binary")
    many = Lesson(given.searched, given.matrix, np.zeros(3_001), 10)
    with pytest.raises(BadInput, match="3,000 rows"):
        go_on(learner, None, many, rounds=None)


def test_weighed_classes_leave_a_linear_model_no_sums() -> None:
    table, schema = mixed_table(200, task="binary", metric="f1_macro")
    rows = rows_of(table, schema, to_frame(table, schema), np.arange(200))
    encoded = Encoded.of(rows, schema, "linear", seed=0, watched=False)
    weighed = Learner("linear", schema, LIMITS["quick"], 0)
    assert keep(weighed.fit(encoded, rows.target).estimator, encoded, rows.target) is None


def test_what_is_stored_is_read_again_unless_it_is_damaged_or_something_else() -> None:
    arrays = {"a/b": np.arange(3.0), "c": np.array([True])}
    data = pack(b"head\n", {"x": [1, None]}, arrays)
    assert data == pack(b"head\n", {"x": [1, None]}, arrays)
    found = unpack(b"head\n", data)
    assert found is not None
    assert found[0] == {"x": [1, None]}
    assert {name: array.tolist() for name, array in found[1].items()} == {"a/b": [0, 1, 2], "c": [True]}
    assert unpack(b"other\n", data) is None
    for place in (0, 20, len(data) - 1):
        assert unpack(b"head\n", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]) is None
    assert unpack(b"head\n", data[:-1]) is None
