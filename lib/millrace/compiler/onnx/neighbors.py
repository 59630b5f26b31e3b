"""Emits nearest neighbours.

Distances are added in the plan's order, so that they are the same to the last bit. Of several points that are
equally far the plan asks those that its walk through the tree leaves in its heap, the graph those that stand
first: :func:`millrace.compiler.onnx.check` tells whether that decides anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Graph

__all__ = ["KINDS"]


def _neighbors(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    classes, count = spec["classes"], spec["neighbors"]
    targets = np.asarray(arrays[spec["targets"]])
    points = np.asarray(arrays[spec["points"]]).reshape(len(targets), -1)
    total = graph.repeated(np.zeros(len(targets)))
    for place, column in enumerate(points.T):
        value = graph.add("Gather", matrix, graph.constant([place], np.int64), axis=1)
        apart = graph.add("Sub", value, graph.constant([column]))
        if spec["metric"] == "euclidean":
            total = graph.add("Add", total, graph.add("Mul", apart, apart))
        else:
            step = "Add" if spec["metric"] == "manhattan" else "Max"
            total = graph.add(step, total, graph.add("Abs", apart))
    near, chosen = graph.several(
        "TopK", total, graph.constant([count], np.int64), outputs=2, axis=1, largest=0, sorted=1
    )
    # Points that are infinitely far are no neighbours: the plan's heap has the first one in their place.
    chosen = graph.add("Where", graph.add("IsInf", near), graph.constant([[0]], np.int64), chosen)
    weights = graph.repeated(np.ones(count)) if spec["weights"] == "uniform" else _weights(spec, near, graph)
    of_point = np.eye(classes)[targets] if classes else targets[:, None]
    # (rows, neighbours, outputs) times (rows, neighbours, 1)
    answers = graph.add("Gather", graph.constant(of_point), chosen, axis=0)
    wide = graph.add("Unsqueeze", weights, graph.constant([2], np.int64))
    sums = graph.reduce("ReduceSum", graph.add("Mul", answers, wide), keepdims=False)
    all_weights = graph.reduce("ReduceSum", weights)
    result = graph.add("Div", sums, all_weights)
    if classes:  # nobody is near enough to weigh anything
        result = graph.where(graph.do("Equal", all_weights, 0.0), 0.0, result)
    graph.columns(result, classes or 1)
    return result


def _weights(spec: dict[str, Any], near: str, graph: Graph) -> str:
    """Return one over the distances; where some are 0, 1 for these and 0 for the others."""
    distances = graph.add("Sqrt", near) if spec["metric"] == "euclidean" else near
    same = graph.cast(graph.do("Equal", distances, 0.0))
    any_same = graph.do("Greater", graph.reduce("ReduceMax", same), 0.0)
    return graph.where(any_same, same, graph.do("Div", 1.0, distances))


KINDS = {"neighbors": _neighbors}
