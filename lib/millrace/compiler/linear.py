"""Compiles weighted sums, and constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler import estimators as dispatch
from millrace.compiler.common import Arrays, Node, not_covered

__all__ = ["ESTIMATORS", "MARGINS", "linear"]


def linear(coef: Any, intercept: Any, link: str, arrays: Arrays) -> Node:
    """Return the node of weighted sums; ``coef`` is outputs x inputs, or one output's weights."""
    rows = np.atleast_2d(np.asarray(coef, dtype=np.float64))
    bias = np.broadcast_to(np.asarray(intercept, dtype=np.float64).ravel(), (len(rows),))
    return {"kind": "linear", "coef": arrays.floats(rows), "intercept": arrays.floats(bias), "link": link}


def _regression(estimator: Any, arrays: Arrays, link: str = "identity") -> Node:
    if np.ndim(estimator.coef_) != 1 and len(estimator.coef_) != 1:
        raise not_covered(f"{type(estimator).__name__} with several targets")
    return linear(estimator.coef_, estimator.intercept_, link, arrays)


def _generalized(estimator: Any, arrays: Arrays) -> Node:
    links = {"IdentityLink": "identity", "LogLink": "exp"}
    return _regression(estimator, arrays, links[type(estimator._base_loss.link).__name__])


def _consensus(estimator: Any, arrays: Arrays) -> Node:
    return dispatch.compile_estimator(estimator.estimator_, arrays)


def _margin(estimator: Any, arrays: Arrays) -> Node:
    return linear(estimator.coef_, estimator.intercept_, "identity", arrays)


def _logistic(estimator: Any, arrays: Arrays) -> Node:
    link = "logistic" if len(estimator.coef_) == 1 else "softmax"
    return linear(estimator.coef_, estimator.intercept_, link, arrays)


def _stochastic(estimator: Any, arrays: Arrays) -> Node:
    links = {
        "log_loss": ("logistic", "one-vs-rest"),
        "modified_huber": ("huber", "huber-one-vs-rest"),
    }
    if estimator.loss not in links:
        raise dispatch.without_probabilities(f"SGDClassifier(loss={estimator.loss!r})")
    link = links[estimator.loss][len(estimator.coef_) > 1]
    return linear(estimator.coef_, estimator.intercept_, link, arrays)


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


_SUMS = (
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV"),
    *("Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC"),
    *("OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV"),
    *("BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "QuantileRegressor"),
    *("SGDRegressor", "LinearSVR"),
)
_MARGINS = (
    *("LogisticRegression", "LogisticRegressionCV", "SGDClassifier", "LinearDiscriminantAnalysis"),
    *("LinearSVC", "RidgeClassifier", "RidgeClassifierCV", "Perceptron"),
)

ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    **dict.fromkeys(_SUMS, _regression),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), _generalized),
    "RANSACRegressor": _consensus,
    "LogisticRegression": _logistic,
    "LogisticRegressionCV": _logistic,
    "LinearDiscriminantAnalysis": _logistic,
    "SGDClassifier": _stochastic,
    "DummyClassifier": _dummy_classifier,
    "DummyRegressor": _dummy_regressor,
}
MARGINS: dict[str, Callable[[Any, Arrays], Node]] = dict.fromkeys(_MARGINS, _margin)
