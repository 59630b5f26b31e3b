"""What bends, cuts and combines the numbers of one row."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from operator import neg

from millrace.plan.kinds import SMALLEST_NORM
from millrace.scoring.rows.links import exp_of, expm1_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["BOUND", "CENTRE", "FUNCTIONS", "KINDS", "MIDDLE", "TAIL", "normal_quantile"]

_INFINITY = float("inf")
_NAN = float("nan")
_EPSILON = 2.0**-52
BOUND = 1e-7
"""How near to the ends of the points a value counts as being there, for a normal output."""


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else _no_logarithm(value)


def _no_logarithm(value: float) -> float:
    return -_INFINITY if value == 0.0 else _NAN


def _whole(round_: Callable[[float], int]) -> Callable[[float], float]:
    # A number without a fraction, which all large ones are, comes back as it is; copysign() keeps -0.0.
    def function(value: float) -> float:
        return value if value - value != 0.0 else math.copysign(round_(value), value)

    return function


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "absolute": abs,
    "sign": lambda value: value if value != value else float((value > 0.0) - (value < 0.0)),
    "negative": neg,
    "reciprocal": lambda value: 1.0 / value if value else math.copysign(_INFINITY, value),
    "square": lambda value: value * value,
    "sqrt": lambda value: math.sqrt(value) if value >= 0.0 else _NAN,
    "cbrt": math.cbrt,
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "rint": _whole(round),
    "exp": exp_of,
    "expm1": expm1_of,
    "log": _log,
    "log2": lambda value: math.log2(value) if value > 0.0 else _no_logarithm(value),
    "log10": lambda value: math.log10(value) if value > 0.0 else _no_logarithm(value),
    "log1p": lambda value: math.log1p(value) if value > -1.0 else _no_logarithm(value + 1.0),
}
"""By name; each takes every float, and says of an undefined result what numpy says."""


def _yeo_johnson(value: float, power: float) -> float:
    """Transform one value (I.-K. Yeo and R. A. Johnson, Biometrika 87 (2000) 954-959)."""
    if value >= 0.0:
        if abs(power) < _EPSILON:
            return math.log1p(value)
        return expm1_of(power * math.log1p(value)) / power
    if abs(power - 2.0) > _EPSILON:
        return -expm1_of((2.0 - power) * math.log1p(-value)) / (2.0 - power)
    return -math.log1p(-value)


def _box_cox(value: float, power: float) -> float:
    """Transform one value (G. E. P. Box and D. R. Cox, J. R. Stat. Soc. B 26 (1964) 211-252)."""
    if abs(power) < 1e-19:
        return _log(value)
    return expm1_of(power * _log(value)) / power


class Power:
    """Makes a column look more like a normal one."""

    __slots__ = ("_function", "_lambdas")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._function = _box_cox if spec["method"] == "box-cox" else _yeo_johnson
        self._lambdas = arrays[spec["lambdas"]].tolist()

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        return list(map(self._function, row, self._lambdas))


class Interpolate:
    """The place of a value among those that training saw."""

    __slots__ = ("_normal", "_points", "_values")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._values = arrays[spec["values"]].tolist()
        self._normal = spec["output"] == "normal"
        points, size = arrays[spec["points"]].tolist(), len(self._values)
        self._points = [points[start : start + size] for start in range(0, len(points), size)]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        if self._normal:
            return [
                normal_quantile(self._place(value, points, BOUND))
                for value, points in zip(row, self._points, strict=True)
            ]
        return [self._place(value, points, 0.0) for value, points in zip(row, self._points, strict=True)]

    def _place(self, value: float, points: list[float], bound: float) -> float:
        if value != value:
            return value
        if value <= points[0] or value - bound < points[0]:
            return 0.0
        if value >= points[-1] or value + bound > points[-1]:
            return 1.0
        # Of equal points the mean of the first and the last one's values counts.
        values = self._values
        above = bisect_right(points, value)
        below = bisect_left(points, value)
        if above != below:
            return 0.5 * (values[above - 1] + values[below])  # type: ignore[no-any-return]
        left, right = points[above - 1], points[above]
        slope = (values[above] - values[above - 1]) / (right - left)
        up = slope * (value - left) + values[above - 1]
        down = slope * (value - right) + values[above]
        return 0.5 * (up + down)  # type: ignore[no-any-return]


def normal_quantile(p: float) -> float:
    """Return the quantile of the standard normal distribution.

    Parameters
    ----------
    p : float
        A probability; outside 0 to 1 the result is that of the nearer bound, an infinity.

    Notes
    -----
    M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied Statistics
    37 (1988) 477-484, function PPND16.
    """
    if p <= 0.0:
        return -_INFINITY
    if p >= 1.0:
        return _INFINITY
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * _ratio(CENTRE, r)
    r = math.sqrt(-math.log(p if q < 0.0 else 1.0 - p))
    size = _ratio(MIDDLE, r - 1.6) if r <= 5.0 else _ratio(TAIL, r - 5.0)
    return -size if q < 0.0 else size


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: float) -> float:
    upper = lower = 0.0
    for a, b in zip(*coefficients, strict=True):
        upper = upper * r + a
        lower = lower * r + b
    return upper / lower


CENTRE = (
    (
        *(2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457),
        *(13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    ),
    (
        *(5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867),
        *(5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
    ),
)
MIDDLE = (
    (
        *(7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258),
        *(3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    ),
    (
        *(1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966),
        *(0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
    ),
)
TAIL = (
    (
        *(2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386),
        *(0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699),
        6.6579046435011037772,
    ),
    (
        *(2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5),
        *(7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769),
        1.0,
    ),
)
"""Coefficients of AS 241, the highest power first: numerator and denominator for the three ranges."""


class Function:
    """Applies one function to every value."""

    __slots__ = ("_function",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._function = FUNCTIONS[spec["name"]]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        return list(map(self._function, row))


class Normalize:
    """Divides a row by its norm."""

    __slots__ = ("_norm",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._norm = spec["norm"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        if self._norm == "l2":
            norm = math.sqrt(sum([value * value for value in row]))
        else:
            sizes = list(map(abs, row))
            norm = sum(sizes)
            # A sum that is missing says that a value is.
            if self._norm == "max" and norm == norm:
                norm = max(sizes, default=0.0)
        return list(row) if norm < SMALLEST_NORM else [value / norm for value in row]


class Bins:
    """The number of the interval in which a value lies."""

    __slots__ = ("_edges",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        edges = arrays[spec["edges"]].tolist()
        self._edges: list[list[float]] = []
        start = 0
        for count in spec["counts"]:
            self._edges.append(edges[start : start + count])
            start += count

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        return list(map(float, map(bisect_right, self._edges, row)))


class Products:
    """Products of values."""

    __slots__ = ("_terms",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._terms = spec["terms"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result = []
        for term in self._terms:
            product = 1.0
            for i in term:
                product *= row[i]
            result.append(product)
        return result


KINDS = {
    "power": Power,
    "interpolate": Interpolate,
    "function": Function,
    "normalize": Normalize,
    "bins": Bins,
    "products": Products,
}
