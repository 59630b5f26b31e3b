"""Support vector machines for one row."""

from __future__ import annotations

from math import exp, tanh
from operator import mul, sub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["KINDS"]

_LIST_LIMIT = 1 << 16
"""Vectors of up to this many numbers become lists, which are quicker to go through. More stay in the file:
turning them into lists would take longer than their first rows, and several times their memory."""


class Kernel:
    """A kernel machine; ``plan.kinds`` describes its members."""

    __slots__ = ("_coef0", "_degree", "_gamma", "_intercept", "_kernel", "_parts", "_vectors")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._kernel: Callable[[list[float], Any], float] = getattr(self, f"_{spec['kernel']}")
        self._gamma, self._coef0 = float(spec["gamma"]), float(spec["coef0"])
        self._degree: int = spec["degree"]
        self._intercept: list[float] = arrays[spec["intercept"]].tolist()
        coef, counts = arrays[spec["coef"]].tolist(), spec["counts"]
        # For each output its coefficients, and the part of the vectors that each run of them is for.
        self._parts: list[list[tuple[int, list[float]]]] = [[(0, coef)]]
        size = len(coef)
        if counts is not None:
            size = len(coef) // (len(counts) - 1)
            starts = [sum(counts[:i]) for i in range(len(counts) + 1)]

            def part(row: int, of: int) -> tuple[int, list[float]]:
                return starts[of], coef[row * size + starts[of] : row * size + starts[of + 1]]

            pairs = [(i, j) for i in range(len(counts)) for j in range(i + 1, len(counts))]
            self._parts = [[part(j - 1, i), part(i, j)] for i, j in pairs]
        flat: Any = arrays[spec["vectors"]]
        if len(flat) <= _LIST_LIMIT:
            flat = flat.tolist()
        width = len(flat) // size if size else 0
        self._vectors = [flat[i * width : (i + 1) * width] for i in range(size)]

    def __call__(self, row: list[float]) -> list[float]:
        kernel = self._kernel
        values = [kernel(row, vector) for vector in self._vectors]
        result = []
        for parts, bias in zip(self._parts, self._intercept, strict=True):
            products: list[float] = []
            for start, coef in parts:
                products += map(mul, values[start : start + len(coef)], coef)
            result.append(sum(products, 0.0) + bias)
        return result

    def _rbf(self, row: list[float], vector: Any) -> float:
        apart = list(map(sub, row, vector))
        return exp(-self._gamma * sum(map(mul, apart, apart), 0.0))

    def _poly(self, row: list[float], vector: Any) -> float:
        base = self._gamma * sum(map(mul, row, vector), 0.0) + self._coef0
        result, times = 1.0, self._degree
        while times:
            if times % 2:
                result *= base
            base *= base
            times //= 2
        return result

    def _sigmoid(self, row: list[float], vector: Any) -> float:
        return tanh(self._gamma * sum(map(mul, row, vector), 0.0) + self._coef0)


class Votes:
    """One score a class, from decisions between each two."""

    __slots__ = ("_classes",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._classes: int = spec["classes"]

    def __call__(self, row: list[float]) -> list[float]:
        classes = self._classes
        votes, sums = [0.0] * classes, [0.0] * classes
        decisions = iter(row)
        for i in range(classes):
            for j in range(i + 1, classes):
                decision = next(decisions)
                sums[i] += decision
                sums[j] -= decision
                votes[j if decision < 0.0 else i] += 1.0
        return [vote + s / (3.0 * (abs(s) + 1.0)) for vote, s in zip(votes, sums, strict=True)]


KINDS = {"kernel": Kernel, "votes": Votes}
