"""Compiles fitted transformers: one function each, by class name, in the families that plans have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from millrace.compiler import categories, numbers, shapes, texts, times
from millrace.compiler.common import Arrays, Step, expect, name_of, not_covered

__all__ = ["ENCODERS", "compile_chain", "compile_steps"]


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


def compile_chain(parts: Sequence[tuple[str, Any]], arrays: Arrays) -> list[Step]:
    """Compile fitted transformers that stand one behind the other, as a pipeline's ``steps``.

    Raises
    ------
    BadInput
        As :func:`compile_steps`; and for what treats a sparse matrix differently from the same numbers.
    """
    steps: list[Step] = []
    sparse = False
    for _, transformer in parts:
        if sparse and type(transformer).__name__ == "QuantileTransformer":
            remedy = (
                "Set sparse_output=False in the step before it: of a sparse matrix it leaves out the zeros."
            )
            raise not_covered("QuantileTransformer of a sparse matrix", remedy)
        sparse = _is_sparse(transformer, sparse)
        steps += compile_steps(transformer, arrays)
    return steps


def _is_sparse(transformer: Any, before: bool) -> bool:
    """Return whether what comes out is a sparse matrix: most transformers leave that as it is."""
    if hasattr(transformer, "sparse_output_"):
        return bool(transformer.sparse_output_)
    if hasattr(transformer, "sparse_output"):
        return bool(transformer.sparse_output)
    if hasattr(transformer, "transformer_list"):
        return any(_is_sparse(part, before) for _, part in transformer.transformer_list)
    if hasattr(transformer, "steps"):
        for _, part in transformer.steps:
            before = _is_sparse(part, before)
        return before
    of_texts = hasattr(transformer, "analyzer") or hasattr(transformer, "input_type")
    return before or of_texts or getattr(transformer, "encode", "") == "onehot"


def _pipeline(pipeline: Any, arrays: Arrays) -> list[Step]:
    return compile_chain(pipeline.steps, arrays)


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


def _feature_union(union: Any, arrays: Arrays) -> list[Step]:
    expect(union, transformer_weights=(None,))
    inputs = list(range(_width(union)))
    if not inputs:
        raise not_covered("FeatureUnion of parts that do not know their inputs")
    branches = [
        {"inputs": inputs, "steps": compile_steps(part, arrays)}
        for _, part in union.transformer_list
        if not (isinstance(part, str) and part == "drop")
    ]
    return [{"kind": "columns", "branches": branches}]


def _width(transformer: Any) -> int:
    """Return the number of a transformer's inputs, which only its parts may know."""
    if hasattr(transformer, "analyzer"):
        return 1  # a vectorizer takes one column
    parts = getattr(transformer, "transformer_list", None) or getattr(transformer, "steps", None)
    if parts is None:
        return getattr(transformer, "n_features_in_", 0)
    return next(filter(None, (_width(part) for _, part in parts)), 0)


def _selector(selector: Any, arrays: Arrays) -> list[Step]:
    chosen = selector.get_support(indices=True).tolist()
    return [{"kind": "columns", "branches": [{"inputs": chosen, "steps": []}]}]


ENCODERS: dict[str, Callable[[Any, Arrays], list[Step]]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "GenericUnivariateSelect": _selector,
    "RFE": _selector,
    "RFECV": _selector,
    "SelectFdr": _selector,
    "SelectFpr": _selector,
    "SelectFromModel": _selector,
    "SelectFwe": _selector,
    "SelectKBest": _selector,
    "SelectPercentile": _selector,
    "SequentialFeatureSelector": _selector,
    "VarianceThreshold": _selector,
    **numbers.ENCODERS,
    **shapes.ENCODERS,
    **categories.ENCODERS,
    **texts.ENCODERS,
    **times.ENCODERS,
}
"""By class name: ``(fitted transformer, arrays) -> encoders of the plan``."""
