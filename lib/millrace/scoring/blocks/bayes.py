"""Naive Bayes for a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Floats

__all__ = ["KINDS"]


class Gaussian:
    """Gaussian naive Bayes; ``plan.kinds`` describes the members."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._prior, self._norm = np.asarray(arrays[spec["prior"]]), np.asarray(arrays[spec["norm"]])
        self._mean = np.asarray(arrays[spec["mean"]]).reshape(len(self._prior), -1)
        self._variance = np.asarray(arrays[spec["variance"]]).reshape(len(self._prior), -1)

    def __call__(self, matrix: Floats) -> Floats:
        result = np.empty((len(matrix), len(self._prior)))
        with np.errstate(over="ignore", invalid="ignore"):
            for k, (mean, variance) in enumerate(zip(self._mean, self._variance, strict=True)):
                terms = (matrix - mean) ** 2 / variance
                result[:, k] = self._prior[k] + (self._norm[k] - 0.5 * terms.sum(axis=1))
        return result


KINDS = {"gaussian": Gaussian}
