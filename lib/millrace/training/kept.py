"""Fitted estimators as arrays, and back: boosted trees, forests and networks.

Whoever gets one back has its rows again, and builds it with the same settings: scikit-learn makes of them
what an estimator has beside the arrays, in a fit that is as short as it can be, and the arrays take the place
of what that learned. Answers and all that is learned later are the same to the last bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.ensemble._forest import BaseForest
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer
from sklearn.tree._tree import NODE_DTYPE, Tree

from millrace.training.state import Kept

__all__ = [
    "can_be_kept",
    "keep_fitted",
    "keep_network",
    "keep_trees",
    "restore_fitted",
    "restore_network",
    "restore_trees",
]

_BOOSTED = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_NETWORKS = (MLPClassifier, MLPRegressor)


def can_be_kept(estimator: Any) -> bool:
    """Tell whether an estimator is of a kind that is not fitted again sooner than it is stored."""
    return isinstance(estimator, (*_BOOSTED, BaseForest, *_NETWORKS))


def keep_fitted(estimator: Any, about: Mapping[str, Any]) -> Kept:
    """Return a fitted estimator as arrays.

    Parameters
    ----------
    estimator : BaseEstimator
        Fitted, and of a kind that can be kept.
    about : mapping
        JSON types that go with it.
    """
    if isinstance(estimator, _BOOSTED):
        return keep_trees(estimator, about)
    if isinstance(estimator, BaseForest):
        return _keep_forest(estimator, about)
    return keep_network(estimator, about)


def restore_fitted(estimator: Any, kept: Kept, X: Any, y: NDArray[Any], **data: Any) -> None:
    """Make an unfitted estimator what was kept of one with the same settings.

    Parameters
    ----------
    estimator : BaseEstimator
        Unfitted.
    kept : Kept
        As :func:`keep_fitted` returned it.
    X, y, **data
        What that was fitted to.

    Raises
    ------
    ValueError
        The arrays do not belong together: a tree would lead out of its nodes.
    """
    if isinstance(estimator, _BOOSTED):
        # The bins are found again; one round tells nothing but that.
        most = estimator.max_iter
        estimator.set_params(max_iter=1).fit(X, y, **data).set_params(max_iter=most)
        restore_trees(estimator, kept, X.shape[1])
    elif isinstance(estimator, BaseForest):
        _restore_forest(estimator, kept, X, y)
    else:
        restore_network(estimator, kept, X, y)


# --- boosted trees -------------------------------------------------------------------------------


def keep_trees(estimator: Any, about: Mapping[str, Any]) -> Kept:
    """Return a boosted model as arrays; more rounds may follow."""
    trees = [tree for iteration in estimator._predictors for tree in iteration]
    arrays = {
        "nodes": np.concatenate([tree.nodes for tree in trees]),
        "counts": np.array([[len(t.nodes), len(t.raw_left_cat_bitsets)] for t in trees], dtype=np.int64),
        "binned": np.concatenate([tree.binned_left_cat_bitsets for tree in trees]),
        "raw": np.concatenate([tree.raw_left_cat_bitsets for tree in trees]),
        "baseline": estimator._baseline_prediction,
        "train_score": np.asarray(estimator.train_score_, dtype=np.float64),
        "validation_score": np.asarray(estimator.validation_score_, dtype=np.float64),
    }
    more = {
        "rounds": len(estimator._predictors),
        "seed": int(estimator._random_seed),
        "generator": estimator._feature_subsample_rng.bit_generator.state,
    }
    return Kept(arrays, {**about, **more})


def restore_trees(estimator: Any, kept: Kept, columns: int) -> None:
    """Give an estimator these trees; ``fit`` with a warm start goes on from there."""
    arrays, about = kept.arrays, kept.about
    nodes, counts = arrays["nodes"], arrays["counts"]
    ends = counts.cumsum(axis=0)
    if nodes.dtype != PREDICTOR_RECORD_DTYPE or [len(nodes), len(arrays["raw"])] != ends[-1].tolist():
        raise ValueError(f"no trees of scikit-learn {sklearn.__version__}")
    trees: list[TreePredictor] = []
    for (start, first), (end, last) in zip(ends - counts, ends, strict=True):
        mine, binned, raw = nodes[start:end].copy(), arrays["binned"][first:last], arrays["raw"][first:last]
        inner = np.flatnonzero(mine["is_leaf"] == 0)
        _check_inside(inner, [mine["left"][inner], mine["right"][inner]], mine["feature_idx"], columns)
        sets = mine["bitset_idx"][inner][mine["is_categorical"][inner] == 1]
        if (sets >= len(raw)).any() or len(binned) != len(raw):
            raise ValueError("a tree leads out of its sets")
        trees.append(TreePredictor(mine, binned.copy(), raw.copy()))
    width = len(trees) // about["rounds"]
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = about["generator"]
    estimator._predictors = [trees[i : i + width] for i in range(0, len(trees), width)]
    estimator._baseline_prediction = arrays["baseline"]
    estimator._scorer = None
    estimator._random_seed = np.uint64(about["seed"])
    estimator._feature_subsample_rng = generator
    estimator.train_score_ = arrays["train_score"]
    estimator.validation_score_ = arrays["validation_score"]


def _check_inside(
    inner: NDArray[np.intp], below: list[NDArray[Any]], features: NDArray[Any], columns: int
) -> None:
    """Look where a tree's nodes lead: compiled code follows them without."""
    split = features[inner]
    inside = (split >= 0) & (split < columns)
    for children in below:
        inside &= (children > inner) & (children < len(features))
    if not inside.all():
        raise ValueError("a tree leads out of its nodes")


# --- forests -------------------------------------------------------------------------------------


def _keep_forest(forest: Any, about: Mapping[str, Any]) -> Kept:
    states = [tree.tree_.__getstate__() for tree in forest.estimators_]
    arrays = {
        "nodes": np.concatenate([state["nodes"] for state in states]),
        "values": np.concatenate([state["values"] for state in states]),
        "counts": np.array([[state["node_count"], state["max_depth"]] for state in states], dtype=np.int64),
    }
    return Kept(arrays, about)


def _restore_forest(forest: Any, kept: Kept, X: Any, y: NDArray[Any]) -> None:
    nodes, values, counts = (kept.arrays[name] for name in ("nodes", "values", "counts"))
    rows = np.unique(y, return_index=True)[1][: None if hasattr(forest, "predict_proba") else 1]
    settings = {"n_estimators": len(counts), "max_samples": None}
    before = {name: forest.get_params()[name] for name in settings}
    forest.set_params(**settings).fit(X[rows], y[rows]).set_params(**before)
    shape = (forest.n_outputs_, int(np.max(getattr(forest, "n_classes_", 1))))
    together = len(nodes) == len(values) == counts[:, 0].sum()
    if nodes.dtype.names != NODE_DTYPE.names or not together or values.shape[1:] != shape:
        raise ValueError(f"no forest of scikit-learn {sklearn.__version__}")
    start = 0
    for estimator, (count, depth) in zip(forest.estimators_, counts.tolist(), strict=True):
        mine = nodes[start : start + count].astype(NODE_DTYPE)
        inner = np.flatnonzero(mine["left_child"] >= 0)
        below = [mine["left_child"][inner], mine["right_child"][inner]]
        _check_inside(inner, below, mine["feature"], X.shape[1])
        tree = Tree(X.shape[1], np.array([shape[1]], dtype=np.intp), shape[0])
        state = {"max_depth": depth, "node_count": count, "nodes": mine}
        tree.__setstate__(state | {"values": values[start : start + count].copy()})
        estimator.tree_ = tree
        start += count


# --- networks ------------------------------------------------------------------------------------


def keep_network(network: Any, about: Mapping[str, Any]) -> Kept:
    """Return a network as arrays; more passes may follow."""
    optimizer = network._optimizer
    layers = {"coefs": network.coefs_, "intercepts": network.intercepts_}
    moments = {"means": optimizer.ms, "squares": optimizer.vs}
    arrays = {
        f"{name}-{i}": np.asarray(array)
        for name, found in (layers | moments).items()
        for i, array in enumerate(found)
    }
    return Kept(arrays, {**about, "passes": network.n_iter_, "steps": int(optimizer.t)})


def restore_network(network: Any, kept: Kept, X: Any, y: NDArray[Any]) -> None:
    """Make an unfitted network what was kept, without early stopping; ``partial_fit`` goes on from there."""
    more = {"classes": np.unique(y)} if isinstance(network, MLPClassifier) else {}
    network.set_params(early_stopping=False)
    with warnings.catch_warnings():
        # Few rows are less than a batch.
        warnings.simplefilter("ignore", UserWarning)
        network.partial_fit(X[:2], y[:2], **more)
    count = len(network.coefs_)
    network.coefs_ = [kept.arrays[f"coefs-{i}"].copy() for i in range(count)]
    network.intercepts_ = [kept.arrays[f"intercepts-{i}"].copy() for i in range(count)]
    optimizer = AdamOptimizer(network.coefs_ + network.intercepts_, network.learning_rate_init)
    optimizer.ms = [kept.arrays[f"means-{i}"].copy() for i in range(2 * count)]
    optimizer.vs = [kept.arrays[f"squares-{i}"].copy() for i in range(2 * count)]
    optimizer.t = kept.about["steps"]
    network._optimizer, network.n_iter_ = optimizer, kept.about["passes"]
