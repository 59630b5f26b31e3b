"""Compiles nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from millrace.compiler.common import Arrays, Node, narrow, not_covered

__all__ = ["ESTIMATORS"]


def _neighbors(estimator: Any, arrays: Arrays) -> Node:
    name = type(estimator).__name__
    classes = len(estimator.classes_) if hasattr(estimator, "classes_") else 0
    if estimator._fit_method != "kd_tree":
        raise not_covered(
            f"{name} that searches by {estimator._fit_method!r}, where rounding decides between points,",
            'Set algorithm="kd_tree".',
        )
    if estimator.effective_metric_ not in ("euclidean", "manhattan", "chebyshev"):
        raise not_covered(f"{name}(metric={estimator.effective_metric_!r}, p={estimator.p!r})")
    if estimator.metric_params is not None:
        raise not_covered(f"{name}(metric_params={estimator.metric_params!r:.60})")
    if estimator.weights not in ("uniform", "distance", None):
        raise not_covered(f"{name}(weights={estimator.weights!r:.60})")
    targets = np.asarray(estimator._y)
    if targets.ndim > 1 and targets.shape[1] > 1:
        raise not_covered(f"{name} with several targets")
    data, order, nodes, bounds = estimator._tree.get_arrays()
    targets = targets.ravel()[order]
    leaf = nodes["is_leaf"] == 1
    return {
        "kind": "neighbors",
        "points": arrays.floats(np.asarray(data)[order]),
        "targets": arrays.add(narrow(targets)) if classes else arrays.floats(targets),
        "start": arrays.add(narrow(np.where(leaf, nodes["idx_start"], 0))),
        "end": arrays.add(narrow(np.where(leaf, nodes["idx_end"], 0))),
        "low": arrays.floats(bounds[0]),
        "high": arrays.floats(bounds[1]),
        "classes": classes,
        "neighbors": int(estimator.n_neighbors),
        "metric": estimator.effective_metric_,
        "weights": estimator.weights or "uniform",
        "link": "probabilities" if classes else "identity",
    }


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    "KNeighborsClassifier": _neighbors,
    "KNeighborsRegressor": _neighbors,
}
