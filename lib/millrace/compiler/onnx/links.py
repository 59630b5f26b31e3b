"""Emits what becomes of raw outputs."""

from __future__ import annotations

from collections.abc import Callable

from millrace.compiler.onnx.graph import Graph

__all__ = ["LINKS"]


def _identity(raw: str, graph: Graph) -> str:
    return raw


def _exponential(raw: str, graph: Graph) -> str:
    return graph.add("Exp", raw)


def _logistic(raw: str, graph: Graph) -> str:
    power = graph.add("Exp", graph.add("Neg", graph.add("Abs", raw)))
    upper = graph.where(graph.do("GreaterOrEqual", raw, 0.0), 1.0, power)
    probability = graph.add("Div", upper, graph.do("Add", power, 1.0))
    return graph.add("Concat", graph.do("Sub", 1.0, probability), probability, axis=1)


def _softmax(raw: str, graph: Graph) -> str:
    power = graph.add("Exp", graph.add("Sub", raw, graph.reduce("ReduceMax", raw)))
    return graph.add("Div", power, graph.reduce("ReduceSum", power))


LINKS: dict[str, Callable[[str, Graph], str]] = {
    "identity": _identity,
    "exp": _exponential,
    "logistic": _logistic,
    "softmax": _softmax,
    "probabilities": _identity,
}
