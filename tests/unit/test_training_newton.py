"""Exact fits over shards: the minimum that scikit-learn finds on the whole table, however it is divided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge

from millrace.training.newton import MAX_ROUNDS, Objective, Progress, advance, begin, partial_sums

Floats = NDArray[np.float64]


def rows(classes: int, *, count: int = 3_000, columns: int = 6, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(count, columns)) * rng.uniform(0.1, 5.0, columns)
    raw = matrix @ rng.normal(size=(columns, max(1, classes))) + rng.normal(size=max(1, classes))
    if not classes:
        return matrix, raw[:, 0] + rng.normal(size=count)
    noisy = raw + 3.0 * rng.gumbel(size=raw.shape)
    codes = noisy.argmax(axis=1) if classes > 2 else (noisy[:, 0] > 0.0)
    return matrix, codes.astype(np.float64)


def fit(objective: Objective, matrix: Floats, target: Floats, cuts: list[int]) -> Progress:
    progress = begin(objective)
    while not progress.done:
        parts = zip(np.split(matrix, cuts), np.split(target, cuts), strict=True)
        sums = [partial_sums(objective, progress.weights, *part) for part in parts]
        progress = advance(objective, progress, sum(sums[1:], sums[0]))
    return progress


def test_ridge_is_exact_in_one_round() -> None:
    matrix, target = rows(0)
    found = fit(Objective(6, 0, 2.5), matrix, target, [10, 1_000, 2_999])
    expected = Ridge(alpha=2.5, solver="cholesky").fit(matrix, target)
    assert found.rounds == 1
    np.testing.assert_allclose(found.weights[0], [*expected.coef_, expected.intercept_], rtol=1e-10)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_logistic_models_reach_the_minimum_in_a_few_rounds(classes: int) -> None:
    matrix, target = rows(classes)
    found = fit(Objective(6, classes, 0.5), matrix, target, [500, 501, 2_000])
    expected = LogisticRegression(C=2.0, tol=1e-12, max_iter=10_000).fit(matrix, target)
    assert found.rounds <= 8
    assert found.gap <= 1e-8 * found.loss
    weights = np.column_stack([expected.coef_, expected.intercept_])
    np.testing.assert_allclose(found.weights, weights, rtol=1e-5, atol=1e-6)


def test_shards_are_added_in_their_order_whoever_computed_them() -> None:
    """Sums of the same shards are the same bits; one that was lost is computed again to the same bits."""
    matrix, target = rows(3)
    objective = Objective(6, 3, 1.0)
    weights = np.full(objective.shape, 0.1)
    once = partial_sums(objective, weights, matrix[:1_000], target[:1_000])
    again = partial_sums(objective, weights.copy(), matrix[:1_000].copy(), target[:1_000].copy())
    assert once.tobytes() == again.tobytes()
    first, second = (fit(objective, matrix, target, [1_000, 2_000]) for _ in range(2))
    assert first.weights.tobytes() == second.weights.tobytes()


def test_a_step_that_leads_uphill_is_halved() -> None:
    objective = Objective(1, 2, 1e-3)
    matrix, target = rows(2, columns=1)
    far = begin(objective, np.array([[0.0, 4.0]]))
    progress = far
    losses = []
    while not progress.done:
        progress = advance(objective, progress, partial_sums(objective, progress.weights, matrix, target))
        losses.append(progress.loss)
    assert losses == sorted(losses, reverse=True)
    assert progress.rounds < MAX_ROUNDS
    near = fit(objective, matrix, target, [])
    np.testing.assert_allclose(progress.weights, near.weights, rtol=1e-6)


def test_rows_that_never_settle_end_at_the_best_weights() -> None:
    objective = Objective(1, 2, 1.0)
    start = replace(begin(objective), loss=1.0, direction=np.ones(objective.shape), rounds=MAX_ROUNDS - 1)
    sums = partial_sums(objective, np.full(objective.shape, 50.0), np.ones((9, 1)), np.zeros(9))
    found = advance(objective, start, sums)
    assert found.done
    assert found.weights.tolist() == [[0.0, 0.0]]


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        begin(Objective(3, 2, 1.0), np.zeros((1, 3)))
