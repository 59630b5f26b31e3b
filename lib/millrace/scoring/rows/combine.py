"""Estimators inside of estimators, for one row."""

from __future__ import annotations

from operator import add

from millrace.scoring.rows import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


class Predictions:
    """What estimators say of the row, side by side."""

    __slots__ = ("_inputs", "_members")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._members = [
            (Node(member, arrays), take) for member, take in zip(spec["members"], spec["take"], strict=True)
        ]
        self._inputs: bool = spec["inputs"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result: list[Any] = []
        for member, take in self._members:
            outputs = member(row)
            result += outputs if take is None else [0.0 if i < 0 else outputs[i] for i in take]
        return result + list(row) if self._inputs else result


class Inputs:
    """The inputs themselves."""

    __slots__ = ()

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        pass

    def __call__(self, row: list[float]) -> list[float]:
        return row


class Mean:
    """The mean of the members' outputs."""

    __slots__ = ("_outputs", "_total", "_weights")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._outputs: int = spec["outputs"]
        self._weights = None if spec["weights"] is None else [float(weight) for weight in spec["weights"]]
        self._total = 0.0
        for weight in self._weights or ():
            self._total += weight

    def __call__(self, row: list[float]) -> list[float]:
        outputs, weights = self._outputs, self._weights
        result = [0.0] * outputs
        for number, first in enumerate(range(0, len(row), outputs)):
            part = row[first : first + outputs]
            if weights is not None:
                part = [value * weights[number] for value in part]
            result = list(map(add, result, part))
        total = self._total if weights is not None else float(len(row) // outputs)
        return [value / total for value in result]


KINDS = {"predictions": Predictions, "inputs": Inputs, "mean": Mean}
