"""What becomes of the raw outputs of one row."""

from __future__ import annotations

from math import exp

__all__ = ["LINKS"]

_INFINITY = float("inf")


def _identity(raw: list[float]) -> list[float]:
    return raw


def _exp(value: float) -> float:
    try:
        return exp(value)
    except OverflowError:
        return _INFINITY


def _exponential(raw: list[float]) -> list[float]:
    return [_exp(value) for value in raw]


def _logistic(raw: list[float]) -> list[float]:
    value = raw[0]
    if value >= 0.0:
        probability = 1.0 / (1.0 + exp(-value))
    else:
        power = exp(value)
        probability = power / (1.0 + power)
    return [1.0 - probability, probability]


def _softmax(raw: list[float]) -> list[float]:
    highest = max(raw)
    powers = [exp(value - highest) for value in raw]
    total = sum(powers)
    return [power / total for power in powers]


LINKS = {
    "identity": _identity,
    "exp": _exponential,
    "logistic": _logistic,
    "softmax": _softmax,
    "probabilities": _identity,
}
