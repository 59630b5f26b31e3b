"""Neural networks for a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Floats
from millrace.scoring.blocks.links import expit
from millrace.scoring.blocks.sums import weighted

__all__ = ["KINDS"]


class Network:
    """Layers of weighted sums; ``plan.kinds`` describes the members."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._activation: str = spec["activation"]
        self._layers: list[tuple[Floats, Floats]] = []
        for layer in spec["layers"]:
            intercept = np.asarray(arrays[layer["intercept"]])
            self._layers.append((np.asarray(arrays[layer["coef"]]).reshape(len(intercept), -1), intercept))

    def __call__(self, matrix: Floats) -> Floats:
        last = len(self._layers) - 1
        for number, (coef, intercept) in enumerate(self._layers):
            matrix = weighted(matrix, coef) + intercept
            if number < last:
                matrix = self._activated(matrix)
        return matrix

    def _activated(self, matrix: Floats) -> Floats:
        if self._activation == "relu":
            return np.where(matrix < 0.0, 0.0, matrix)
        if self._activation == "tanh":
            result: Floats = np.tanh(matrix)
            return result
        return expit(matrix) if self._activation == "logistic" else matrix


KINDS = {"mlp": Network}
