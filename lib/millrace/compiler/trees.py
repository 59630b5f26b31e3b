"""Compiles trees, forests and boosted trees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.compiler.common import Arrays, Node, Step, narrow, not_covered
from millrace.compiler.encoders import compile_steps
from millrace.plan.kinds import MASK_BITS

__all__ = ["ESTIMATORS", "MARGINS", "TREES", "forest"]

_HGB_LINKS = {
    "IdentityLink": "identity",
    "LogLink": "exp",
    "LogitLink": "logistic",
    "MultinomialLogit": "softmax",
}
_SINGLE_INTEGERS = 1 << 24
"""float32 holds every integer below this."""


def _hist_gradient_boosting(estimator: Any, arrays: Arrays, *, margin: bool = False) -> Node:
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
                cover=nodes["count"],
            )
        )
    spec = _trees(trees, arrays)
    spec["outputs"] = estimator.n_trees_per_iteration_
    spec["baseline"] = arrays.floats(estimator._baseline_prediction)
    spec["masks"] = arrays.add(np.vstack(masks)) if masks else None
    spec["link"] = "identity" if margin else link
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


def _gradient_boosting(estimator: Any, arrays: Arrays, *, margin: bool = False) -> Node:
    from sklearn.ensemble._gb import _init_raw_predictions

    name = type(estimator).__name__
    width, outputs = estimator.n_features_in_, estimator.n_trees_per_iteration_
    baseline = np.zeros(outputs)
    if estimator.init_ != "zero":
        if type(estimator.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
            raise not_covered(f"{name}(init={estimator.init!r:.60})")
        # What it starts from is the same for every row.
        row = np.zeros((1, width), dtype=np.float32)
        classify = hasattr(estimator, "classes_")
        baseline = _init_raw_predictions(row, estimator.init_, estimator._loss, classify)[0]
    tables = [member.tree_ for member in estimator.estimators_.ravel()]
    values = [estimator.learning_rate * table.value[:, 0, 0] for table in tables]
    link = "identity"
    if hasattr(estimator, "classes_") and not margin:
        link = "softmax" if outputs > 1 else "logistic"
        if type(estimator._loss).__name__ == "ExponentialLoss":
            # Its probability is that of twice the sum, and doubling rounds nothing.
            baseline, values = 2.0 * baseline, [2.0 * value for value in values]
    spec = _of_values(tables, values, arrays, width)
    return spec | {"outputs": outputs, "baseline": arrays.floats(baseline), "link": link}


def _forest(estimator: Any, arrays: Arrays) -> Node:
    classes = len(estimator.classes_) if hasattr(estimator, "classes_") else 0
    return forest(estimator.estimators_, arrays, width=estimator.n_features_in_, classes=classes)


def _single_tree(estimator: Any, arrays: Arrays) -> Node:
    classes = len(estimator.classes_) if hasattr(estimator, "classes_") else 0
    return forest(
        [estimator], arrays, width=estimator.n_features_in_, classes=classes, known=[range(classes)]
    )


def forest(
    members: Sequence[Any],
    arrays: Arrays,
    *,
    width: int,
    classes: int,
    known: Sequence[Sequence[int]] | None = None,
    inputs: Sequence[NDArray[np.int64]] | None = None,
) -> Node:
    """Return the node of the mean of fitted trees.

    Parameters
    ----------
    members : sequence of DecisionTreeClassifier or DecisionTreeRegressor
        The trees.
    arrays : Arrays
        Receives the arrays.
    width, classes : int
        Number of inputs, and of classes; 0 for regression.
    known : sequence, optional
        The classes that each tree knows, as positions among all; without it they are its ``classes_``.
    inputs : sequence of ndarray, optional
        The input of the whole that each of a tree's features is; without it they are the same.
    """
    if any(np.ndim(member.n_classes_ if classes else 0) or member.n_outputs_ != 1 for member in members):
        raise not_covered(f"{type(members[0]).__name__} with several targets")
    tables = [member.tree_ for member in members]
    values: list[NDArray[np.float64]] = []
    for number, table in enumerate(tables):
        if classes:
            codes = np.asarray(known[number] if known else members[number].classes_, dtype=np.int64)
            shares = np.zeros((table.node_count, classes))
            shares[:, codes] = table.value[:, 0, : len(codes)]
            values.append(shares)
        else:
            values.append(table.value[:, 0, 0])
    spec = _of_values(tables, values, arrays, width, inputs)
    return spec | {"mean": True, "link": "probabilities" if classes else "identity"}


def _adaptive_boosting(estimator: Any, arrays: Arrays, *, margin: bool = False) -> Node:
    if not all(type(member).__name__ in TREES for member in estimator.estimators_):
        raise not_covered(f"AdaBoostClassifier over {type(estimator.estimators_[0]).__name__}")
    classes = len(estimator.classes_)
    total = estimator.estimator_weights_.sum()
    values = []
    for member, weight in zip(estimator.estimators_, estimator.estimator_weights_, strict=False):
        # Each tree has one vote: its weight for the class of the leaf, and less than nothing for the others.
        shares = np.zeros((member.tree_.node_count, classes))
        codes = np.searchsorted(estimator.classes_, member.classes_)
        shares[:, codes] = member.tree_.value[:, 0, : len(codes)]
        votes = np.full_like(shares, -1.0 / (classes - 1) * weight)
        votes[np.arange(len(votes)), shares.argmax(axis=1)] = weight
        values.append(votes / total)
    tables = [member.tree_ for member in estimator.estimators_]
    width = estimator.n_features_in_
    if margin:
        values = [2.0 * votes[:, 1] for votes in values] if classes == 2 else values
        return _of_values(tables, values, arrays, width) | {"link": "identity"}
    return _of_values(tables, [v / (classes - 1) for v in values], arrays, width) | {"link": "softmax"}


def _of_values(
    tables: Sequence[Any],
    values: Sequence[NDArray[np.float64]],
    arrays: Arrays,
    width: int,
    inputs: Sequence[NDArray[np.int64]] | None = None,
) -> Node:
    """Return the sum of scikit-learn's trees, whose nodes have one of ``values`` each, or a row of them."""
    several = values[0].ndim == 2
    flat = np.concatenate(values)
    if several:
        # Few rows of values are different ones, so a leaf names one of these.
        at_leaf = np.concatenate([table.children_left == -1 for table in tables])
        unique, number_of = np.unique(flat[at_leaf], axis=0, return_inverse=True)
        flat = np.zeros(len(at_leaf))
        flat[at_leaf] = number_of.ravel()
    trees: list[_Tree] = []
    first = 0
    for number, table in enumerate(tables):
        leaf = table.children_left == -1
        feature = np.where(leaf, 0, table.feature)
        if inputs is not None:
            feature = inputs[number][feature]
        to_left = (table.missing_go_to_left == 1) & ~leaf
        trees.append(
            _Tree(
                left=table.children_left,
                right=table.children_right,
                leaf=leaf,
                feature=feature + np.where(to_left, width, 0),
                number=np.where(leaf, flat[first : first + len(leaf)], table.threshold),
                cover=table.weighted_n_node_samples,
            )
        )
        first += len(leaf)
    spec = _trees(trees, arrays, single=several and len(unique) < _SINGLE_INTEGERS)
    spec["single"] = True
    if several:
        spec |= {"outputs": unique.shape[1], "values": arrays.floats(unique)}
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
        cover: NDArray[Any],
    ) -> None:
        order = _preorder(left, right, leaf)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self.leaf = leaf[order]
        self.feature = np.where(self.leaf, 0, feature[order])
        self.number = number[order]
        self.cover = cover[order]
        self.skip = np.where(self.leaf, 0, place[right[order]] - np.arange(len(order)))


def _preorder(left: NDArray[Any], right: NDArray[Any], leaf: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the nodes in preorder: each left child directly behind its parent."""
    here = np.arange(len(leaf))
    if np.array_equal(left[~leaf], here[~leaf] + 1):
        return here
    # Level by level, as a tree that was grown best first has many nodes and few levels.
    levels = [here[:1]]
    while len(inner := levels[-1][~leaf[levels[-1]]]):
        levels.append(np.concatenate([left[inner], right[inner]]))
    size = np.ones(len(leaf), dtype=np.int64)
    for level in reversed(levels):
        inner = level[~leaf[level]]
        size[inner] += size[left[inner]] + size[right[inner]]
    place = np.zeros(len(leaf), dtype=np.int64)
    for level in levels:
        inner = level[~leaf[level]]
        place[left[inner]] = place[inner] + 1
        place[right[inner]] = place[inner] + 1 + size[left[inner]]
    order = np.empty(len(leaf), dtype=np.int64)
    order[place] = here
    return order


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
        "cover": arrays.add(_exact(_concatenated([tree.cover for tree in trees]))),
    }


def _concatenated(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)


def _exact(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values in the narrowest type that plans hold and that loses nothing."""
    if np.array_equal(values, np.floor(values)) and values.max(initial=0) <= np.iinfo(np.int32).max:
        return narrow(values)
    single = values.astype(np.float32)
    return single if np.array_equal(single, values) else values.astype(np.float64)


def _round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the greatest float32 that is at most each threshold.

    A float32 input is at most the one exactly when it is at most the other, so half the bytes decide alike.
    """
    rounded = thresholds.astype(np.float32)
    above = rounded.astype(np.float64) > thresholds
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded


TREES = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
"""Classes of single trees, which make a forest of one."""

ESTIMATORS: dict[str, Callable[[Any, Arrays], Node]] = {
    **dict.fromkeys(TREES, _single_tree),
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "AdaBoostClassifier": _adaptive_boosting,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
}
MARGINS: dict[str, Callable[[Any, Arrays], Node]] = {
    "AdaBoostClassifier": partial(_adaptive_boosting, margin=True),
    "GradientBoostingClassifier": partial(_gradient_boosting, margin=True),
    "HistGradientBoostingClassifier": partial(_hist_gradient_boosting, margin=True),
}
