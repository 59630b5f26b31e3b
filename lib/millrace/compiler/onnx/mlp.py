"""Emits neural networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Graph
from millrace.compiler.onnx.links import expit

__all__ = ["KINDS"]


def _mlp(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    last = len(spec["layers"]) - 1
    for number, layer in enumerate(spec["layers"]):
        intercept = np.asarray(arrays[layer["intercept"]])
        coef = np.asarray(arrays[layer["coef"]]).reshape(len(intercept), -1)
        sums = graph.add("MatMul", matrix, graph.constant(coef.T))
        matrix = graph.add("Add", sums, graph.constant([intercept]))
        if number < last:
            matrix = _activated(spec["activation"], matrix, graph)
        graph.columns(matrix, len(intercept))
    return matrix


def _activated(name: str, matrix: str, graph: Graph) -> str:
    if name == "relu":
        return graph.where(graph.do("Less", matrix, 0.0), 0.0, matrix)
    if name == "tanh":
        return graph.add("Tanh", matrix)
    return expit(matrix, graph) if name == "logistic" else matrix


KINDS = {"mlp": _mlp}
