"""Compiles forests and boosted trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.compiler.common import Arrays, Node, Step, narrow, not_covered
from millrace.compiler.encoders import compile_steps
from millrace.plan.kinds import MASK_BITS

__all__ = ["ESTIMATORS"]

_HGB_LINKS = {
    "IdentityLink": "identity",
    "LogLink": "exp",
    "LogitLink": "logistic",
    "MultinomialLogit": "softmax",
}
_SINGLE_INTEGERS = 1 << 24
"""float32 holds every integer below this."""


def _hist_gradient_boosting(estimator: Any, arrays: Arrays) -> Node:
    link = _HGB_LINKS.get(type(estimator._loss.link).__name__)
    if link is None:
        raise not_covered(f"{type(estimator).__name__}(loss={estimator.loss!r})")
    width = estimator.n_features_in_
    known_sets, set_of_feature = estimator._bin_mapper.make_known_categories_bitsets()
    trees: list[_Tree] = []
    masks: list[NDArray[np.uint8]] = []
    for predictor in (tree for iteration in estimator._predictors for tree in iteration):
        nodes = predictor.nodes
        leaf = nodes["is_leaf"] == 1
        feature = nodes["feature_idx"].astype(np.int64)
        to_left = nodes["missing_go_to_left"] == 1
        number = np.where(leaf, nodes["value"], nodes["num_threshold"])
        sets = (nodes["is_categorical"] == 1) & ~leaf
        for node in np.flatnonzero(sets):
            chosen = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]]
            known = known_sets[set_of_feature[feature[node]]]
            number[node] = len(masks)
            masks.append(_mask(chosen, known, bool(to_left[node])))
        section = np.where(sets, 2, np.where(to_left, 1, 0))
        trees.append(
            _Tree(
                left=nodes["left"].astype(np.int64),
                right=nodes["right"].astype(np.int64),
                leaf=leaf,
                feature=feature + section * width,
                number=number,
            )
        )
    spec = _trees(trees, arrays)
    spec["outputs"] = estimator.n_trees_per_iteration_
    spec["baseline"] = arrays.floats(estimator._baseline_prediction)
    spec["masks"] = arrays.add(np.vstack(masks)) if masks else None
    spec["link"] = link
    spec["steps"] = _hgb_steps(estimator, arrays)
    return spec


def _hgb_steps(estimator: Any, arrays: Arrays) -> list[Step]:
    """Return what the estimator does first when it has categories: encode them and put them first."""
    if estimator._preprocessor is None:
        return []
    categorical = estimator.is_categorical_
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    branches: list[dict[str, Any]] = [
        {"inputs": np.flatnonzero(categorical).tolist(), "steps": compile_steps(encoder, arrays)},
        {"inputs": np.flatnonzero(~categorical).tolist(), "steps": []},
    ]
    return [{"kind": "columns", "branches": [branch for branch in branches if branch["inputs"]]}]


def _mask(chosen: NDArray[Any], known: NDArray[Any], missing_left: bool) -> NDArray[np.uint8]:
    """Return the codes that go left, as bits; unknown ones, and 255 for missing, go where missing does."""
    bits: NDArray[np.uint8] = np.asarray(chosen, dtype="<u4").view(np.uint8)
    if missing_left:
        others: NDArray[np.uint8] = ~np.asarray(known, dtype="<u4").view(np.uint8)
        return bits | others
    if bits[-1] >= MASK_BITS // 2:
        raise not_covered(f"HistGradientBoosting with {MASK_BITS} categories in one column")
    return bits


def _forest(estimator: Any, arrays: Arrays) -> Node:
    if estimator.n_outputs_ != 1:
        raise not_covered(f"{type(estimator).__name__} with several targets")
    classify = hasattr(estimator, "classes_")
    width = estimator.n_features_in_
    trees: list[_Tree] = []
    rows: list[NDArray[np.float64]] = []
    leaves = 0
    for member in estimator.estimators_:
        table = member.tree_
        leaf = table.children_left == -1
        number = np.where(leaf, 0.0, table.threshold)
        values = table.value[leaf, 0, :]
        if classify:
            number[leaf] = np.arange(leaves, leaves + len(values))
            leaves += len(values)
            rows.append(values)
        else:
            number[leaf] = values[:, 0]
        feature = np.where(leaf, 0, table.feature)
        to_left = (table.missing_go_to_left == 1) & ~leaf
        trees.append(
            _Tree(
                left=table.children_left,
                right=table.children_right,
                leaf=leaf,
                feature=feature + np.where(to_left, width, 0),
                number=number,
            )
        )
    if not classify:
        spec = _trees(trees, arrays)
        return spec | {"mean": True, "single": True, "link": "identity"}
    unique, number_of = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
    for tree in trees:
        tree.number[tree.leaf] = number_of.ravel()[tree.number[tree.leaf].astype(np.int64)]
    spec = _trees(trees, arrays, single=len(unique) < _SINGLE_INTEGERS)
    spec |= {"mean": True, "single": True, "link": "probabilities"}
    spec["outputs"] = unique.shape[1]
    spec["values"] = arrays.floats(unique)
    return spec


class _Tree:
    """Nodes of one tree; ``left`` and ``right`` are indices within it."""

    def __init__(
        self,
        *,
        left: NDArray[Any],
        right: NDArray[Any],
        leaf: NDArray[np.bool_],
        feature: NDArray[Any],
        number: NDArray[np.float64],
    ) -> None:
        order = _preorder(left, right, leaf)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self.leaf = leaf[order]
        self.feature = np.where(self.leaf, 0, feature[order])
        self.number = number[order]
        self.skip = np.where(self.leaf, 0, place[right[order]] - np.arange(len(order)))


def _preorder(left: NDArray[Any], right: NDArray[Any], leaf: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the nodes in preorder: each left child directly behind its parent."""
    here = np.arange(len(leaf))
    if np.array_equal(left[~leaf], here[~leaf] + 1):
        return here
    order, waiting = [], [0]
    lefts, rights, ends = left.tolist(), right.tolist(), leaf.tolist()
    while waiting:
        node = waiting.pop()
        order.append(node)
        if not ends[node]:
            waiting += (rights[node], lefts[node])
    return np.asarray(order, dtype=np.int64)


def _trees(trees: list[_Tree], arrays: Arrays, *, single: bool = False) -> dict[str, Any]:
    sizes = [len(tree.skip) for tree in trees]
    roots = np.cumsum([0, *sizes])[:-1]
    number = _concatenated([tree.number for tree in trees])
    return {
        "kind": "trees",
        "roots": arrays.add(roots.astype(np.int32)),
        "feature": arrays.add(narrow(_concatenated([tree.feature for tree in trees]))),
        "skip": arrays.add(narrow(_concatenated([tree.skip for tree in trees]))),
        "number": arrays.add(_round_down(number)) if single else arrays.floats(number),
        "outputs": 1,
        "values": None,
        "baseline": None,
        "masks": None,
        "mean": False,
        "single": False,
    }


def _concatenated(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)


def _round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the greatest float32 that is at most each threshold.

    A float32 input is at most the one exactly when it is at most the other, so half the bytes decide alike.
    """
    rounded = thresholds.astype(np.float32)
    above = rounded.astype(np.float64) > thresholds
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
}
