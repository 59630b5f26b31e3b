"""Support vector machines for a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Floats
from millrace.scoring.blocks.sums import Total, weighted

__all__ = ["KINDS"]

_CELLS = 1 << 16
"""Rows times vectors that are computed at once."""


class Kernel:
    """A kernel machine; ``plan.kinds`` describes its members."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._kernel: str = spec["kernel"]
        self._gamma, self._coef0 = float(spec["gamma"]), float(spec["coef0"])
        self._degree: int = spec["degree"]
        self._intercept = np.asarray(arrays[spec["intercept"]])
        counts = spec["counts"]
        coef = np.asarray(arrays[spec["coef"]]).reshape(1 if counts is None else len(counts) - 1, -1)
        if counts is not None:
            ends = np.cumsum(counts)
            of = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
            pairs = [(i, j) for i in range(len(counts)) for j in range(i + 1, len(counts))]
            rows = np.zeros((len(pairs), coef.shape[1]))
            for row, (i, j) in zip(rows, pairs, strict=True):
                row[of[i]], row[of[j]] = coef[j - 1, of[i]], coef[i, of[j]]
            coef = rows
        self._coef = coef
        self._vectors = np.asarray(arrays[spec["vectors"]]).reshape(coef.shape[1], -1)

    def __call__(self, matrix: Floats) -> Floats:
        result = np.empty((len(matrix), len(self._coef)))
        size = max(_CELLS // max(len(self._vectors), 1), 1)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(matrix), size):
                part = matrix[start : start + size]
                result[start : start + size] = weighted(self._values(part), self._coef) + self._intercept
        return result

    def _values(self, matrix: Floats) -> Floats:
        if self._kernel == "rbf":
            total = Total(np.zeros((len(matrix), len(self._vectors))))
            for column, of_vectors in zip(matrix.T, self._vectors.T, strict=True):
                apart = column[:, None] - of_vectors
                total.add(apart * apart)
            values: Floats = np.exp(-self._gamma * total.result())
            return values
        base = self._gamma * weighted(matrix, self._vectors) + self._coef0
        if self._kernel == "sigmoid":
            return np.tanh(base)
        values, times = np.ones_like(base), self._degree
        while times:
            if times % 2:
                values = values * base
            base = base * base
            times //= 2
        return values


class Votes:
    """One score a class, from decisions between each two."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._classes: int = spec["classes"]

    def __call__(self, matrix: Floats) -> Floats:
        votes = np.zeros((len(matrix), self._classes))
        sums = np.zeros_like(votes)
        pairs = [(i, j) for i in range(self._classes) for j in range(i + 1, self._classes)]
        for decision, (i, j) in zip(matrix.T, pairs, strict=True):
            sums[:, i] += decision
            sums[:, j] -= decision
            votes[:, i] += ~(decision < 0.0)
            votes[:, j] += decision < 0.0
        with np.errstate(invalid="ignore"):
            result: Floats = votes + sums / (3.0 * (np.abs(sums) + 1.0))
        return result


KINDS = {"kernel": Kernel, "votes": Votes}
