"""What a fitted estimator learned, as arrays; and how it learns from further rows.

A linear model keeps the sums of its loss over the rows that it has seen: its value, gradient and Hessian. Of
least squares these are all that the rows have to say, so the further model is the one that a fit to all rows
would give. Of logistic losses they are the expansion to the second order, Laplace's approximation of what
the rows say [1]_, beside which the loss of the new rows is taken as it is.

Boosted trees and networks go on where they stopped: with more rounds (scikit-learn's ``warm_start``), or
with more passes (its ``partial_fit``). Both go over all rows that may be learned from, for they would forget
the old ones over the new ones alone; and as far as the new rows' share of them says. So what that costs grows
with the new rows, and not with all.

Everything else is fitted anew to all rows: forests, whose trees see a bounded number of rows, and what is for
small tables alone.

References
----------
.. [1] D. J. Spiegelhalter and S. L. Lauritzen, "Sequential updating of conditional probabilities on directed
   graphical structures", Networks 20 (1990).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from millrace.errors import BadInput
from millrace.training.estimators import Builder, scale_of
from millrace.training.kept import keep_network, keep_trees, restore_fitted, restore_network
from millrace.training.newton import (
    MAX_PARAMETERS,
    Objective,
    advance,
    begin,
    moved,
    partial_sums,
    weights_of,
)
from millrace.training.pipeline import Encoded, Learner
from millrace.training.state import Kept

__all__ = ["Further", "Lesson", "go_on", "keep"]

Floats = NDArray[np.float64]

SLICE_ROWS = 1 << 14
"""Rows of a sparse matrix that are summed at once; fixed, since the order of a sum decides its last bits."""


@dataclass(frozen=True)
class Lesson:
    """Rows under the features of one family, which the rows of the search fitted.

    Attributes
    ----------
    searched : Encoded
        Those that the search fitted its choice to.
    matrix : ndarray or sparse matrix of shape (n, columns)
        All that may be learned from: those of the search, then those of earlier updates, then the new ones.
    target : ndarray of shape (n,)
        Of these.
    new : int
        How many of them are new, the last ones.
    """

    searched: Encoded
    matrix: Any
    target: NDArray[Any]
    new: int

    @property
    def begun(self) -> NDArray[Any]:
        """The targets of the rows that the search fitted its choice to."""
        return self.target[: self.searched.matrix.shape[0]]

    def share(self, of: int) -> int:
        """Return how much more of so much the new rows are worth, at least 1."""
        return max(1, round(of * self.new / (len(self.target) - self.new)))


@dataclass(frozen=True)
class Further:
    """An estimator that has learned the new rows.

    Attributes
    ----------
    estimator : BaseEstimator
        Fitted.
    kept : Kept or None
        What it has learned now; None of one that was fitted anew.
    how : str
        How it did, for people.
    """

    estimator: Any
    kept: Kept | None
    how: str


def keep(estimator: Any, encoded: Encoded, target: NDArray[Any]) -> Kept | None:
    """Return what a fitted estimator learned, as arrays; None of one that does not go on but begins anew.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted to ``encoded`` and ``target``.
    encoded : Encoded
        Rows under the features of its family.
    target : ndarray of shape (n,)
        Class codes or values.
    """
    if isinstance(estimator, (HistGradientBoostingClassifier, HistGradientBoostingRegressor)):
        return keep_trees(estimator, {})
    if isinstance(estimator, (MLPClassifier, MLPRegressor)):
        center, scale = (0.0, 1.0) if isinstance(estimator, MLPClassifier) else scale_of(target)
        return keep_network(estimator, {"center": center, "scale": scale})
    objective = _objective(estimator, encoded)
    if objective is None:
        return None
    weights = weights_of(estimator)
    sums = _sums(objective, weights, encoded.matrix, _codes(estimator, target))
    return Kept({"weights": weights, "sums": sums}, {"penalty": objective.penalty})


def go_on(learner: Learner, kept: Kept | None, lesson: Lesson, *, rounds: int | None) -> Further:
    """Let an estimator learn the new rows.

    Parameters
    ----------
    learner : Learner
        Of its candidate.
    kept : Kept, optional
        What it learned so far; without it, it is fitted anew to all rows.
    lesson : Lesson
        The rows.
    rounds : int, optional
        Boosting rounds that the search decided.

    Raises
    ------
    BadInput
        It cannot: it is for tables with fewer rows.
    """
    most = learner.candidate.most_rows
    if most is not None and len(lesson.target) > most:
        raise BadInput(f"{learner.name} is for at most {most:,} rows", code="update-impossible")
    if kept is None:
        whole = Encoded(lesson.searched.features, lesson.matrix, lesson.searched.native)
        return Further(
            learner.fit(whole, lesson.target, rounds=rounds).estimator, None, "fitted anew to all rows"
        )
    builder = Builder(learner.candidate, learner.schema, learner.limits, learner.seed)
    # Its settings are those that the search gave it, which depend on the rows that it had then.
    estimator: Any = builder.build(
        lesson.searched.matrix.shape, lesson.begun, native=lesson.searched.native, rounds=rounds
    )
    if "nodes" in kept.arrays:
        return _more_rounds(estimator, kept, lesson)
    if "sums" in kept.arrays:
        return _further_sums(estimator, kept, lesson)
    return _more_passes(estimator, kept, lesson)


# --- linear models -------------------------------------------------------------------------------


def _objective(estimator: Any, encoded: Encoded) -> Objective | None:
    """Return what a linear model makes small, if its sums are all that it needs and are few enough."""
    if not isinstance(estimator, (Ridge, LogisticRegression)) or encoded.weight is not None:
        return None
    classes, penalty = 0, 0.0
    if isinstance(estimator, LogisticRegression):
        if estimator.class_weight is not None:
            return None
        classes, penalty = len(estimator.classes_), 1.0 / estimator.C
    else:
        penalty = float(estimator.alpha)
    objective = Objective(encoded.matrix.shape[1], classes, penalty)
    return objective if objective.parameters <= MAX_PARAMETERS else None


def _codes(estimator: Any, target: NDArray[Any]) -> Floats:
    """Return the target as the sums take it: values, or places among the classes of the model."""
    if not hasattr(estimator, "classes_"):
        return np.asarray(target, dtype=np.float64)
    return np.searchsorted(estimator.classes_, target).astype(np.float64)


def _sums(objective: Objective, weights: Floats, matrix: Any, target: Floats) -> Floats:
    found: Floats | None = None
    for start in range(0, matrix.shape[0], SLICE_ROWS):
        piece = matrix[start : start + SLICE_ROWS]
        dense = piece.toarray() if sparse.issparse(piece) else np.asarray(piece)
        part = partial_sums(objective, weights, dense, target[start : start + SLICE_ROWS])
        found = part if found is None else found + part
    assert found is not None
    return found


def _further_sums(estimator: Any, kept: Kept, lesson: Lesson) -> Further:
    """Take the minimum over what the sums say of the rows before, and over the new rows themselves."""
    if isinstance(estimator, LogisticRegression):
        estimator.classes_ = np.unique(lesson.begun)
    classes = len(getattr(estimator, "classes_", ()))
    objective = Objective(lesson.matrix.shape[1], classes, kept.about["penalty"])
    start, sums = kept.arrays["weights"], kept.arrays["sums"]
    matrix, target = lesson.matrix[-lesson.new :], _codes(estimator, lesson.target[-lesson.new :])

    def together(weights: Floats) -> Floats:
        before = moved(objective, sums, start, weights)
        return before + _sums(objective, weights, matrix, target)

    progress = begin(objective, start)
    while not progress.done:
        progress = advance(objective, progress, together(progress.weights))
    weights = progress.weights
    estimator.n_features_in_ = objective.columns
    estimator.coef_ = weights[:, :-1] if classes else weights[0, :-1]
    estimator.intercept_ = weights[:, -1] if classes else float(weights[0, -1])
    how = "the minimum over what it kept of the rows before and over the new ones"
    if not classes:
        how = "the least squares of all rows"
    return Further(estimator, Kept({"weights": weights, "sums": together(weights)}, kept.about), how)


# --- boosted trees -------------------------------------------------------------------------------


def _more_rounds(estimator: Any, kept: Kept, lesson: Lesson) -> Further:
    searched = lesson.searched
    # The bins are those of the search's rows: what the trees before were grown on.
    restore_fitted(estimator, kept, searched.matrix, lesson.begun)
    before = estimator.n_iter_
    more = before + lesson.share(before)
    with _same_bins(estimator):
        estimator.set_params(warm_start=True, max_iter=more).fit(lesson.matrix, lesson.target)
    how = f"{before} rounds became {estimator.n_iter_}"
    return Further(estimator.set_params(warm_start=False), keep_trees(estimator, {}), how)


@contextmanager
def _same_bins(estimator: Any) -> Iterator[None]:
    """Let a fitted boosted model keep its categories and bins while it is fitted to other rows."""
    mapper, columns = estimator._bin_mapper, estimator._preprocessor
    categories = None if columns is None else estimator._check_categories()
    plain = estimator._preprocess_X

    def preprocess(X: Any, *, reset: bool) -> Any:
        found = plain(X, reset=False)
        return (found, categories) if reset else found

    def bin_data(X: Any, sample_weight: Any, is_training_data: bool) -> Any:
        estimator._bin_mapper = mapper
        return mapper.transform(X)

    estimator._preprocess_X, estimator._bin_data = preprocess, bin_data
    try:
        yield
    finally:
        del estimator._preprocess_X, estimator._bin_data


# --- networks ------------------------------------------------------------------------------------


def _more_passes(network: Any, kept: Kept, lesson: Lesson) -> Further:
    about = kept.about
    center, scale = about["center"], about["scale"]
    restore_network(network, kept, lesson.matrix, lesson.begun)
    target = lesson.target
    if isinstance(network, MLPRegressor):
        target = (target - center) / scale
    _rescale(network, 1.0 / scale, -center / scale)
    passes = lesson.share(about["passes"])
    with warnings.catch_warnings():
        # Few rows are less than a batch.
        warnings.simplefilter("ignore", UserWarning)
        for _ in range(passes):
            network.partial_fit(lesson.matrix, target)
    _rescale(network, scale, center)
    kept = keep_network(network, {"center": center, "scale": scale})
    return Further(network, kept, f"{passes} {'pass' if passes == 1 else 'passes'} more over all rows")


def _rescale(network: Any, scale: float, center: float) -> None:
    """Let a network of regression predict ``scale`` times what it did, and ``center`` more."""
    if isinstance(network, MLPRegressor):
        network.coefs_[-1] = network.coefs_[-1] * scale
        network.intercepts_[-1] = network.intercepts_[-1] * scale + center
