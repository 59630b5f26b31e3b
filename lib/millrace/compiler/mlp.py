"""Compiles neural networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.compiler.common import Arrays, Node, not_covered

__all__ = ["ESTIMATORS"]


def _network(estimator: Any, arrays: Arrays) -> Node:
    name = type(estimator).__name__
    links = {"identity": "identity", "exp": "exp", "logistic": "logistic", "softmax": "softmax"}
    classify = hasattr(estimator, "classes_")
    outputs = estimator.n_outputs_
    if outputs != 1 and (not classify or estimator.out_activation_ != "softmax"):
        raise not_covered(f"{name} with several targets")
    if any(coef.dtype != "float64" for coef in estimator.coefs_):
        raise not_covered(f"{name} fitted in single precision")
    layers = [
        {"coef": arrays.floats(coef.T), "intercept": arrays.floats(intercept)}
        for coef, intercept in zip(estimator.coefs_, estimator.intercepts_, strict=True)
    ]
    link = links[estimator.out_activation_]
    return {"kind": "mlp", "layers": layers, "activation": estimator.activation, "link": link}


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {"MLPClassifier": _network, "MLPRegressor": _network}
