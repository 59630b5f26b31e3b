"""Estimators inside of estimators, for a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Column, Floats, Node

__all__ = ["KINDS"]

_EPSILON = 1e-12


class Predictions:
    """What estimators say of the rows, side by side."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._members = [
            (Node(member, arrays), take) for member, take in zip(spec["members"], spec["take"], strict=True)
        ]
        self._inputs: bool = spec["inputs"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for member, take in self._members:
            outputs = member(block, rows).T
            chosen = range(len(outputs)) if take is None else take
            result += [np.zeros(rows) if i < 0 else outputs[i] for i in chosen]
        return result + block if self._inputs else result


class Inputs:
    """The inputs themselves."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        pass

    def __call__(self, matrix: Floats) -> Floats:
        return matrix


class Mean:
    """The mean of the members' outputs."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._outputs: int = spec["outputs"]
        self._weights = None if spec["weights"] is None else [float(weight) for weight in spec["weights"]]

    def __call__(self, matrix: Floats) -> Floats:
        members = matrix.shape[1] // self._outputs
        weights = self._weights or [1.0] * members
        result: Floats = np.zeros((len(matrix), self._outputs))
        total = 0.0
        for number, weight in enumerate(weights):
            result += matrix[:, number * self._outputs : (number + 1) * self._outputs] * weight
            total += weight
        result /= total
        return result


class Platt:
    """Lines whose logistic function calibrates."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._a, self._b = np.asarray(arrays[spec["a"]]), np.asarray(arrays[spec["b"]])

    def __call__(self, matrix: Floats) -> Floats:
        result: Floats = -(self._a * matrix + self._b)
        return result


class Isotonic:
    """Lines through points."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        ends = np.cumsum(spec["sizes"])[:-1]
        x, y = np.asarray(arrays[spec["x"]]), np.asarray(arrays[spec["y"]])
        self._points = list(zip(np.split(x, ends), np.split(y, ends), strict=True))

    def __call__(self, matrix: Floats) -> Floats:
        result = np.empty_like(matrix)
        for number, (x, y) in enumerate(self._points):
            result[:, number] = np.interp(matrix[:, number], x, y) if len(x) > 1 else y[0]
        return result


class Temperature:
    """Scores, all made smaller or larger."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._beta, self._log = float(spec["beta"]), spec["log"]

    def __call__(self, matrix: Floats) -> Floats:
        if matrix.shape[1] == 1:
            matrix = np.hstack([-matrix, matrix])
        if self._log:
            with np.errstate(invalid="ignore", divide="ignore"):
                matrix = np.where(matrix > -_EPSILON, np.log(matrix + _EPSILON), np.nan)
        return self._beta * matrix


KINDS = {
    "predictions": Predictions,
    "inputs": Inputs,
    "mean": Mean,
    "platt": Platt,
    "isotonic": Isotonic,
    "temperature": Temperature,
}
