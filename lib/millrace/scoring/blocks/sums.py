"""Sums that come out as the row path's, to the last bit.

``sum()`` of Python is compensated since 3.12 (Neumaier, "Rundungsfehleranalyse einiger Verfahren zur
Summation endlicher Summen", 1974), and its result does not depend on the order to more than its last bit; a
matrix product's does, and on the machine besides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Total", "weighted"]

Floats = NDArray[np.float64]

_CELLS = 1 << 14
"""Rows times outputs that are summed at once: what a processor's cache holds."""


class Total:
    """A compensated sum of arrays of one shape.

    Parameters
    ----------
    first : ndarray, float64
        The first of them.
    """

    def __init__(self, first: Floats) -> None:
        self._sum = first
        self._lost = np.zeros_like(first)

    def add(self, value: Floats) -> None:
        """Add another array."""
        before, after = self._sum, self._sum + value
        # What the addition lost, exactly, whichever of the two is larger (Knuth, TAOCP 2, 4.2.2).
        taken = after - before
        self._lost += (before - (after - taken)) + (value - taken)
        self._sum = after

    def result(self) -> Floats:
        """Return the sum."""
        lost = np.where(np.isfinite(self._lost), self._lost, 0.0)
        return np.where(lost == 0.0, self._sum, self._sum + lost)


def weighted(matrix: Floats, coef: Floats) -> Floats:
    """Return ``matrix @ coef.T``.

    Parameters
    ----------
    matrix : ndarray, float64, shape (n, width)
    coef : ndarray, float64, shape (outputs, width)

    Returns
    -------
    ndarray, float64, shape (n, outputs)
    """
    result = np.zeros((len(matrix), len(coef)))
    size = max(_CELLS // max(len(coef), 1), 1)
    # Zeros change no sum, and the row path leaves them out.
    used = np.flatnonzero(matrix.any(axis=0))
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(matrix), size):
            part = matrix[start : start + size]
            total = Total(np.zeros((len(part), len(coef))))
            for column in used:
                values = part[:, column, None]
                total.add(np.where(values == 0.0, 0.0, values * coef[:, column]))
            result[start : start + size] = total.result()
    return result
