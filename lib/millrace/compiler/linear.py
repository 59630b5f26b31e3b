"""Compiles weighted sums, and constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.compiler.common import Arrays, Node, not_covered

__all__ = ["ESTIMATORS", "MARGINS"]


def _logistic_regression(estimator: Any, arrays: Arrays) -> Node:
    link = "logistic" if len(estimator.coef_) == 1 else "softmax"
    return _linear(estimator.coef_, estimator.intercept_, link, arrays)


def _margin(estimator: Any, arrays: Arrays) -> Node:
    return _linear(np.atleast_2d(estimator.coef_), estimator.intercept_, "identity", arrays)


def _ridge(estimator: Any, arrays: Arrays) -> Node:
    coef = np.atleast_2d(estimator.coef_)
    if len(coef) != 1:
        raise not_covered("Ridge with several targets")
    return _linear(coef, estimator.intercept_, "identity", arrays)


def _linear(coef: NDArray[Any], intercept: Any, link: str, arrays: Arrays) -> dict[str, Any]:
    bias = np.broadcast_to(np.asarray(intercept, dtype=np.float64), (len(coef),))
    return {"kind": "linear", "coef": arrays.floats(coef), "intercept": arrays.floats(bias), "link": link}


def _dummy_classifier(estimator: Any, arrays: Arrays) -> Node:
    prior = np.asarray(estimator.class_prior_, dtype=np.float64)
    if estimator.strategy == "prior":
        values = prior
    elif estimator.strategy == "most_frequent":
        values = np.eye(len(prior))[prior.argmax()]
    elif estimator.strategy == "constant":
        values = (estimator.classes_ == estimator.constant).astype(np.float64)
    else:
        raise not_covered(f"DummyClassifier(strategy={estimator.strategy!r})")
    return {"kind": "constant", "values": arrays.floats(values), "link": "probabilities"}


def _dummy_regressor(estimator: Any, arrays: Arrays) -> Node:
    return {"kind": "constant", "values": arrays.floats(estimator.constant_), "link": "identity"}


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    "LogisticRegression": _logistic_regression,
    "Ridge": _ridge,
    "DummyClassifier": _dummy_classifier,
    "DummyRegressor": _dummy_regressor,
}
MARGINS: dict[str, Callable[[Any, Arrays], Node]] = {
    "LogisticRegression": _margin,
}
