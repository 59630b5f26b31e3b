"""Weighted sums, and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Floats
from millrace.scoring.blocks.sums import weighted

__all__ = ["KINDS"]


class Linear:
    """Weighted sums."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._intercept = np.asarray(arrays[spec["intercept"]])
        self._coef = np.asarray(arrays[spec["coef"]]).reshape(len(self._intercept), -1)

    def __call__(self, matrix: Floats) -> Floats:
        return weighted(matrix, self._coef) + self._intercept


class Constant:
    """The same answer for every row."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._values = np.asarray(arrays[spec["values"]])

    def __call__(self, matrix: Floats) -> Floats:
        return np.tile(self._values, (len(matrix), 1))


KINDS = {"linear": Linear, "constant": Constant}
