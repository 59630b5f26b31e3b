"""Weighted sums, and constants."""

from __future__ import annotations

from itertools import compress
from operator import mul

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]

_LIST_LIMIT = 1 << 16
"""Tables of up to this many weights become lists, which are quicker to read. Of a larger one, which words or
hashes made, a row needs few."""


class Linear:
    """Weighted sums."""

    __slots__ = ("_rows",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        coef: Any = arrays[spec["coef"]]
        intercept = arrays[spec["intercept"]].tolist()
        if len(coef) <= _LIST_LIMIT:
            coef = coef.tolist()
        width = len(coef) // len(intercept)
        self._rows = [(coef[k * width : (k + 1) * width], bias) for k, bias in enumerate(intercept)]

    def __call__(self, row: list[float]) -> list[float]:
        # One-hot and word columns are mostly zeros, and leaving those out costs less than adding them.
        values = list(filter(None, row))
        return [sum(map(mul, values, compress(weights, row))) + bias for weights, bias in self._rows]

    def sparse(self, row: tuple[list[int], list[float]]) -> list[float]:
        """Return the same for the inputs that are not 0 and their values."""
        inputs, values = row
        return [
            sum(map(mul, values, map(weights.__getitem__, inputs))) + bias for weights, bias in self._rows
        ]


class Constant:
    """The same answer for every row."""

    __slots__ = ("_values",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._values = arrays[spec["values"]].tolist()

    def __call__(self, row: list[float]) -> list[float]:
        return list(self._values)


KINDS = {"linear": Linear, "constant": Constant}
