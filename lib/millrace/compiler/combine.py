"""Compiles estimators that are made of estimators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from millrace.compiler import estimators as dispatch
from millrace.compiler import trees
from millrace.compiler.common import Arrays, Node, Step, expect, not_covered

__all__ = ["ESTIMATORS", "MARGINS", "mean", "predictions"]


def predictions(
    members: Sequence[Node], take: Sequence[list[int] | None] | None = None, *, inputs: bool = False
) -> Step:
    """Return the encoder that puts the members' outputs side by side."""
    return {
        "kind": "predictions",
        "members": list(members),
        "take": [None] * len(members) if take is None else list(take),
        "inputs": inputs,
    }


def mean(members: Sequence[Node], outputs: int, link: str, weights: Sequence[float] | None = None) -> Node:
    """Return the node that is the weighted mean of its members."""
    return {
        "steps": [predictions(members)],
        "kind": "mean",
        "outputs": outputs,
        "weights": weights,
        "link": link,
    }


def _voting_classifier(estimator: Any, arrays: Arrays) -> Node:
    expect(estimator, voting=("soft",))
    members = [dispatch.compile_estimator(member, arrays) for member in estimator.estimators_]
    return mean(members, len(estimator.classes_), "probabilities", _weights(estimator))


def _voting_regressor(estimator: Any, arrays: Arrays) -> Node:
    members = [dispatch.compile_estimator(member, arrays) for member in estimator.estimators_]
    return mean(members, 1, "identity", _weights(estimator))


def _weights(estimator: Any) -> list[float] | None:
    weights = estimator._weights_not_none
    return None if weights is None else [float(weight) for weight in weights]


def _stacking(estimator: Any, arrays: Arrays) -> Node:
    return _stacked(estimator, arrays, dispatch.compile_estimator)


def _stacking_margin(estimator: Any, arrays: Arrays) -> Node:
    return _stacked(estimator, arrays, dispatch.compile_margin)


def _stacked(estimator: Any, arrays: Arrays, make_last: Callable[[Any, Arrays], Node]) -> Node:
    members: list[Node] = []
    take: list[list[int] | None] = []
    pair = len(getattr(estimator, "classes_", ())) == 2
    for member, method in zip(estimator.estimators_, estimator.stack_method_, strict=True):
        if method == "predict" and hasattr(member, "classes_"):
            raise not_covered(f"{type(estimator).__name__} over labels that {type(member).__name__} predicts")
        make = dispatch.compile_margin if method == "decision_function" else dispatch.compile_estimator
        members.append(make(member, arrays))
        # Of two probabilities the first says nothing new, and scikit-learn leaves it out.
        take.append([1] if pair and method == "predict_proba" else None)
    step = predictions(members, take, inputs=bool(estimator.passthrough))
    last = make_last(estimator.final_estimator_, arrays)
    return {**last, "steps": [step, *last.get("steps", [])]}


def _calibrated(estimator: Any, arrays: Arrays) -> Node:
    outputs = len(estimator.classes_)
    members = [_calibrated_once(member, outputs, arrays) for member in estimator.calibrated_classifiers_]
    return members[0] if len(members) == 1 else mean(members, outputs, "probabilities")


def _calibrated_once(pair: Any, outputs: int, arrays: Arrays) -> Node:
    if len(pair.estimator.classes_) != outputs:
        raise not_covered("CalibratedClassifierCV with a fold that lacks a class")
    margin = hasattr(pair.estimator, "decision_function")
    make = dispatch.compile_margin if margin else dispatch.compile_estimator
    member = make(pair.estimator, arrays)
    if pair.method == "temperature":
        beta = float(pair.calibrators[0].beta_)
        return {
            "steps": [predictions([member])],
            "kind": "temperature",
            "beta": beta,
            "log": not margin,
            "link": "softmax",
        }
    step = predictions([member], [[1] if outputs == 2 and not margin else None])
    if pair.method == "sigmoid":
        return {
            "steps": [step],
            "kind": "platt",
            "a": arrays.floats([calibrator.a_ for calibrator in pair.calibrators]),
            "b": arrays.floats([calibrator.b_ for calibrator in pair.calibrators]),
            "link": "logistic" if outputs == 2 else "one-vs-rest",
        }
    x = [calibrator.X_thresholds_ for calibrator in pair.calibrators]
    if any(points.dtype != np.float64 for points in x):
        raise not_covered("CalibratedClassifierCV over predictions in single precision")
    return {
        "steps": [step],
        "kind": "isotonic",
        "sizes": [len(points) for points in x],
        "x": arrays.floats(np.concatenate(x)),
        "y": arrays.floats(np.concatenate([calibrator.y_thresholds_ for calibrator in pair.calibrators])),
        "link": "pair" if outputs == 2 else "normalize",
    }


def _one_vs_rest(estimator: Any, arrays: Arrays) -> Node:
    if estimator.multilabel_:
        raise not_covered("OneVsRestClassifier with several labels a row")
    members = [dispatch.compile_estimator(member, arrays) for member in estimator.estimators_]
    if len(members) == 1:
        return members[0]
    step = predictions(members, [[1]] * len(members))
    return {"steps": [step], "kind": "inputs", "link": "shares"}


def _one_vs_rest_margin(estimator: Any, arrays: Arrays) -> Node:
    if estimator.multilabel_:
        raise not_covered("OneVsRestClassifier with several labels a row")
    members = [dispatch.compile_margin(member, arrays) for member in estimator.estimators_]
    if len(members) == 1:
        return members[0]
    return {"steps": [predictions(members)], "kind": "inputs", "link": "identity"}


def _bagging(estimator: Any, arrays: Arrays) -> Node:
    classes = len(getattr(estimator, "classes_", ()))
    if all(type(member).__name__ in trees.TREES for member in estimator.estimators_):
        return trees.forest(
            estimator.estimators_,
            arrays,
            width=estimator.n_features_in_,
            classes=classes,
            inputs=estimator.estimators_features_,
        )
    members: list[Node] = []
    take: list[list[int] | None] = []
    for member, features in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        if classes and not hasattr(member, "predict_proba"):
            raise not_covered(f"BaggingClassifier over {type(member).__name__}, which has no probabilities,")
        node = dispatch.compile_estimator(member, arrays)
        inputs = [int(feature) for feature in features]
        columns: Step = {"kind": "columns", "branches": [{"inputs": inputs, "steps": []}]}
        members.append({**node, "steps": [columns, *node.get("steps", [])]})
        # A sample of the rows may lack a class: its probability is 0.
        known = [int(code) for code in member.classes_] if classes else []
        whole = len(known) == classes
        take.append(None if whole else [known.index(c) if c in known else -1 for c in range(classes)])
    return {
        "steps": [predictions(members, take)],
        "kind": "mean",
        "outputs": classes or 1,
        "weights": None,
        "link": "probabilities" if classes else "identity",
    }


_INVERSES: dict[Any, tuple[Any, str]] = {
    np.log1p: (np.expm1, "expm1"),
    np.log: (np.exp, "exp"),
    np.sqrt: (np.square, "square"),
}
"""By a target's function: its inverse, and the link that computes it."""


def _transformed_target(estimator: Any, arrays: Arrays) -> Node:
    node = dispatch.compile_estimator(estimator.regressor_, arrays)
    if estimator.transformer is None and estimator.func is None and estimator.inverse_func is None:
        return node
    inverse, link = _INVERSES.get(estimator.func, (None, ""))
    if estimator.transformer is not None or inverse is None or inverse is not estimator.inverse_func:
        raise not_covered(
            "TransformedTargetRegressor with another transformation than log1p and expm1, log and exp, or "
            "sqrt and square of numpy"
        )
    if node["link"] == "identity":
        return {**node, "link": link}
    return {"steps": [predictions([node])], "kind": "inputs", "link": link}


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    "VotingClassifier": _voting_classifier,
    "VotingRegressor": _voting_regressor,
    "StackingClassifier": _stacking,
    "StackingRegressor": _stacking,
    "CalibratedClassifierCV": _calibrated,
    "OneVsRestClassifier": _one_vs_rest,
    "BaggingClassifier": _bagging,
    "BaggingRegressor": _bagging,
    "TransformedTargetRegressor": _transformed_target,
}
MARGINS: dict[str, Callable[[Any, Arrays], Node]] = {
    "StackingClassifier": _stacking_margin,
    "OneVsRestClassifier": _one_vs_rest_margin,
}
