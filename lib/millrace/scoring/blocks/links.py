"""What becomes of the raw outputs of a block."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["LINKS", "expit"]

Floats = NDArray[np.float64]


def _each(function: Callable[[float], float], values: Floats) -> Floats:
    """Return a function of the C library for each value, as the row path and the kernel take it.

    numpy's own are off by a unit in the last place on processors with AVX-512, and a quotient of several of
    them by more.
    """
    found = np.fromiter(map(function, values.ravel().tolist()), np.float64, values.size)
    return found.reshape(values.shape)


def _identity(raw: Floats) -> Floats:
    return raw


def _exponential(raw: Floats) -> Floats:
    with np.errstate(over="ignore"):
        result: Floats = np.exp(raw)
    return result


def _exponential_less_one(raw: Floats) -> Floats:
    with np.errstate(over="ignore"):
        result: Floats = np.expm1(raw)
    return result


def _square(raw: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return raw * raw


def expit(value: Floats) -> Floats:
    """Return 1 / (1 + e^-x), which no x overflows."""
    power = _each(math.exp, -np.abs(value))
    result: Floats = np.where(value >= 0.0, 1.0, power) / (1.0 + power)
    return result


def _logistic(raw: Floats) -> Floats:
    return _pair(expit(raw))


def _pair(raw: Floats) -> Floats:
    return np.hstack([1.0 - raw, raw])


def _half(value: Floats) -> Floats:
    result: Floats = (np.clip(value, -1.0, 1.0) + 1.0) / 2.0
    return result


def _huber(raw: Floats) -> Floats:
    return _pair(_half(raw))


def _total(values: Floats) -> Floats:
    """Return the sum of each row, added from left to right as the row path does."""
    result = np.zeros(len(values))
    for column in values.T:
        result += column
    return result[:, None]


def _shares(raw: Floats) -> Floats:
    total = _total(raw)
    return np.divide(raw, total, out=raw.copy(), where=total != 0.0)


def _normalize(raw: Floats) -> Floats:
    total = _total(raw)
    return np.divide(raw, total, out=np.full_like(raw, 1.0 / raw.shape[1]), where=total != 0.0)


def _one_vs_rest(raw: Floats) -> Floats:
    return _normalize(expit(raw))


def _huber_one_vs_rest(raw: Floats) -> Floats:
    return _normalize(_half(raw))


def _softmax(raw: Floats) -> Floats:
    power = _each(math.exp, raw - raw.max(axis=1, keepdims=True))
    result: Floats = power / _total(power)
    return result


def _posterior(raw: Floats) -> Floats:
    with np.errstate(invalid="ignore"):
        highest = raw.max(axis=1, keepdims=True)
        high = raw == highest
        highs = high.sum(axis=1, keepdims=True)
        others = _total(np.where(high, 0.0, _each(math.exp, raw - highest))) / np.maximum(highs, 1)
        norm = _each(math.log1p, others) + _each(math.log, np.maximum(highs, 1)) + highest
        # Of no number, or of one without bounds, nothing follows.
        result: Floats = np.where(np.isfinite(highest), _each(math.exp, raw - norm), np.nan)
    return result


LINKS: dict[str, Callable[[Floats], Floats]] = {
    "identity": _identity,
    "exp": _exponential,
    "expm1": _exponential_less_one,
    "square": _square,
    "probabilities": _identity,
    "logistic": _logistic,
    "softmax": _softmax,
    "posterior": _posterior,
    "pair": _pair,
    "normalize": _normalize,
    "shares": _shares,
    "one-vs-rest": _one_vs_rest,
    "huber": _huber,
    "huber-one-vs-rest": _huber_one_vs_rest,
}
