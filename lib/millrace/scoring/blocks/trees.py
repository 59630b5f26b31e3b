"""Walks the trees of forests and boosted trees, many rows and trees at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.plan.kinds import MASK_BITS
from millrace.scoring.blocks import Floats

__all__ = ["KINDS"]

_CELLS = 1 << 21
"""Rows times trees that are walked at once: bounds the memory at some tens of megabytes."""


class Trees:
    """Forests and boosted trees; ``plan.kinds`` describes the table of nodes."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._feature = np.asarray(arrays[spec["feature"]]).astype(np.int64)
        self._skip = np.asarray(arrays[spec["skip"]]).astype(np.int64)
        self._number = np.asarray(arrays[spec["number"]]).astype(np.float64)
        self._roots = np.asarray(arrays[spec["roots"]]).astype(np.int64)
        self._outputs: int = spec["outputs"]
        self._single: bool = spec["single"]
        self._mean: bool = spec["mean"]
        self._baseline = None if spec["baseline"] is None else np.asarray(arrays[spec["baseline"]])
        self._values = None
        if spec["values"] is not None:
            self._values = np.asarray(arrays[spec["values"]]).reshape(-1, self._outputs)
        self._masks = None
        if spec["masks"] is not None:
            bits = np.unpackbits(np.asarray(arrays[spec["masks"]]), bitorder="little")
            self._masks = bits.reshape(-1, MASK_BITS).astype(bool)

    def __call__(self, matrix: Floats) -> Floats:
        result = np.zeros((len(matrix), self._outputs))
        if self._baseline is not None:
            result += self._baseline
        size = max(_CELLS // max(len(self._roots), 1), 1)
        for start in range(0, len(matrix), size):
            self._add(matrix[start : start + size], result[start : start + size])
        if self._mean:
            result /= len(self._roots)
        return result

    def _add(self, matrix: Floats, result: Floats) -> None:
        """Add every tree's leaves, in the order of the trees: the order decides the last bit."""
        leaves = self._number[self._walk(matrix)]
        if self._values is not None:
            for rows in leaves.astype(np.int64):
                result += self._values[rows]
        else:
            for number, values in enumerate(leaves):
                result[:, number % self._outputs] += values

    def _walk(self, matrix: Floats) -> NDArray[np.int64]:
        """Return the leaf of each tree and row, shape (trees, rows)."""
        rows, width = matrix.shape
        if self._single:
            with np.errstate(over="ignore"):
                matrix = matrix.astype(np.float32).astype(np.float64)
        # Minus infinity is at most any number, so it goes left; NaN compares false and goes right.
        inputs = np.hstack([matrix, np.where(np.isnan(matrix), -np.inf, matrix)]).ravel()
        codes = None
        if self._masks is not None:
            with np.errstate(invalid="ignore"):
                codes = np.where((matrix >= 0.0) & (matrix < MASK_BITS - 1), matrix, MASK_BITS - 1)
            codes = codes.astype(np.int64).ravel()
        node = np.repeat(self._roots, rows)
        row = np.tile(np.arange(rows), len(self._roots))
        active = np.flatnonzero(self._skip[node])
        while len(active):
            at = node[active]
            feature, number, step = self._feature[at], self._number[at], self._skip[at]
            if self._masks is None or codes is None:
                left = inputs[row[active] * 2 * width + feature] <= number
            else:
                is_set = feature >= 2 * width
                plain = np.where(is_set, 0, feature)
                left = inputs[row[active] * 2 * width + plain] <= number
                code = codes[row[active[is_set]] * width + feature[is_set] - 2 * width]
                left[is_set] = self._masks[number[is_set].astype(np.int64), code]
            at = at + np.where(left, 1, step)
            node[active] = at
            active = active[self._skip[at] > 0]
        return node.reshape(len(self._roots), rows)


KINDS = {"trees": Trees}
