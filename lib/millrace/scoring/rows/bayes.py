"""Naive Bayes for one row."""

from __future__ import annotations

from operator import add, sub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]

_BLOCK = 128
_LANES = 8


class Gaussian:
    """Gaussian naive Bayes; ``plan.kinds`` describes the members."""

    __slots__ = ("_classes",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        prior, norm = arrays[spec["prior"]].tolist(), arrays[spec["norm"]].tolist()
        mean, variance = arrays[spec["mean"]].tolist(), arrays[spec["variance"]].tolist()
        width = len(mean) // len(prior)
        self._classes = [
            (prior[k], norm[k], mean[k * width : (k + 1) * width], variance[k * width : (k + 1) * width])
            for k in range(len(prior))
        ]

    def __call__(self, row: list[float]) -> list[float]:
        result = []
        for prior, norm, mean, variance in self._classes:
            terms = [apart * apart / v for apart, v in zip(map(sub, row, mean), variance, strict=True)]
            result.append(prior + (norm - 0.5 * _pairwise(terms)))
        return result


def _pairwise(terms: list[float]) -> float:
    """Return the sum in numpy's order: far from the mean, terms are so large that the last bit decides."""
    size = len(terms)
    if size > _BLOCK:
        half = size // 2
        half -= half % _LANES
        return _pairwise(terms[:half]) + _pairwise(terms[half:])
    total = 0.0
    if size >= _LANES:
        lanes = terms[:_LANES]
        full = size - size % _LANES
        for start in range(_LANES, full, _LANES):
            lanes = list(map(add, lanes, terms[start : start + _LANES]))
        a, b, c, d, e, f, g, h = lanes
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
        terms = terms[full:]
    for term in terms:
        total += term
    return total


KINDS = {"gaussian": Gaussian}
