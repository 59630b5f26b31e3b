"""Emits what becomes of times: calendar arithmetic on seconds since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from millrace.compiler.onnx.graph import Column, Graph

__all__ = ["KINDS"]

_FIRST, _END = -62_135_596_800.0, 253_402_300_800.0
"""The years 1 to 9999, as in :mod:`millrace.scoring.rows.times`."""
_SHIFT = 719_468
"""Days from 0000-03-01 to 1970-01-01. From there on nothing is negative, so that division rounds down."""


def _time_parts(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    seconds = graph.matrix(columns)
    known = graph.add("And", graph.do("GreaterOrEqual", seconds, _FIRST), graph.do("Less", seconds, _END))
    whole = graph.cast(graph.add("Floor", graph.where(known, seconds, 0.0)), TensorProto.INT64)
    calendar = _Calendar(whole, graph)
    tensors = []
    for part in spec["parts"]:
        value = graph.do("Div", seconds, 86400.0) if part == "days" else graph.cast(getattr(calendar, part))
        tensors.append(graph.where(known, value, np.nan))
        graph.columns(tensors[-1], len(columns))
    return [(tensor, j) for j in range(len(columns)) for tensor in tensors]


class _Calendar:
    """civil_from_days of H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", on int64 tensors."""

    def __init__(self, seconds: str, graph: Graph) -> None:
        self._graph = graph
        shifted = self._do("Add", seconds, _SHIFT * 86400)
        days = self._do("Div", shifted, 86400)
        clock = self._do("Mod", shifted, 86400)
        era = self._do("Div", days, 146_097)
        of_era = self._do("Mod", days, 146_097)
        leaps = self._do("Sub", self._do("Div", of_era, 36_524), self._do("Div", of_era, 1_460))
        rest = self._do("Sub", leaps, self._do("Div", of_era, 146_096))
        year_of_era = self._do("Div", self._do("Add", of_era, rest), 365)
        in_years = self._do(
            "Add",
            self._do("Mul", year_of_era, 365),
            self._do("Sub", self._do("Div", year_of_era, 4), self._do("Div", year_of_era, 100)),
        )
        from_march = self._do("Sub", of_era, in_years)
        month_from_march = self._do("Div", self._do("Add", self._do("Mul", from_march, 5), 2), 153)
        in_months = self._do("Div", self._do("Add", self._do("Mul", month_from_march, 153), 2), 5)
        late = self._number(self._do("GreaterOrEqual", month_from_march, 10))
        self.day = self._do("Add", self._do("Sub", from_march, in_months), 1)
        self.month = self._do("Sub", self._do("Add", month_from_march, 3), self._do("Mul", late, 12))
        self.year = self._do("Add", self._do("Add", year_of_era, self._do("Mul", era, 400)), late)
        common = self._do("And", self._divides(4), self._graph.add("Not", self._divides(100)))
        leap = self._number(self._do("Or", common, self._divides(400)))
        # January and February are the last months of a year that begins in March.
        early = self._do("Sub", from_march, 305)
        later = self._do("Add", self._do("Add", from_march, 60), leap)
        self.day_of_year = graph.add("Where", self._do("Less", self.month, 3), early, later)
        # 1970-01-01 was a Thursday, and _SHIFT is one more than a multiple of 7.
        self.weekday = self._do("Mod", self._do("Add", days, 2), 7)
        self.hour = self._do("Div", clock, 3600)
        self.minute = self._do("Mod", self._do("Div", clock, 60), 60)
        self.second = self._do("Mod", clock, 60)

    def _do(self, operator: str, left: str, right: str | int) -> str:
        other = right if isinstance(right, str) else self._graph.constant(right, np.int64)
        return self._graph.add(operator, left, other)

    def _number(self, condition: str) -> str:
        return self._graph.cast(condition, TensorProto.INT64)

    def _divides(self, divisor: int) -> str:
        return self._do("Equal", self._do("Mod", self.year, divisor), 0)


KINDS = {"time-parts": _time_parts}
