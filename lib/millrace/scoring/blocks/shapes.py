"""What bends, cuts and combines columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.plan.kinds import SMALLEST_NORM
from millrace.scoring.blocks import Column, Floats
from millrace.scoring.rows.shapes import CENTRE, MIDDLE, TAIL

__all__ = ["KINDS", "normal_quantile"]

_EPSILON = 2.0**-52
_BOUND = 1e-7


def _yeo_johnson(column: Floats, power: float) -> Floats:
    result = np.empty_like(column)
    up = column >= 0.0
    above, below = np.log1p(column[up]), np.log1p(-column[~up])
    result[up] = above if abs(power) < _EPSILON else np.expm1(power * above) / power
    result[~up] = -below if abs(power - 2.0) <= _EPSILON else -np.expm1((2.0 - power) * below) / (2.0 - power)
    return result


def _box_cox(column: Floats, power: float) -> Floats:
    logs: Floats = np.log(column)
    if abs(power) >= 1e-19:
        logs = np.expm1(power * logs) / power
    return logs


class Power:
    """Makes a column look more like a normal one."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._function = _box_cox if spec["method"] == "box-cox" else _yeo_johnson
        self._lambdas = arrays[spec["lambdas"]].tolist()

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        with np.errstate(all="ignore"):
            return [self._function(column, power) for column, power in zip(block, self._lambdas, strict=True)]


class Interpolate:
    """The place of a value among those that training saw."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._values = np.asarray(arrays[spec["values"]])
        self._points = np.asarray(arrays[spec["points"]]).reshape(-1, len(self._values))
        self._normal = spec["output"] == "normal"

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        with np.errstate(all="ignore"):
            return [self._place(column, points) for column, points in zip(block, self._points, strict=True)]

    def _place(self, column: Floats, points: Floats) -> Floats:
        # Up and down: of equal points the mean of the first and the last one's values counts.
        up = np.interp(column, points, self._values)
        down = np.interp(-column, -points[::-1], -self._values[::-1])
        result = 0.5 * (up - down)
        bound = _BOUND if self._normal else 0.0
        result[(column >= points[-1]) | (column + bound > points[-1])] = 1.0
        result[(column <= points[0]) | (column - bound < points[0])] = 0.0
        result[np.isnan(column)] = np.nan
        return normal_quantile(result) if self._normal else result


def normal_quantile(p: Floats) -> Floats:
    """Return quantiles of the standard normal distribution: AS 241, as ``rows.shapes`` has it."""
    with np.errstate(all="ignore"):
        q = p - 0.5
        r = np.sqrt(-np.log(np.where(q < 0.0, p, 1.0 - p)))
        tail = np.where(r <= 5.0, _ratio(MIDDLE, r - 1.6), _ratio(TAIL, r - 5.0))
        result = np.where(
            np.abs(q) <= 0.425, q * _ratio(CENTRE, 0.180625 - q * q), np.where(q < 0.0, -tail, tail)
        )
    result[p <= 0.0] = -np.inf
    result[p >= 1.0] = np.inf
    return result


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: Floats) -> Floats:
    upper, lower = np.zeros_like(r), np.zeros_like(r)
    for a, b in zip(*coefficients, strict=True):
        upper = upper * r + a
        lower = lower * r + b
    return upper / lower


class Function:
    """Applies one function to every value."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._function = getattr(np, spec["name"])

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        with np.errstate(all="ignore"):
            return [self._function(column) for column in block]


class Normalize:
    """Divides a row by its norm."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._norm = spec["norm"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        norms = np.zeros(rows)
        with np.errstate(all="ignore"):
            for column in block:
                if self._norm == "l2":
                    norms += column * column
                elif self._norm == "l1":
                    norms += np.abs(column)
                else:
                    norms = np.maximum(norms, np.abs(column))
            norms = np.sqrt(norms) if self._norm == "l2" else norms
            norms[norms < SMALLEST_NORM] = 1.0
            return [column / norms for column in block]


class Bins:
    """The number of the interval in which a value lies."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        ends = np.cumsum(spec["counts"], dtype=np.int64)
        self._edges = np.split(np.asarray(arrays[spec["edges"]]), ends[:-1])

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        return [
            np.searchsorted(edges, column, side="right").astype(np.float64)
            for column, edges in zip(block, self._edges, strict=True)
        ]


class Products:
    """Products of values."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._terms = spec["terms"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result = []
        with np.errstate(all="ignore"):
            for term in self._terms:
                product = np.ones(rows)
                for i in term:
                    product = product * block[i]
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
