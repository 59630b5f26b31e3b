"""What is done to columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Column

__all__ = ["KINDS"]


class Impute:
    """Puts a value where none is, and says where with a column of 0 and 1."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._fill = spec["fill"]
        self._none = spec["missing"] == "none"
        self._indicators = spec["indicators"]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        missing = [_is_none(column) if self._none else column != column for column in block]
        result = []
        for column, mask, value in zip(block, missing, self._fill, strict=True):
            if value is not None:
                filled = column.copy()
                filled[mask] = value
                result.append(filled)
        return result + [missing[i].astype(np.float64) for i in self._indicators]


def _is_none(column: Column) -> Column:
    return np.asarray([value is None for value in column.tolist()], dtype=bool)


class Scale:
    """Subtracts a mean and divides by a scale."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._mean = None if spec["mean"] is None else arrays[spec["mean"]].tolist()
        self._scale = None if spec["scale"] is None else arrays[spec["scale"]].tolist()

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        if self._mean is not None:
            block = [column - mean for column, mean in zip(block, self._mean, strict=True)]
        if self._scale is not None:
            block = [column / scale for column, scale in zip(block, self._scale, strict=True)]
        return block


class Affine:
    """Multiplies by a factor and adds an offset."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._factor = arrays[spec["factor"]].tolist()
        self._offset = arrays[spec["offset"]].tolist()

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        parts = zip(block, self._factor, self._offset, strict=True)
        return [column * factor + offset for column, factor, offset in parts]


class Clip:
    """Keeps numbers within bounds."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._low, self._high = float(spec["low"]), float(spec["high"])

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        return [np.clip(column, self._low, self._high) for column in block]


KINDS = {"impute": Impute, "scale": Scale, "affine": Affine, "clip": Clip}
