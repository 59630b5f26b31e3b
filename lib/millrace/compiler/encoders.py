"""Compiles fitted transformers: one function each, by class name, in the families that plans have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler import categories, numbers, texts, times
from millrace.compiler.common import Arrays, Step, expect, name_of, not_covered

__all__ = ["ENCODERS", "compile_steps"]


def compile_steps(transformer: Any, arrays: Arrays) -> list[Step]:
    """Compile a fitted transformer into the encoders that do the same.

    Parameters
    ----------
    transformer : transformer, "passthrough" or None
        Fitted.
    arrays : Arrays
        Receives the encoders' arrays.

    Raises
    ------
    BadInput
        ``estimator-not-covered``, naming the class or its parameter.
    """
    if transformer is None or transformer == "passthrough":
        return []
    name = name_of(transformer)
    if name not in ENCODERS:
        raise not_covered(name)
    return ENCODERS[name](transformer, arrays)


def _pipeline(pipeline: Any, arrays: Arrays) -> list[Step]:
    return [step for _, transformer in pipeline.steps for step in compile_steps(transformer, arrays)]


def _column_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    expect(transformer, transformer_weights=(None,))
    names = list(getattr(transformer, "feature_names_in_", ()))
    width = transformer.n_features_in_
    branches = []
    for _, part, columns in transformer.transformers_:
        inputs = _indices(columns, names, width)
        if inputs and not (isinstance(part, str) and part == "drop"):
            branches.append({"inputs": inputs, "steps": compile_steps(part, arrays)})
    return [{"kind": "columns", "branches": branches}]


def _indices(columns: Any, names: list[str], width: int) -> list[int]:
    """Return the positions that scikit-learn's column selection means."""
    if isinstance(columns, str):
        return [names.index(columns)]
    if isinstance(columns, slice):
        first = names.index(columns.start) if isinstance(columns.start, str) else columns.start
        # A slice of names includes its end.
        last = names.index(columns.stop) + 1 if isinstance(columns.stop, str) else columns.stop
        return list(range(width)[first : last : columns.step])
    if isinstance(columns, (int, np.integer)):
        return [range(width)[int(columns)]]
    items = list(columns)
    if items and all(isinstance(item, (bool, np.bool_)) for item in items):
        return [position for position, chosen in enumerate(items) if chosen]
    return [names.index(item) if isinstance(item, str) else range(width)[int(item)] for item in items]


def _function_transformer(transformer: Any, arrays: Arrays) -> list[Step]:
    expect(transformer, func=(None,))
    return []


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FunctionTransformer": _function_transformer,
    **numbers.ENCODERS,
    **categories.ENCODERS,
    **texts.ENCODERS,
    **times.ENCODERS,
}
"""By class name: ``(fitted transformer, arrays) -> encoders of the plan``."""
