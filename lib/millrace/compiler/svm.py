"""Compiles support vector machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.compiler.common import Arrays, Node, not_covered
from millrace.compiler.linear import linear

__all__ = ["ESTIMATORS", "MARGINS"]


def _regression(estimator: Any, arrays: Arrays) -> Node:
    return _machine(estimator, arrays, None)


def _margin(estimator: Any, arrays: Arrays) -> Node:
    from millrace.compiler.combine import predictions

    classes = len(estimator.classes_)
    if classes == 2:
        return _machine(estimator, arrays, None)
    if estimator.decision_function_shape != "ovr":
        raise not_covered(
            f"{type(estimator).__name__}(decision_function_shape={estimator.decision_function_shape!r})"
        )
    pairs = _machine(estimator, arrays, [int(count) for count in estimator.n_support_])
    return {"steps": [predictions([pairs])], "kind": "votes", "classes": classes, "link": "identity"}


def _machine(estimator: Any, arrays: Arrays, counts: list[int] | None) -> Node:
    if estimator.kernel == "linear":
        return linear(_dense(estimator.coef_), estimator.intercept_, "identity", arrays)
    if estimator.kernel not in ("rbf", "poly", "sigmoid"):
        raise not_covered(f"{type(estimator).__name__}(kernel={estimator.kernel!r:.60})")
    return {
        "kind": "kernel",
        "kernel": estimator.kernel,
        "gamma": float(estimator._gamma),
        "coef0": float(estimator.coef0),
        "degree": int(estimator.degree),
        "vectors": arrays.floats(_dense(estimator.support_vectors_)),
        "coef": arrays.floats(_dense(estimator.dual_coef_)),
        "intercept": arrays.floats(estimator.intercept_),
        "counts": counts,
        "link": "identity",
    }


def _dense(matrix: Any) -> Any:
    """Return what was fitted to a sparse matrix as it would be of a dense one: the numbers are the same."""
    return matrix.toarray() if hasattr(matrix, "toarray") else matrix


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {"SVR": _regression, "NuSVR": _regression}
MARGINS: dict[str, Callable[[Any, Arrays], Node]] = {"SVC": _margin, "NuSVC": _margin}
