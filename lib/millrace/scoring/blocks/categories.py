"""What becomes of columns of categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.scoring.blocks import Column

__all__ = ["KINDS"]


def _codes(column: Column, table: dict[Any, Any], unknown: Any) -> list[Any]:
    return [table.get(None if value != value else value, unknown) for value in column.tolist()]


class OneHot:
    """One column for each category or group of rare ones."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._parts: list[tuple[dict[Any, int], int, int]] = []
        parts = zip(spec["categories"], spec["codes"], spec["widths"], spec["unknown"], strict=True)
        for categories, codes, width, unknown in parts:
            outputs = range(len(categories)) if codes is None else codes
            self._parts.append((dict(zip(categories, outputs, strict=True)), unknown, width))

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for column, (table, unknown, width) in zip(block, self._parts, strict=True):
            outputs = np.asarray(_codes(column, table, unknown), dtype=np.int64)
            result += [(outputs == output).astype(np.float64) for output in range(width)]
        return result


class Ordinal:
    """A number for each category."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._unknown = np.nan if spec["unknown"] is None else float(spec["unknown"])
        self._tables: list[dict[Any, float]] = []
        for categories, codes in zip(spec["categories"], spec["codes"], strict=True):
            numbers = range(len(categories)) if codes is None else codes
            values = [np.nan if number is None else float(number) for number in numbers]
            self._tables.append(dict(zip(categories, values, strict=True)))

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        return [
            np.asarray(_codes(column, table, self._unknown), dtype=np.float64)
            for column, table in zip(block, self._tables, strict=True)
        ]


class Lookup:
    """Numbers that training found for each category."""

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        sizes = [len(categories) + 1 for categories in spec["categories"]]
        values = np.asarray(arrays[spec["values"]]).reshape(sum(sizes), spec["outputs"])
        self._values = np.split(values, np.cumsum(sizes)[:-1])
        self._tables = [dict(zip(items, range(len(items)), strict=True)) for items in spec["categories"]]

    def __call__(self, block: list[Column], rows: int) -> list[Column]:
        result: list[Column] = []
        for column, table, values in zip(block, self._tables, self._values, strict=True):
            codes = np.asarray(_codes(column, table, len(values) - 1), dtype=np.intp)
            result += list(values[codes].T)
        return result


KINDS = {"one-hot": OneHot, "ordinal": Ordinal, "lookup": Lookup}
