"""Nearest neighbours of a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.scoring.blocks import Floats
from millrace.scoring.rows import neighbors as rows

__all__ = ["KINDS"]

_CELLS = 1 << 20
"""Rows times points that are compared at once."""


class Neighbors:
    """Nearest neighbours; ``plan.kinds`` describes the members.

    All distances are computed. Only where a point that is left out is as far as the last one that is not
    does the order of the tree decide, and that row is left to the row path.
    """

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._rows = rows.Neighbors(spec, arrays)
        self._targets = np.asarray(arrays[spec["targets"]])
        self._points = np.asarray(arrays[spec["points"]]).reshape(len(self._targets), -1)
        self._neighbors: int = spec["neighbors"]
        self._metric: str = spec["metric"]
        self._outputs: int = spec["classes"] or 1

    def __call__(self, matrix: Floats) -> Floats:
        result = np.empty((len(matrix), self._outputs))
        size = max(_CELLS // len(self._points), 1)
        for start in range(0, len(matrix), size):
            part = matrix[start : start + size]
            distances = self._distances(part)
            chosen = self._chosen(distances)
            near = np.take_along_axis(distances, chosen, axis=1)
            # The next one behind the last, or one before it that is as far.
            tied = (distances <= near[:, -1:]).sum(axis=1) != self._neighbors
            for i, row in enumerate(part):
                if tied[i]:
                    result[start + i] = self._rows(row.tolist())
                else:
                    answer = self._rows.answer(near[i].tolist(), self._targets[chosen[i]].tolist())
                    result[start + i] = answer
        return result

    def _chosen(self, distances: Floats) -> NDArray[np.intp]:
        count = self._neighbors
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
        return np.take_along_axis(nearest, order, axis=1)

    def _distances(self, matrix: Floats) -> Floats:
        total = np.zeros((len(matrix), len(self._points)))
        with np.errstate(over="ignore", invalid="ignore"):
            for column, of_points in zip(matrix.T, self._points.T, strict=True):
                apart = column[:, None] - of_points
                if self._metric == "euclidean":
                    total += apart * apart
                elif self._metric == "manhattan":
                    total += np.abs(apart)
                else:
                    np.maximum(total, np.abs(apart), out=total)
        return total


KINDS = {"neighbors": Neighbors}
