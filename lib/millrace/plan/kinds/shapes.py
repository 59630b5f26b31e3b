"""What bends, cuts and combines numbers.

``power``
    ``method``: ``"yeo-johnson"`` or ``"box-cox"``; ``lambdas``: array, one for each input.
``interpolate``
    ``points``: array, inputs x points in ascending order; ``values``: array, the value at each point, the
    same for all inputs, ascending from 0 to 1; ``output``: ``"uniform"``, or ``"normal"`` for the quantile
    of the standard normal distribution at that value.
``function``
    ``name``: one of :data:`millrace.plan.kinds.FUNCTIONS`, applied to every input.
``normalize``
    ``norm``: ``"l1"``, ``"l2"`` or ``"max"``: what all inputs are divided by, unless it is below
    :data:`millrace.plan.kinds.SMALLEST_NORM`.
``bins``
    ``edges``: array, those of all inputs in turn, ascending for each; ``counts``: how many each input has. An
    input becomes the number of its edges that are at most the input.
``products``
    ``terms``: for each output the indices of the inputs that are multiplied, from left to right; 1 for none.
"""

from __future__ import annotations

from operator import le

from millrace.plan.kinds import FUNCTIONS, MAX_WIDTH, array, fits, indices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]

_INFINITY = float("inf")
_MAX_FACTORS = 1 << 20
"""Most multiplications that a row may take."""


def _power(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow and step["method"] in ("yeo-johnson", "box-cox"), "power.method")
    array(arrays, step["lambdas"], "d", len(flow), "power.lambdas")
    return flow


def _interpolate(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow and step["output"] in ("uniform", "normal"), "interpolate.output")
    values = array(arrays, step["values"], "d", -1, "interpolate.values").tolist()
    size = len(values)
    points = array(arrays, step["points"], "d", len(flow) * size, "interpolate.points").tolist()
    fits(size > 0 and values[0] == 0.0 and values[-1] == 1.0 and _ascends(values), "interpolate.values")
    ascending = (_ascends(points[start : start + size]) for start in range(0, len(points), size))
    fits(all(ascending), "interpolate.points")
    return flow


def _ascends(values: Sequence[float]) -> bool:
    # The infinity at the end refuses a NaN that stands last, or alone.
    return all(map(le, values, [*values[1:], _INFINITY]))


def _function(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow and step["name"] in FUNCTIONS, "function.name")
    return flow


def _normalize(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    fits("s" not in flow and step["norm"] in ("l1", "l2", "max"), "normalize.norm")
    return flow


def _bins(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    counts = step["counts"]
    fits("s" not in flow and len(counts) == len(flow), "bins.counts")
    edges = array(arrays, step["edges"], "d", -1, "bins.edges").tolist()
    indices(counts, len(edges) + 1, "bins.counts")
    fits(sum(counts) == len(edges), "bins.counts")
    start = 0
    for count in counts:
        fits(_ascends(edges[start : start + count]), "bins.edges")
        start += count
    return flow


def _products(step: dict[str, Any], flow: str, arrays: Sequence[memoryview]) -> str:
    terms = step["terms"]
    fits("s" not in flow and len(terms) <= MAX_WIDTH, "products.terms")
    factors = 0
    for term in terms:
        indices(term, len(flow), "products.terms")
        factors += len(term)
    fits(factors <= _MAX_FACTORS, "products.terms")
    return "n" * len(terms)


KINDS = {
    "power": _power,
    "interpolate": _interpolate,
    "function": _function,
    "normalize": _normalize,
    "bins": _bins,
    "products": _products,
}
