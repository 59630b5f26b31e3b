"""Compiles naive Bayes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, Node, not_covered
from millrace.compiler.linear import linear

__all__ = ["ESTIMATORS"]


def _gaussian(estimator: Any, arrays: Arrays) -> Node:
    variance = estimator.var_
    if not (variance > 0.0).all():
        raise not_covered("GaussianNB with an input that does not vary")
    return {
        "kind": "gaussian",
        "prior": arrays.floats(np.log(estimator.class_prior_)),
        "norm": arrays.floats([-0.5 * np.sum(np.log(2.0 * np.pi * row)) for row in variance]),
        "mean": arrays.floats(estimator.theta_),
        "variance": arrays.floats(variance),
        "link": "posterior",
    }


def _multinomial(estimator: Any, arrays: Arrays) -> Node:
    return linear(estimator.feature_log_prob_, estimator.class_log_prior_, "posterior", arrays)


def _complement(estimator: Any, arrays: Arrays) -> Node:
    prior = estimator.class_log_prior_ if len(estimator.classes_) == 1 else 0.0
    return linear(estimator.feature_log_prob_, prior, "posterior", arrays)


def _bernoulli(estimator: Any, arrays: Arrays) -> Node:
    from sklearn.preprocessing import Binarizer

    from millrace.compiler.encoders import compile_steps

    absent = np.log(1.0 - np.exp(estimator.feature_log_prob_))
    prior = estimator.class_log_prior_ + absent.sum(axis=1)
    node = linear(estimator.feature_log_prob_ - absent, prior, "posterior", arrays)
    if estimator.binarize is None:
        return node
    row = np.zeros((1, estimator.n_features_in_))
    return {**node, "steps": compile_steps(Binarizer(threshold=estimator.binarize).fit(row), arrays)}


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    "GaussianNB": _gaussian,
    "MultinomialNB": _multinomial,
    "ComplementNB": _complement,
    "BernoulliNB": _bernoulli,
}
