"""Emits support vector machines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Graph

__all__ = ["KINDS"]


def _kernel(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    counts, intercept = spec["counts"], np.asarray(arrays[spec["intercept"]])
    coef = np.asarray(arrays[spec["coef"]]).reshape(1 if counts is None else len(counts) - 1, -1)
    if counts is not None:
        of = np.split(np.arange(coef.shape[1]), np.cumsum(counts)[:-1])
        pairs = np.zeros((len(intercept), coef.shape[1]))
        for row, (i, j) in zip(pairs, combinations(range(len(counts)), 2), strict=True):
            row[of[i]], row[of[j]] = coef[j - 1, of[i]], coef[i, of[j]]
        coef = pairs
    vectors = np.asarray(arrays[spec["vectors"]]).reshape(coef.shape[1], -1)
    values = _values(spec, matrix, vectors, graph)
    sums = graph.add("MatMul", values, graph.constant(coef.T))
    result = graph.add("Add", sums, graph.constant([intercept]))
    graph.columns(result, len(intercept))
    return result


def _values(spec: dict[str, Any], matrix: str, vectors: Any, graph: Graph) -> str:
    """Return the kernel of each row and vector."""
    if spec["kernel"] == "rbf":
        total = graph.repeated(np.zeros(len(vectors)))
        # One input after the other: rows x vectors x inputs at once would be too much, and the short cut
        # |x|^2 + |v|^2 - 2 x.v loses the digits that a small distance consists of.
        for column, of_vectors in zip(graph.columns(matrix, vectors.shape[1]), vectors.T, strict=True):
            apart = graph.add("Sub", graph.matrix([column]), graph.constant([of_vectors]))
            total = graph.add("Add", total, graph.add("Mul", apart, apart))
        return graph.add("Exp", graph.do("Mul", total, -float(spec["gamma"])))
    products = graph.add("MatMul", matrix, graph.constant(vectors.T))
    base = graph.do("Add", graph.do("Mul", products, float(spec["gamma"])), float(spec["coef0"]))
    if spec["kernel"] == "sigmoid":
        return graph.add("Tanh", base)
    values, times = graph.repeated(np.ones(len(vectors))), spec["degree"]
    while times:
        if times % 2:
            values = graph.add("Mul", values, base)
        base = graph.add("Mul", base, base)
        times //= 2
    return values


def _votes(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    pairs = list(combinations(range(spec["classes"]), 2))
    first, second = (np.eye(spec["classes"])[[pair[side] for pair in pairs]] for side in (0, 1))
    lost = graph.cast(graph.do("Less", matrix, 0.0))
    won = graph.add("MatMul", graph.do("Sub", 1.0, lost), graph.constant(first))
    votes = graph.add("Add", won, graph.add("MatMul", lost, graph.constant(second)))
    sums = graph.add("MatMul", matrix, graph.constant(first - second))
    scale = graph.do("Mul", graph.do("Add", graph.add("Abs", sums), 1.0), 3.0)
    result = graph.add("Add", votes, graph.add("Div", sums, scale))
    graph.columns(result, spec["classes"])
    return result


KINDS = {"kernel": _kernel, "votes": _votes}
