"""Compiles what is done to numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from millrace.compiler.common import Arrays, Step, expect, missing, not_covered

__all__ = ["ENCODERS", "clip_step", "scale_step"]


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


def _missing_indicator(indicator: Any, arrays: Arrays) -> list[Step]:
    marker = indicator.missing_values
    if not missing(marker):
        raise not_covered(f"MissingIndicator(missing_values={marker!r:.60})")
    if indicator.features == "missing-only":
        expect(indicator, error_on_new=(False,))
    return [
        {
            "kind": "impute",
            "fill": [None] * indicator.n_features_in_,
            "missing": "none" if marker is None else "nan",
            "indicators": indicator.features_.tolist(),
        }
    ]


def scale_step(mean: Any, scale: Any, arrays: Arrays) -> Step:
    """Return the encoder that subtracts and divides; None leaves one out."""
    return {
        "kind": "scale",
        "mean": None if mean is None else arrays.floats(mean),
        "scale": None if scale is None else arrays.floats(scale),
    }


def clip_step(low: float, high: float) -> Step:
    """Return the encoder that keeps every input within bounds."""
    return {"kind": "clip", "low": float(low), "high": float(high)}


def _standard_scaler(scaler: Any, arrays: Arrays) -> list[Step]:
    mean = scaler.mean_ if scaler.with_mean else None
    return [scale_step(mean, scaler.scale_ if scaler.with_std else None, arrays)]


def _robust_scaler(scaler: Any, arrays: Arrays) -> list[Step]:
    center = scaler.center_ if scaler.with_centering else None
    return [scale_step(center, scaler.scale_ if scaler.with_scaling else None, arrays)]


def _max_abs_scaler(scaler: Any, arrays: Arrays) -> list[Step]:
    return [scale_step(None, scaler.scale_, arrays), *([clip_step(-1, 1)] if scaler.clip else [])]


def _min_max_scaler(scaler: Any, arrays: Arrays) -> list[Step]:
    step = {"kind": "affine", "factor": arrays.floats(scaler.scale_), "offset": arrays.floats(scaler.min_)}
    return [step, *([clip_step(*scaler.feature_range)] if scaler.clip else [])]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "SimpleImputer": _simple_imputer,
    "MissingIndicator": _missing_indicator,
    "StandardScaler": _standard_scaler,
    "RobustScaler": _robust_scaler,
    "MaxAbsScaler": _max_abs_scaler,
    "MinMaxScaler": _min_max_scaler,
}
