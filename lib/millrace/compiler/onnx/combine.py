"""Emits estimators inside of estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Column, Graph
from millrace.compiler.onnx.model import node
from millrace.compiler.onnx.shapes import between

__all__ = ["KINDS"]

_EPSILON = 1e-12
"""As in :mod:`millrace.scoring.blocks.combine`."""


def _predictions(
    spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph
) -> list[Column]:
    result: list[Column] = []
    for member, take in zip(spec["members"], spec["take"], strict=True):
        outputs = node(member, columns, arrays, graph)
        for number in range(len(outputs)) if take is None else take:
            result += graph.columns(graph.repeated([0.0]), 1) if number < 0 else [outputs[number]]
    return result + columns if spec["inputs"] else result


def _inputs(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    return matrix


def _mean(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    outputs, weights = spec["outputs"], spec["weights"]
    columns = graph.columns(matrix, graph.width(matrix))
    members = len(columns) // outputs
    result = graph.repeated([0.0] * outputs)
    for number in range(members):
        part = graph.matrix(columns[number * outputs : (number + 1) * outputs])
        if weights is not None:
            part = graph.do("Mul", part, float(weights[number]))
        result = graph.add("Add", result, part)
    result = graph.do("Div", result, float(members if weights is None else sum(map(float, weights))))
    graph.columns(result, outputs)
    return result


def _platt(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    a, b = (graph.constant([np.asarray(arrays[spec[name]])]) for name in ("a", "b"))
    result = graph.add("Neg", graph.add("Add", graph.add("Mul", matrix, a), b))
    graph.columns(result, graph.width(matrix))
    return result


def _isotonic(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    ends = np.cumsum(spec["sizes"])[:-1]
    points = (np.split(np.asarray(arrays[spec[name]]), ends) for name in ("x", "y"))
    columns = graph.columns(matrix, len(spec["sizes"]))
    result: list[Column] = []
    for column, x, y in zip(columns, *points, strict=True):
        value = graph.matrix([column])
        if len(x) == 1:
            line = graph.repeated(y)
        else:
            line = between(value, x, y, graph)
            line = graph.where(graph.do("Less", value, float(x[0])), float(y[0]), line)
            line = graph.where(graph.do("Greater", value, float(x[-1])), float(y[-1]), line)
            line = graph.where(graph.add("IsNaN", value), value, line)
        result += graph.columns(line, 1)
    return graph.matrix(result)


def _temperature(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    width = graph.width(matrix)
    if width == 1:
        matrix, width = graph.add("Concat", graph.add("Neg", matrix), matrix, axis=1), 2
    if spec["log"]:
        shifted = graph.do("Add", matrix, _EPSILON)
        positive = graph.do("Greater", matrix, -_EPSILON)
        matrix = graph.where(positive, graph.add("Log", shifted), np.nan)
    result = graph.do("Mul", matrix, float(spec["beta"]))
    graph.columns(result, width)
    return result


KINDS = {
    "predictions": _predictions,
    "inputs": _inputs,
    "mean": _mean,
    "platt": _platt,
    "isotonic": _isotonic,
    "temperature": _temperature,
}
