"""Estimators inside of estimators, for one row."""

from __future__ import annotations

from bisect import bisect_right
from math import log
from operator import add

from millrace.scoring.rows import Node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["EPSILON", "KINDS"]

EPSILON = 1e-12
"""What is added to a probability before its logarithm is taken."""
_NAN = float("nan")


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


class Platt:
    """Lines whose logistic function calibrates."""

    __slots__ = ("_a", "_b")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._a: list[float] = arrays[spec["a"]].tolist()
        self._b: list[float] = arrays[spec["b"]].tolist()

    def __call__(self, row: list[float]) -> list[float]:
        return [-(a * value + b) for value, a, b in zip(row, self._a, self._b, strict=True)]


class Isotonic:
    """Lines through points."""

    __slots__ = ("_points",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        x, y = arrays[spec["x"]].tolist(), arrays[spec["y"]].tolist()
        self._points: list[tuple[list[float], list[float]]] = []
        first = 0
        for size in spec["sizes"]:
            self._points.append((x[first : first + size], y[first : first + size]))
            first += size

    def __call__(self, row: list[float]) -> list[float]:
        return [_on_line(value, x, y) for value, (x, y) in zip(row, self._points, strict=True)]


def _on_line(value: float, x: list[float], y: list[float]) -> float:
    if value != value and len(x) > 1:
        return value
    place = bisect_right(x, value) - 1
    if place < 0:
        return y[0]
    if place >= len(x) - 1:
        return y[-1]
    if x[place] == value:
        return y[place]
    return (y[place + 1] - y[place]) / (x[place + 1] - x[place]) * (value - x[place]) + y[place]


class Temperature:
    """Scores, all made smaller or larger."""

    __slots__ = ("_beta", "_log")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._beta = float(spec["beta"])
        self._log: bool = spec["log"]

    def __call__(self, row: list[float]) -> list[float]:
        if len(row) == 1:
            row = [-row[0], row[0]]
        beta = self._beta
        if self._log:
            return [beta * (log(value + EPSILON) if value > -EPSILON else _NAN) for value in row]
        return [beta * value for value in row]


KINDS = {
    "predictions": Predictions,
    "inputs": Inputs,
    "mean": Mean,
    "platt": Platt,
    "isotonic": Isotonic,
    "temperature": Temperature,
}
