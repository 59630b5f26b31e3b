"""Compiles estimators that are made of estimators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from millrace.compiler import estimators as dispatch
from millrace.compiler.common import Arrays, Node, Step, expect, not_covered

__all__ = ["ESTIMATORS"]


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
    last = dispatch.compile_estimator(estimator.final_estimator_, arrays)
    step = predictions(members, take, inputs=bool(estimator.passthrough))
    return {**last, "steps": [step, *last.get("steps", [])]}


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    "VotingClassifier": _voting_classifier,
    "VotingRegressor": _voting_regressor,
    "StackingClassifier": _stacking,
    "StackingRegressor": _stacking,
}
