"""Linear and logistic models fitted exactly to rows that no function holds at once.

The rows lie in shards. In a round, each shard's loss, gradient and Hessian are computed wherever there is
room, and added up in the order of the shards; one Newton step then moves the weights. Least squares need one
round, logistic models about four from weights that a sample gave: a step so near the minimum about squares
the distance to it [1]_. The sums are the same bits whoever computed a shard, so the weights do not depend on
how many workers there were, nor on whether one of them died and was replaced.

References
----------
.. [1] Boyd and Vandenberghe, "Convex Optimization", Cambridge University Press, 2004, sections 9.5 and 9.6:
   Newton's method, the Newton decrement and backtracking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

__all__ = [
    "MAX_PARAMETERS",
    "MAX_ROUNDS",
    "Exact",
    "Objective",
    "Progress",
    "advance",
    "begin",
    "moved",
    "partial_sums",
    "set_weights",
    "weights_of",
]

Floats = NDArray[np.float64]

MAX_PARAMETERS = 2_000
"""Weights beyond which a shard's Hessian, 16 MB at this number, costs more than its exactness is worth."""
MAX_ROUNDS = 20
"""Rounds after which the weights are taken as they are; about four are usual."""
GAP = 1e-8
"""Newton's estimate of the distance to the minimum, relative to the loss, at which its step is the last."""
_SLICE_ROWS = 4096
"""Rows that are multiplied at once; fixed, since the order of a sum decides its last bits."""


@dataclass(frozen=True)
class Objective:
    """What is minimised: the loss summed over the rows, and half the penalty times the squared weights.

    Least squares are halved, as the penalty is, so that ``penalty`` is scikit-learn's ``alpha`` of ``Ridge``
    and ``1 / C`` of ``LogisticRegression``. Intercepts are not penalised.

    Attributes
    ----------
    columns : int
        Columns of the matrix.
    classes : int
        0 for least squares, 2 for the logistic and more for the multinomial logistic loss.
    penalty : float
        Above 0.
    """

    columns: int
    classes: int
    penalty: float

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs, and their weights with the intercept behind."""
        return (self.classes if self.classes > 2 else 1), self.columns + 1

    @property
    def parameters(self) -> int:
        """How many weights and intercepts there are."""
        outputs, weights = self.shape
        return outputs * weights


@dataclass(frozen=True)
class Progress:
    """Where the search for the minimum is.

    Attributes
    ----------
    weights : NDArray of the objective's shape
        Where the next round takes its sums; the result, when ``done``.
    rounds : int
        Rounds behind it.
    done : bool
        Whether no further round is needed.
    loss : float
        The objective at ``base``; infinite before the first round.
    gap : float
        Estimate of how far ``loss`` is above the minimum.
    base, direction : NDArray of the objective's shape
        The best weights so far, and Newton's step from there.
    """

    weights: Floats
    base: Floats
    direction: Floats
    rounds: int = 0
    done: bool = False
    loss: float = np.inf
    gap: float = np.inf


def begin(objective: Objective, weights: Floats | None = None) -> Progress:
    """Start from weights of the objective's shape, or from zeros."""
    start = np.zeros(objective.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if start.shape != objective.shape:
        raise ValueError(f"weights of shape {start.shape} where {objective.shape} are needed")
    return Progress(start, start, np.zeros_like(start))


@dataclass(frozen=True)
class Exact:
    """Where the searches for the minima ended.

    Attributes
    ----------
    weights : mapping of str to NDArray
        By candidate, in the shape of its objective.
    rows, rounds, shards : int
        Rows that they were fitted to, and how.
    """

    weights: Mapping[str, Floats]
    rows: int
    rounds: int
    shards: int

    def notes(self, names: Iterable[str]) -> list[str]:
        """Say which of some candidates have these weights."""
        return [
            f"The weights of {name} are fitted to all {self.rows} rows that are not held out, in rounds over "
            f"{self.shards} shards ({self.rounds} of them)."
            for name in names
            if name in self.weights
        ]


def weights_of(estimator: Any) -> Floats:
    """Return a fitted ``Ridge``'s or ``LogisticRegression``'s weights, shape (outputs, columns + 1)."""
    coefficients = np.atleast_2d(estimator.coef_)
    return np.column_stack([coefficients, np.broadcast_to(estimator.intercept_, len(coefficients))])


def set_weights(estimator: Any, weights: Floats) -> None:
    """Give a fitted estimator the weights that :func:`weights_of` would return.

    Raises
    ------
    ValueError
        It has another number of them.
    """
    if weights.shape != weights_of(estimator).shape:
        raise ValueError(f"weights of shape {weights.shape} for {weights_of(estimator).shape}")
    estimator.coef_ = weights[:, :-1].reshape(estimator.coef_.shape)
    intercepts = weights[:, -1]
    estimator.intercept_ = intercepts if np.ndim(estimator.intercept_) else float(intercepts[0])


def partial_sums(objective: Objective, weights: Floats, matrix: Floats, target: Floats) -> Floats:
    """Return one shard's sums: rows, loss, gradient, and the Hessian's upper triangle, row by row.

    Parameters
    ----------
    objective : Objective
        What is minimised; the penalty is not a shard's matter.
    weights : NDArray of the objective's shape
        Where.
    matrix : NDArray, shape (n, columns)
        Finite values.
    target : NDArray, shape (n,)
        Values, or class codes from 0.

    Returns
    -------
    NDArray, shape (2 + p + p * (p + 1) / 2,)
        With p parameters.
    """
    size = objective.parameters
    loss, gradient, hessian = 0.0, np.zeros(size), np.zeros((size, size))
    for start in range(0, len(matrix), _SLICE_ROWS):
        part = matrix[start : start + _SLICE_ROWS]
        part = np.column_stack([part, np.ones(len(part))])
        losses, slopes, curves = _of_rows(objective, part @ weights.T, target[start : start + _SLICE_ROWS])
        loss += float(losses.sum())
        gradient += (slopes.T @ part).ravel()
        hessian += _hessian(part, curves)
    return np.concatenate([[len(matrix), loss], gradient, hessian[np.triu_indices(size)]])


def _of_rows(objective: Objective, raw: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each row's loss (n,), its derivatives (n, outputs) and its second ones (n, outputs, outputs)."""
    if not objective.classes:
        missed = raw[:, 0] - target
        return 0.5 * missed**2, missed[:, None], np.ones((len(raw), 1, 1))
    if objective.classes == 2:
        share = special.expit(raw[:, 0])
        losses = np.logaddexp(0.0, raw[:, 0]) - target * raw[:, 0]
        return losses, (share - target)[:, None], (share * (1.0 - share))[:, None, None]
    codes = target.astype(np.intp)
    shares = special.softmax(raw, axis=1)
    losses = special.logsumexp(raw, axis=1) - raw[np.arange(len(raw)), codes]
    slopes = shares.copy()
    slopes[np.arange(len(raw)), codes] -= 1.0
    curves = -shares[:, :, None] * shares[:, None, :]
    outputs = np.arange(objective.classes)
    curves[:, outputs, outputs] += shares
    return losses, slopes, curves


def _hessian(part: Floats, curves: Floats) -> Floats:
    """Return the sum over rows of curves (n, outputs, outputs) times the rows' outer products."""
    outputs, weights = curves.shape[1], part.shape[1]
    found = np.empty((outputs, weights, outputs, weights))
    for i in range(outputs):
        for j in range(i, outputs):
            found[i, :, j] = part.T @ (part * curves[:, i, j, None])
            found[j, :, i] = found[i, :, j].T
    return found.reshape(outputs * weights, outputs * weights)


def moved(objective: Objective, sums: Floats, start: Floats, weights: Floats) -> Floats:
    """Return the sums that rows would have at other weights, if their loss were a quadratic.

    Least squares are one, so of them it is exact. Of another loss it is the expansion to the second order
    around ``start``: near the minimum its error grows with the third power of the distance.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    sums : NDArray
        As :func:`partial_sums` returned it at ``start``.
    start, weights : NDArray of the objective's shape
        Where the sums were taken, and where they are wanted.
    """
    size = objective.parameters
    gradient, upper = sums[2 : 2 + size], sums[2 + size :]
    step = (weights - start).ravel()
    slope = _whole(_triangle(size, upper)) @ step
    loss = sums[1] + gradient @ step + 0.5 * (step @ slope)
    return np.concatenate([[sums[0], loss], gradient + slope, upper])


def advance(objective: Objective, progress: Progress, total: Floats) -> Progress:
    """Take the next step, from the sums of all shards at ``progress.weights``.

    Newton's step is taken whole; where it led uphill, half of it is tried in the next round.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    progress : Progress
        As :func:`begin` or this function returned it.
    total : NDArray
        What :func:`partial_sums` returned for the shards, added up in their order.
    """
    size = objective.parameters
    rounds, weights = progress.rounds + 1, progress.weights
    penalised = weights.copy()
    penalised[:, -1] = 0.0
    loss = float(total[1] + 0.5 * objective.penalty * np.sum(penalised**2))
    if not loss <= progress.loss * (1.0 + 1e-12):
        if rounds >= MAX_ROUNDS:
            return replace(progress, weights=progress.base, rounds=rounds, done=True)
        halved = 0.5 * progress.direction
        return replace(progress, weights=progress.base + halved, direction=halved, rounds=rounds)
    gradient = total[2 : 2 + size] + objective.penalty * penalised.ravel()
    direction = -_solve(objective, total[2 + size :], gradient).reshape(objective.shape)
    gap = max(0.0, -0.5 * float(gradient @ direction.ravel()))
    # Of a quadratic the first step is exact; elsewhere the last one squares a gap that is small already.
    last = not objective.classes or gap <= GAP * abs(loss) or rounds >= MAX_ROUNDS
    return Progress(weights + direction, weights, direction, rounds, last, loss, gap)


def _solve(objective: Objective, upper: Floats, gradient: Floats) -> Floats:
    """Return the inverse of the Hessian, the penalty's included, times the gradient."""
    outputs, weights = objective.shape
    size = objective.parameters
    hessian = _triangle(size, upper)
    slopes = np.arange(size) % weights < objective.columns
    hessian[slopes, slopes] += objective.penalty
    if outputs > 1:
        # Adding one number to all intercepts changes nothing; this keeps their mean where it is.
        intercepts = np.flatnonzero(~slopes)
        hessian[np.ix_(intercepts, intercepts)] += np.triu(np.ones((outputs, outputs)))
    try:
        found: Floats = linalg.cho_solve(linalg.cho_factor(hessian, lower=False), gradient)
    except linalg.LinAlgError:  # rows that all lie far on one side leave no curvature to speak of
        found = linalg.lstsq(_whole(hessian), gradient)[0]
    return found


def _triangle(size: int, upper: Floats) -> Floats:
    """Return the square matrix of which the sums hold the upper triangle, with zeros below."""
    found = np.zeros((size, size))
    found[np.triu_indices(size)] = upper
    return found


def _whole(triangle: Floats) -> Floats:
    """Return the symmetric matrix of an upper triangle."""
    return np.asarray(np.triu(triangle) + np.triu(triangle, 1).T)
