"""Emits the weights of counts. What cuts a text into tokens, or hashes one, no standard operator does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Column, Graph

__all__ = ["KINDS"]


def _weigh(spec: dict[str, Any], columns: list[Column], arrays: Sequence[Any], graph: Graph) -> list[Column]:
    counts = graph.matrix(columns)
    if spec["sublinear"]:
        logs = graph.do("Add", graph.add("Log", counts), 1.0)
        counts = graph.where(graph.do("Equal", counts, 0.0), counts, logs)
    if spec["idf"] is not None:
        counts = graph.add("Mul", counts, graph.constant([np.asarray(arrays[spec["idf"]])]))
    if spec["norm"] is not None and columns:
        sizes = graph.add("Mul", counts, counts) if spec["norm"] == "l2" else graph.add("Abs", counts)
        length = graph.reduce("ReduceSum", sizes)
        length = graph.add("Sqrt", length) if spec["norm"] == "l2" else length
        length = graph.where(graph.do("Equal", length, 0.0), 1.0, length)
        counts = graph.add("Div", counts, length)
    return graph.columns(counts, len(columns))


KINDS = {"weigh": _weigh}
