"""Neural networks for one row."""

from __future__ import annotations

from itertools import compress
from math import exp, tanh
from operator import mul

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["KINDS"]


class Network:
    """Layers of weighted sums; ``plan.kinds`` describes the members."""

    __slots__ = ("_activate", "_layers")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._activate: Callable[[float], float] | None = _ACTIVATIONS[spec["activation"]]
        self._layers: list[list[tuple[list[float], float]]] = []
        for layer in spec["layers"]:
            coef, intercept = arrays[layer["coef"]].tolist(), arrays[layer["intercept"]].tolist()
            width = len(coef) // len(intercept)
            self._layers.append(
                [(coef[k * width : (k + 1) * width], bias) for k, bias in enumerate(intercept)]
            )

    def __call__(self, row: list[float]) -> list[float]:
        activate, last = self._activate, len(self._layers) - 1
        for number, layer in enumerate(self._layers):
            # One-hot columns and what relu cuts off are zeros, and leaving those out changes no sum.
            values = list(filter(None, row))
            row = [sum(map(mul, values, compress(weights, row)), 0.0) + bias for weights, bias in layer]
            if activate is not None and number < last:
                row = list(map(activate, row))
        return row


def _relu(value: float) -> float:
    return 0.0 if value < 0.0 else value


def _logistic(value: float) -> float:
    if value >= 0.0:
        return 1.0 / (1.0 + exp(-value))
    power = exp(value)
    return power / (1.0 + power)


_ACTIVATIONS: dict[str, Callable[[float], float] | None] = {
    "identity": None,
    "logistic": _logistic,
    "tanh": tanh,
    "relu": _relu,
}
KINDS = {"mlp": Network}
