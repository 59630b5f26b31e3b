"""What becomes of the raw outputs of one row."""

from __future__ import annotations

from math import exp, expm1, log, log1p

__all__ = ["LINKS", "exp_of", "expm1_of"]

_INFINITY = float("inf")
_NAN = float("nan")


def _identity(raw: list[float]) -> list[float]:
    return raw


def exp_of(value: float) -> float:
    """Return e to the power of the value; infinity where Python raises."""
    try:
        return exp(value)
    except OverflowError:
        return _INFINITY


def _exponential(raw: list[float]) -> list[float]:
    return [exp_of(value) for value in raw]


def expm1_of(value: float) -> float:
    """Return the same less 1, exactly near 0."""
    try:
        return expm1(value)
    except OverflowError:
        return _INFINITY


def _exponential_less_one(raw: list[float]) -> list[float]:
    return [expm1_of(value) for value in raw]


def _square(raw: list[float]) -> list[float]:
    return [value * value for value in raw]


def _expit(value: float) -> float:
    if value >= 0.0:
        return 1.0 / (1.0 + exp(-value))
    power = exp(value)
    return power / (1.0 + power)


def _logistic(raw: list[float]) -> list[float]:
    probability = _expit(raw[0])
    return [1.0 - probability, probability]


def _pair(raw: list[float]) -> list[float]:
    return [1.0 - raw[0], raw[0]]


def _half(value: float) -> float:
    return (
        (value + 1.0) / 2.0
        if -1.0 <= value <= 1.0
        else 0.0
        if value < -1.0
        else 1.0
        if value > 1.0
        else value
    )


def _huber(raw: list[float]) -> list[float]:
    return _pair([_half(raw[0])])


def _shares(raw: list[float]) -> list[float]:
    total = 0.0
    for value in raw:
        total += value
    return [value / total for value in raw] if total else raw


def _normalize(raw: list[float]) -> list[float]:
    total = 0.0
    for value in raw:
        total += value
    return [value / total for value in raw] if total else [1.0 / len(raw)] * len(raw)


def _one_vs_rest(raw: list[float]) -> list[float]:
    return _normalize([_expit(value) for value in raw])


def _huber_one_vs_rest(raw: list[float]) -> list[float]:
    return _normalize([_half(value) for value in raw])


def _softmax(raw: list[float]) -> list[float]:
    highest = max(raw)
    powers = [exp(value - highest) for value in raw]
    total = 0.0
    for power in powers:
        total += power
    return [power / total for power in powers]


def _posterior(raw: list[float]) -> list[float]:
    highest = max(raw)
    if highest - highest != 0.0:
        return [_NAN] * len(raw)
    highs = raw.count(highest)
    total = 0.0
    for value in raw:
        if value != highest:
            total += exp(value - highest)
    norm = log1p(total / highs) + log(highs) + highest
    return [exp(value - norm) for value in raw]


LINKS = {
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
