"""What is done to the numbers of one row."""

from __future__ import annotations

from operator import add, mul, sub, truediv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]


class Impute:
    """Puts a value where none is, and says where with a column of 0 and 1."""

    __slots__ = ("_fill", "_indicators", "_none")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._fill = [(i, value) for i, value in enumerate(spec["fill"]) if value is not None]
        self._none = spec["missing"] == "none"
        self._indicators = spec["indicators"]

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        if self._none:
            result = [value if row[i] is None else row[i] for i, value in self._fill]
            return result + [1.0 if row[i] is None else 0.0 for i in self._indicators]
        result = [value if row[i] != row[i] else row[i] for i, value in self._fill]
        return result + [1.0 if row[i] != row[i] else 0.0 for i in self._indicators]


class Scale:
    """Subtracts a mean and divides by a scale."""

    __slots__ = ("_mean", "_scale")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._mean = None if spec["mean"] is None else arrays[spec["mean"]].tolist()
        self._scale = None if spec["scale"] is None else arrays[spec["scale"]].tolist()

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result = list(row)
        if self._mean is not None:
            result = list(map(sub, result, self._mean))
        if self._scale is not None:
            result = list(map(truediv, result, self._scale))
        return result


class Affine:
    """Multiplies by a factor and adds an offset."""

    __slots__ = ("_factor", "_offset")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._factor = arrays[spec["factor"]].tolist()
        self._offset = arrays[spec["offset"]].tolist()

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        return list(map(add, map(mul, row, self._factor), self._offset))


class Clip:
    """Keeps numbers within bounds."""

    __slots__ = ("_high", "_low")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._low, self._high = float(spec["low"]), float(spec["high"])

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        low, high = self._low, self._high
        # Written so that a missing value, which is in no order, stays itself.
        return [low if value < low else high if value > high else value for value in row]


KINDS = {"impute": Impute, "scale": Scale, "affine": Affine, "clip": Clip}
