"""Emits naive Bayes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.compiler.onnx.graph import Graph

__all__ = ["KINDS"]


def _gaussian(spec: dict[str, Any], matrix: str, arrays: Sequence[Any], graph: Graph) -> str:
    prior, norm = (np.asarray(arrays[spec[name]]) for name in ("prior", "norm"))
    means, variances = (
        np.asarray(arrays[spec[name]]).reshape(len(prior), -1) for name in ("mean", "variance")
    )
    outputs = []
    for k, (mean, variance) in enumerate(zip(means, variances, strict=True)):
        apart = graph.add("Sub", matrix, graph.constant([mean]))
        terms = graph.add("Div", graph.add("Mul", apart, apart), graph.constant([variance]))
        half = graph.do("Mul", graph.reduce("ReduceSum", terms), 0.5)
        outputs.append(graph.do("Add", graph.do("Sub", float(norm[k]), half), float(prior[k])))
    result = graph.add("Concat", *outputs, axis=1)
    graph.columns(result, len(prior))
    return result


KINDS = {"gaussian": _gaussian}
