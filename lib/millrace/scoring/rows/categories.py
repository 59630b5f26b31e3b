"""What becomes of the categories of one row."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["KINDS"]

_NAN = float("nan")


def _table(categories: Sequence[Any], codes: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(categories, codes, strict=True))


class OneHot:
    """One column for each category or group of rare ones."""

    __slots__ = ("_tables", "width")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._tables: list[tuple[dict[Any, int], int]] = []
        self.width = 0
        parts = zip(spec["categories"], spec["codes"], spec["widths"], spec["unknown"], strict=True)
        for categories, codes, width, unknown in parts:
            outputs = range(len(categories)) if codes is None else codes
            table = _table(categories, [-1 if output < 0 else self.width + output for output in outputs])
            self._tables.append((table, -1 if unknown < 0 else self.width + unknown))
            self.width += width

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result = [0.0] * self.width
        for value, (table, unknown) in zip(row, self._tables, strict=True):
            output = table.get(None if value != value else value, unknown)
            if output >= 0:
                result[output] = 1.0
        return result

    def sparse(self, row: Sequence[Any]) -> tuple[list[int], list[float]]:
        """Return the outputs that are not 0, ascending, and their values."""
        outputs = []
        for value, (table, unknown) in zip(row, self._tables, strict=True):
            output = table.get(None if value != value else value, unknown)
            if output >= 0:
                outputs.append(output)
        return outputs, [1.0] * len(outputs)


class Ordinal:
    """A number for each category."""

    __slots__ = ("_tables", "_unknown")

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        self._unknown = _NAN if spec["unknown"] is None else float(spec["unknown"])
        self._tables: list[dict[Any, float]] = []
        for categories, codes in zip(spec["categories"], spec["codes"], strict=True):
            numbers = range(len(categories)) if codes is None else codes
            self._tables.append(_table(categories, [_NAN if n is None else float(n) for n in numbers]))

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        unknown = self._unknown
        return [
            table.get(None if value != value else value, unknown)
            for value, table in zip(row, self._tables, strict=True)
        ]


class Lookup:
    """Numbers that training found for each category."""

    __slots__ = ("_tables",)

    def __init__(self, spec: dict[str, Any], arrays: Sequence[memoryview]) -> None:
        values, outputs = arrays[spec["values"]].tolist(), spec["outputs"]
        self._tables: list[tuple[dict[Any, list[float]], list[float]]] = []
        start = 0
        for categories in spec["categories"]:
            ends = range(start + outputs, start + (len(categories) + 2) * outputs, outputs or 1)
            rows = [values[end - outputs : end] for end in ends] or [[]] * (len(categories) + 1)
            self._tables.append((_table(categories, rows[:-1]), rows[-1]))
            start += len(rows) * outputs

    def __call__(self, row: Sequence[Any]) -> list[Any]:
        result: list[float] = []
        for value, (table, unknown) in zip(row, self._tables, strict=True):
            result += table.get(None if value != value else value, unknown)
        return result


KINDS = {"one-hot": OneHot, "ordinal": Ordinal, "lookup": Lookup}
