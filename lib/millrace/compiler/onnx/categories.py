"""Emits what becomes of categories: tables of texts or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

from millrace.compiler.onnx.common import not_expressed
from millrace.compiler.onnx.graph import ML, Column, Graph, text_tensor

__all__ = ["KINDS", "looked_up"]


def looked_up(
    column: Column, keys: Sequence[Any], values: ArrayLike, default: float, dtype: Any, graph: Graph
) -> str:
    """Return a tensor, rows x 1, of the values beside the column's keys; the key None is a missing value."""
    if not len(keys):
        return graph.cast(graph.repeated([default]), helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    if not graph.is_text(column):
        table = numpy_helper.from_array(np.asarray([np.nan if k is None else float(k) for k in keys]))
    elif "" in keys:
        raise not_expressed("The empty text as a category, which in the exported model is a missing value")
    else:
        table = text_tensor("keys", [key or "" for key in keys], [len(keys)])
    return graph.add(
        "LabelEncoder",
        graph.matrix([column]),
        domain=ML,
        keys_tensor=table,
        values_tensor=numpy_helper.from_array(np.asarray(values, dtype=dtype)),
        default_tensor=numpy_helper.from_array(np.asarray([default], dtype=dtype)),
    )


def _one_hot(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    result: list[Column] = []
    parts = zip(columns, spec["categories"], spec["codes"], spec["widths"], spec["unknown"], strict=True)
    for column, categories, codes, width, unknown in parts:
        if not width:
            continue
        outputs = range(len(categories)) if codes is None else codes
        number = looked_up(column, categories, list(outputs), unknown, np.int64, graph)
        hot = graph.add("Equal", number, graph.constant([range(width)], np.int64))
        result += graph.columns(graph.cast(hot), width)
    return result


def _ordinal(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    result: list[Column] = []
    unknown = np.nan if spec["unknown"] is None else spec["unknown"]
    for column, categories, codes in zip(columns, spec["categories"], spec["codes"], strict=True):
        numbers = range(len(categories)) if codes is None else codes
        values = [np.nan if number is None else number for number in numbers]
        result += graph.columns(looked_up(column, categories, values, unknown, np.float64, graph), 1)
    return result


def _lookup(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    outputs = spec["outputs"]
    table = np.asarray(arrays[spec["values"]])
    result: list[Column] = []
    start = 0
    for column, categories in zip(columns, spec["categories"], strict=True):
        count = len(categories)
        number = looked_up(column, categories, range(count), count, np.int64, graph)
        values = table[start : start + (count + 1) * outputs].reshape(count + 1, outputs)
        start += values.size
        row = graph.add("Squeeze", number, graph.constant([1], np.int64))
        result += graph.columns(graph.add("Gather", graph.constant(values), row, axis=0), outputs)
    return result


KINDS = {"one-hot": _one_hot, "ordinal": _ordinal, "lookup": _lookup}
