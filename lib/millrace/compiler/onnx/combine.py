"""Emits estimators inside of estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.compiler.onnx.graph import Column, Graph
from millrace.compiler.onnx.model import node

__all__ = ["KINDS"]


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


KINDS = {"predictions": _predictions, "inputs": _inputs, "mean": _mean}
