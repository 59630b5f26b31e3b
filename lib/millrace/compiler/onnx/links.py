"""Emits what becomes of raw outputs."""

from __future__ import annotations

from collections.abc import Callable

from millrace.compiler.onnx.graph import Graph

__all__ = ["LINKS", "expit"]


def _identity(raw: str, graph: Graph) -> str:
    return raw


def _exponential(raw: str, graph: Graph) -> str:
    return graph.add("Exp", raw)


def _exponential_less_one(raw: str, graph: Graph) -> str:
    return graph.do("Sub", graph.add("Exp", raw), 1.0)


def _square(raw: str, graph: Graph) -> str:
    return graph.add("Mul", raw, raw)


def expit(raw: str, graph: Graph) -> str:
    """Emit 1 / (1 + e^-x), which no x overflows."""
    power = graph.add("Exp", graph.add("Neg", graph.add("Abs", raw)))
    upper = graph.where(graph.do("GreaterOrEqual", raw, 0.0), 1.0, power)
    return graph.add("Div", upper, graph.do("Add", power, 1.0))


def _logistic(raw: str, graph: Graph) -> str:
    return _pair(expit(raw, graph), graph)


def _pair(raw: str, graph: Graph) -> str:
    return graph.add("Concat", graph.do("Sub", 1.0, raw), raw, axis=1)


def _half(raw: str, graph: Graph) -> str:
    clipped = graph.do("Max", graph.do("Min", raw, 1.0), -1.0)
    return graph.do("Div", graph.do("Add", clipped, 1.0), 2.0)


def _huber(raw: str, graph: Graph) -> str:
    return _pair(_half(raw, graph), graph)


def _shares(raw: str, graph: Graph) -> str:
    total = graph.reduce("ReduceSum", raw)
    return graph.add("Div", raw, graph.where(graph.do("Equal", total, 0.0), 1.0, total))


def _normalize(raw: str, graph: Graph) -> str:
    none = graph.do("Equal", graph.reduce("ReduceSum", raw), 0.0)
    return _shares(graph.where(none, 1.0, raw), graph)


def _one_vs_rest(raw: str, graph: Graph) -> str:
    return _normalize(expit(raw, graph), graph)


def _huber_one_vs_rest(raw: str, graph: Graph) -> str:
    return _normalize(_half(raw, graph), graph)


def _softmax(raw: str, graph: Graph) -> str:
    power = graph.add("Exp", graph.add("Sub", raw, graph.reduce("ReduceMax", raw)))
    return graph.add("Div", power, graph.reduce("ReduceSum", power))


LINKS: dict[str, Callable[[str, Graph], str]] = {
    "identity": _identity,
    "exp": _exponential,
    "expm1": _exponential_less_one,
    "square": _square,
    "probabilities": _identity,
    "logistic": _logistic,
    "softmax": _softmax,
    "posterior": _softmax,
    "pair": _pair,
    "normalize": _normalize,
    "shares": _shares,
    "one-vs-rest": _one_vs_rest,
    "huber": _huber,
    "huber-one-vs-rest": _huber_one_vs_rest,
}
