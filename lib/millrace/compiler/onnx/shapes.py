"""Emits what bends, cuts and combines numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from millrace.compiler.onnx.graph import Column, Graph
from millrace.plan.kinds import SMALLEST_NORM
from millrace.scoring.rows.shapes import CENTRE, MIDDLE, TAIL

__all__ = ["KINDS", "between"]

_INFINITY = float("inf")
_EPSILON = 2.0**-52
_BOUND = 1e-7


def _log1p(x: str, graph: Graph) -> str:
    # log(1 + x) x / ((1 + x) - 1): the error of 1 + x leaves with the division. W. Kahan; D. Goldberg, "What
    # every computer scientist should know about floating-point arithmetic", theorem 4.
    upper = graph.do("Add", x, 1.0)
    back = graph.do("Sub", upper, 1.0)
    result = graph.add("Mul", graph.add("Log", upper), graph.add("Div", x, back))
    result = graph.where(graph.do("Equal", back, 0.0), x, result)
    return graph.where(graph.do("Equal", x, _INFINITY), x, result)


def _expm1(x: str, graph: Graph) -> str:
    # The same the other way round: (u - 1) x / log(u) with u = exp(x).
    power = graph.add("Exp", x)
    less = graph.do("Sub", power, 1.0)
    result = graph.add("Mul", less, graph.add("Div", x, graph.add("Log", power)))
    result = graph.where(graph.do("Equal", less, 0.0), x, result)
    result = graph.where(graph.do("Equal", less, -1.0), -1.0, result)
    return graph.where(graph.do("Equal", power, _INFINITY), _INFINITY, result)


def _power(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    lambdas = np.asarray(arrays[spec["lambdas"]])
    x = graph.matrix(columns)
    if spec["method"] == "box-cox":
        result = _bent(graph.add("Log", x), lambdas, 1e-19, graph)
    else:
        up = graph.do("GreaterOrEqual", x, 0.0)
        above = _log1p(graph.where(up, x, 0.0), graph)
        below = _log1p(graph.where(up, 0.0, graph.add("Neg", x)), graph)
        low = graph.add("Neg", _bent(below, 2.0 - lambdas, _EPSILON, graph))
        result = graph.where(up, _bent(above, lambdas, _EPSILON, graph), low)
    return graph.columns(result, len(columns))


def _bent(logs: str, powers: NDArray[np.float64], smallest: float, graph: Graph) -> str:
    """Return (exp(power logs) - 1) / power, and the logarithms themselves where the power is 0."""
    zero = np.abs(powers) < smallest
    constant = graph.constant([np.where(zero, 1.0, powers)])
    result = graph.add("Div", _expm1(graph.add("Mul", logs, constant), graph), constant)
    return graph.where(graph.constant([zero], np.bool_), logs, result) if zero.any() else result


def _interpolate(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    values = np.asarray(arrays[spec["values"]])
    points = np.asarray(arrays[spec["points"]]).reshape(-1, len(values))
    normal = spec["output"] == "normal"
    result: list[Column] = []
    for column, own in zip(columns, points, strict=True):
        x = graph.matrix([column])
        up = between(x, own, values, graph)
        down = between(graph.add("Neg", x), -own[::-1], -values[::-1], graph)
        place = graph.do("Mul", graph.add("Sub", up, down), 0.5)
        bound = _BOUND if normal else 0.0
        first, last = float(own[0]), float(own[-1])
        high = graph.do("Greater", graph.do("Add", x, bound), last)
        low = graph.do("Less", graph.do("Sub", x, bound), first)
        place = graph.where(graph.add("Or", high, graph.do("GreaterOrEqual", x, last)), 1.0, place)
        place = graph.where(graph.add("Or", low, graph.do("LessOrEqual", x, first)), 0.0, place)
        result += graph.columns(graph.where(graph.add("IsNaN", x), np.nan, place), 1)
    if not normal or not result:
        return result
    return graph.columns(_normal_quantile(graph.matrix(result), graph), len(columns))


def between(x: str, points: NDArray[np.float64], values: NDArray[np.float64], graph: Graph) -> str:
    """Return what numpy.interp does; anything outside of the points."""
    place = _count(x, points, graph)
    place = graph.add(
        "Max", graph.add("Sub", place, graph.constant(1, np.int64)), graph.constant(0, np.int64)
    )
    with np.errstate(all="ignore"):
        slopes = np.append(np.diff(values) / np.diff(points), 0.0)
    point, value, slope = (graph.add("Gather", graph.constant(a), place) for a in (points, values, slopes))
    step = graph.add("Mul", graph.add("Sub", x, point), slope)
    # At a point itself its value holds, even where the slope behind it is infinite.
    step = graph.where(graph.add("Equal", x, point), 0.0, step)
    return graph.add("Add", step, value)


def _count(x: str, edges: NDArray[np.float64], graph: Graph) -> str:
    """Return, rows x 1, how many of the edges are at most x; all of them when x is missing."""
    above = graph.add("Less", x, graph.constant([edges]))
    return graph.reduce("ReduceSum", graph.cast(graph.add("Not", above), TensorProto.INT64))


def _normal_quantile(p: str, graph: Graph) -> str:
    """Return quantiles of the standard normal distribution: AS 241, as ``scoring.rows.shapes`` has it."""
    q = graph.do("Sub", p, 0.5)
    left = graph.do("Less", q, 0.0)
    outer = graph.where(left, p, graph.do("Sub", 1.0, p))
    r = graph.add("Sqrt", graph.add("Neg", graph.add("Log", outer)))
    middle = _ratio(MIDDLE, graph.do("Sub", r, 1.6), graph)
    tail = _ratio(TAIL, graph.do("Sub", r, 5.0), graph)
    tail = graph.where(graph.do("LessOrEqual", r, 5.0), middle, tail)
    centre = _ratio(CENTRE, graph.do("Sub", 0.180625, graph.add("Mul", q, q)), graph)
    result = graph.where(
        graph.do("LessOrEqual", graph.add("Abs", q), 0.425),
        graph.add("Mul", q, centre),
        graph.where(left, graph.add("Neg", tail), tail),
    )
    result = graph.where(graph.do("LessOrEqual", p, 0.0), -_INFINITY, result)
    return graph.where(graph.do("GreaterOrEqual", p, 1.0), _INFINITY, result)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: str, graph: Graph) -> str:
    parts = []
    for polynomial in coefficients:
        total: str | float = polynomial[0]
        for coefficient in polynomial[1:]:
            total = graph.do("Add", graph.do("Mul", total, r), coefficient)
        parts.append(total)
    return graph.do("Div", *parts)


def _simple(operator: str) -> Callable[[str, Graph], str]:
    return lambda x, graph: graph.add(operator, x)


def _cbrt(x: str, graph: Graph) -> str:
    root = graph.add("Mul", graph.add("Sign", x), graph.do("Pow", graph.add("Abs", x), 1.0 / 3.0))
    # A third is no float64: one step of Newton's method takes the error of that away.
    square = graph.add("Mul", root, root)
    ratio = graph.add("Div", x, square)
    step = graph.do("Div", graph.add("Sub", root, ratio), 3.0)
    better = graph.add("Sub", root, step)
    usable = graph.do("Less", graph.add("Abs", step), _INFINITY)
    return graph.where(graph.add("And", usable, graph.add("Not", graph.do("Equal", x, 0.0))), better, x)


_FUNCTIONS: dict[str, Callable[[str, Graph], str]] = {
    "absolute": _simple("Abs"),
    "sign": lambda x, graph: graph.where(graph.add("IsNaN", x), x, graph.add("Sign", x)),
    "negative": _simple("Neg"),
    "reciprocal": lambda x, graph: graph.do("Div", 1.0, x),
    "square": lambda x, graph: graph.add("Mul", x, x),
    "sqrt": _simple("Sqrt"),
    "cbrt": _cbrt,
    "floor": _simple("Floor"),
    "ceil": _simple("Ceil"),
    "rint": _simple("Round"),
    "exp": _simple("Exp"),
    "expm1": _expm1,
    "log": _simple("Log"),
    "log2": lambda x, graph: graph.do("Div", graph.add("Log", x), float(np.log(2.0))),
    "log10": lambda x, graph: graph.do("Div", graph.add("Log", x), float(np.log(10.0))),
    "log1p": _log1p,
}


def _function(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    return graph.columns(_FUNCTIONS[spec["name"]](graph.matrix(columns), graph), len(columns))


def _normalize(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    x = graph.matrix(columns)
    sizes = graph.add("Abs", x) if spec["norm"] != "l2" else graph.add("Mul", x, x)
    norm = graph.reduce("ReduceSum", sizes)
    if spec["norm"] == "l2":
        norm = graph.add("Sqrt", norm)
    elif spec["norm"] == "max":
        # The sum is missing where one of them is; the largest might not be.
        norm = graph.where(graph.add("IsNaN", norm), norm, graph.reduce("ReduceMax", sizes))
    norm = graph.where(graph.do("Less", norm, SMALLEST_NORM), 1.0, norm)
    return graph.columns(graph.add("Div", x, norm), len(columns))


def _bins(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    ends = np.cumsum(spec["counts"], dtype=np.int64)
    edges = np.split(np.asarray(arrays[spec["edges"]]), ends[:-1])
    result: list[Column] = []
    for column, own in zip(columns, edges, strict=True):
        number = _count(graph.matrix([column]), own, graph) if len(own) else ""
        result += graph.columns(graph.cast(number) if number else graph.repeated([0.0]), 1)
    return result


def _products(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    terms: list[list[int]] = spec["terms"]
    result: dict[int, Column] = {}
    for degree in sorted({len(term) for term in terms}):
        numbers = [number for number, term in enumerate(terms) if len(term) == degree]
        product = graph.repeated(np.ones(len(numbers)))
        for position in range(degree):
            factor = graph.matrix([columns[terms[number][position]] for number in numbers])
            product = graph.add("Mul", product, factor)
        result |= dict(zip(numbers, graph.columns(product, len(numbers)), strict=True))
    return [result[number] for number in range(len(terms))]


KINDS = {
    "power": _power,
    "interpolate": _interpolate,
    "function": _function,
    "normalize": _normalize,
    "bins": _bins,
    "products": _products,
}
