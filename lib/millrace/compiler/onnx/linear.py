"""Emits weighted sums, and constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Graph

__all__ = ["KINDS"]


def _linear(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    intercept = np.asarray(arrays[spec["intercept"]])
    coef = np.asarray(arrays[spec["coef"]]).reshape(len(intercept), -1)
    result = graph.add("Add", graph.add("MatMul", matrix, graph.constant(coef.T)), graph.constant(intercept))
    graph.columns(result, len(intercept))
    return result


def _constant(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    return graph.repeated(arrays[spec["values"]])


KINDS = {"linear": _linear, "constant": _constant}
