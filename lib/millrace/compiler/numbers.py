"""Compiles what is done to numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from millrace.compiler.common import Arrays, Step, missing, not_covered

__all__ = ["ENCODERS"]


def _simple_imputer(imputer: Any, arrays: Arrays) -> list[Step]:
    marker = imputer.missing_values
    if not missing(marker):
        raise not_covered(f"SimpleImputer(missing_values={marker!r:.60})")
    fill: list[str | float | None] = []
    for value in imputer.statistics_.tolist():
        if missing(value) and not imputer.keep_empty_features:
            fill.append(None)  # all were missing in training: the column is left out
        elif isinstance(value, str):
            fill.append(value)
        elif isinstance(value, (int, float)) and math.isfinite(value):
            fill.append(float(value))
        else:
            raise not_covered(f"SimpleImputer with the value {value!r:.60}")
    return [
        {
            "kind": "impute",
            "fill": fill,
            "missing": "none" if marker is None else "nan",
            "indicators": imputer.indicator_.features_.tolist() if imputer.add_indicator else [],
        }
    ]


def _standard_scaler(scaler: Any, arrays: Arrays) -> list[Step]:
    return [
        {
            "kind": "scale",
            "mean": arrays.floats(scaler.mean_) if scaler.with_mean else None,
            "scale": arrays.floats(scaler.scale_) if scaler.with_std else None,
        }
    ]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "SimpleImputer": _simple_imputer,
    "StandardScaler": _standard_scaler,
}
