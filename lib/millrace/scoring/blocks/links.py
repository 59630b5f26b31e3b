"""What becomes of the raw outputs of a block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["LINKS"]

Floats = NDArray[np.float64]


def _identity(raw: Floats) -> Floats:
    return raw


def _exponential(raw: Floats) -> Floats:
    with np.errstate(over="ignore"):
        result: Floats = np.exp(raw)
    return result


def _logistic(raw: Floats) -> Floats:
    value = raw[:, 0]
    power = np.exp(-np.abs(value))
    probability = np.where(value >= 0.0, 1.0, power) / (1.0 + power)
    return np.column_stack([1.0 - probability, probability])


def _softmax(raw: Floats) -> Floats:
    power = np.exp(raw - raw.max(axis=1, keepdims=True))
    result: Floats = power / power.sum(axis=1, keepdims=True)
    return result


LINKS: dict[str, Callable[[Floats], Floats]] = {
    "identity": _identity,
    "exp": _exponential,
    "logistic": _logistic,
    "softmax": _softmax,
    "probabilities": _identity,
}
