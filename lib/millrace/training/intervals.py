"""Prediction intervals of regression models, from the errors on rows that the folds did not train on.

The interval around a prediction runs from one quantile of these errors to another, the split-conformal one
of a sample that was not fitted to: of ``n`` errors in order, the ``floor(a (n + 1))``-th and the
``ceil((1 - a) (n + 1))``-th, with ``a`` half of what the level leaves out. With a fold's models in the place
of the final one this is cross-conformal prediction [1]_: the level holds nearly, not strictly, so the
coverage on the held-out rows is measured beside it.

References
----------
.. [1] V. Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74 (2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVEL", "Interval", "interval"]

Floats = NDArray[np.float64]

LEVEL = 0.9
"""Share of the rows whose value the interval is to hold."""


@dataclass(frozen=True)
class Interval:
    """Where values lie around a prediction.

    Attributes
    ----------
    level : float
        Share of the rows whose value it is to hold.
    below, above : float
        Added to a prediction, they give its bounds, in units of the target.
    """

    level: float
    below: float
    above: float

    def holds(self, truth: Floats, prediction: Floats) -> NDArray[np.bool_]:
        """Return which values lie within the bounds."""
        error = truth - prediction
        within: NDArray[np.bool_] = (error >= self.below) & (error <= self.above)
        return within


def interval(truth: Floats, prediction: Floats, *, level: float = LEVEL) -> Interval | None:
    """Return the interval that out-of-fold predictions give.

    Parameters
    ----------
    truth, prediction : ndarray of shape (n,)
        Values and out-of-fold predictions; NaN where no fold predicted.
    level : float
        Between 0 and 1.

    Returns
    -------
    Interval or None
        None when the rows are too few for the level: fewer than 19 for 0.9.
    """
    errors = np.sort((truth - prediction)[np.isfinite(prediction)])
    tail = (1.0 - level) / 2.0 * (len(errors) + 1)
    # A fraction that is a whole number but for rounding counts as that.
    first = math.floor(tail + 1e-9)
    if first < 1:
        return None
    return Interval(level, float(errors[first - 1]), float(errors[len(errors) - first]))
