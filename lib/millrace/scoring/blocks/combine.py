"""Estimators inside of estimators, for a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Column, Floats, Node

__all__ = ["KINDS"]


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


KINDS = {"predictions": Predictions, "inputs": Inputs, "mean": Mean}
