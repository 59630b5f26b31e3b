"""Weighted sums, and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Floats

__all__ = ["KINDS"]


class Linear:
    """Weighted sums."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._intercept = np.asarray(arrays[spec["intercept"]])
        self._coef = np.asarray(arrays[spec["coef"]]).reshape(len(self._intercept), -1)

    def __call__(self, matrix: Floats) -> Floats:
        result: Floats = matrix @ self._coef.T + self._intercept
        return result


class Constant:
    """The same answer for every row."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._values = np.asarray(arrays[spec["values"]])

    def __call__(self, matrix: Floats) -> Floats:
        return np.tile(self._values, (len(matrix), 1))


KINDS = {"linear": Linear, "constant": Constant}
