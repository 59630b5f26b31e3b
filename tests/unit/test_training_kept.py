"""A fitted estimator comes back from its arrays as it was, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor

from millrace.features.candidates import CANDIDATES
from millrace.features.limits import LIMITS
from millrace.training.apart import KINDS
from millrace.training.estimators import Builder
from millrace.training.kept import can_be_kept, keep_fitted, restore_fitted
from millrace.training.state import Kept, pack, unpack
from tests.learning import mixed_table

HEAD = b"test\n"
FORESTS = {"n_estimators": 7, "random_state": 3, "min_samples_leaf": 2}
NETWORKS = {"max_iter": 5, "random_state": 3, "early_stopping": True, "tol": 1.0}
BOOSTED = {"max_iter": 9, "random_state": 3, "max_features": 0.5, "categorical_features": [0]}
ESTIMATORS = {
    "forest of classes": RandomForestClassifier(**FORESTS, class_weight={0: 1.0, 1: 2.0, 2: 0.5}),
    "forest": RandomForestRegressor(**FORESTS, max_samples=90),
    "extra trees of classes": ExtraTreesClassifier(**FORESTS),
    "extra trees": ExtraTreesRegressor(**FORESTS, bootstrap=True, max_samples=90, max_leaf_nodes=9),
    "boosted of classes": HistGradientBoostingClassifier(**BOOSTED),
    "boosted": HistGradientBoostingRegressor(**BOOSTED),
    "network of classes": MLPClassifier(hidden_layer_sizes=(8, 4), **NETWORKS),
    "network": MLPRegressor(hidden_layer_sizes=(8,), **NETWORKS),
}


def data_of(name: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(200, 6))
    X[:, 0] = rng.integers(0, 4, 200)
    target = X[:, 1] + X[:, 0]
    if "classes" in name:
        # The last class comes late, and is the largest.
        return X, np.sort(np.digitize(target, np.quantile(target, [0.2, 0.5])))
    return X, target


def answered(estimator: Any, X: Any) -> NDArray[np.float64]:
    return np.asarray((getattr(estimator, "predict_proba", None) or estimator.predict)(X))


def through_bytes(kept: Kept) -> Kept:
    found = unpack(HEAD, pack(HEAD, kept.about, kept.arrays))
    assert found is not None
    return Kept(found[1], found[0])


def made(name: str) -> Any:
    estimator = ESTIMATORS[name]
    return type(estimator)(**estimator.get_params())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("name", "scattered"),
    [
        (name, scattered)
        for name in ESTIMATORS
        for scattered in (False, True)
        if "boosted" not in name or not scattered
    ],
)
def test_an_estimator_comes_back_as_it_was(name: str, scattered: bool) -> None:
    X, y = data_of(name)
    rows = sparse.csr_matrix(X) if scattered else X
    fitted = made(name).fit(rows, y)
    kept = keep_fitted(fitted, {"seconds": 1.0})
    again = made(name)
    restore_fitted(again, through_bytes(kept), rows, y)
    assert answered(again, rows).tobytes() == answered(fitted, rows).tobytes()
    second = keep_fitted(again, {"seconds": 1.0})
    assert second.about == kept.about
    assert {key: array.tobytes() for key, array in second.arrays.items()} == {
        key: array.tobytes() for key, array in kept.arrays.items()
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["boosted of classes", "boosted", "network of classes", "network"])
def test_what_it_learns_later_is_the_same_too(name: str) -> None:
    X, y = data_of(name)
    # scikit-learn itself has a network that stopped early learn no further.
    steady = {"early_stopping": False, "shuffle": False} if "network" in name else {}
    fitted = made(name).set_params(**steady).fit(X, y)
    kept = keep_fitted(fitted, {})
    again = made(name).set_params(**steady)
    restore_fitted(again, kept, X, y)
    for estimator in (fitted, again):
        if "network" in name:
            estimator.partial_fit(X, y)
        else:
            estimator.set_params(warm_start=True, max_iter=14).fit(X, y)
    assert answered(again, X).tobytes() == answered(fitted, X).tobytes()


def test_weights_that_decide_the_bins_are_heard_again() -> None:
    X, y = data_of("boosted")
    weights = np.linspace(0.0, 5.0, len(y)) ** 3
    settings: dict[str, Any] = {"max_iter": 5, "max_bins": 8}
    fitted = HistGradientBoostingRegressor(**settings).fit(X, y, sample_weight=weights)
    kept = keep_fitted(fitted, {})
    again = HistGradientBoostingRegressor(**settings)
    restore_fitted(again, kept, X, y, sample_weight=weights)
    for bins in (fitted, again):
        bins.set_params(warm_start=True, max_iter=9).fit(X, y, sample_weight=weights)
    assert again.predict(X).tobytes() == fitted.predict(X).tobytes()


@pytest.mark.parametrize(
    ("array", "field", "value"),
    [
        ("nodes", "left_child", 0),
        ("nodes", "right_child", 1 << 20),
        ("nodes", "feature", 6),
        ("nodes", "feature", -1),
        ("counts", None, 1),
    ],
)
def test_a_forest_that_leads_out_of_its_nodes_is_refused(array: str, field: str | None, value: int) -> None:
    X, y = data_of("forest")
    kept = keep_fitted(made("forest").fit(X, y), {})
    if field is None:
        kept.arrays[array][0, 0] += value
    else:
        kept.arrays[array][field][0] = value
    with pytest.raises(ValueError, match=r"leads out|no forest"):
        restore_fitted(made("forest"), kept, X, y)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_kinds_that_are_fitted_apart_are_those_that_can_be_kept(task: Any) -> None:
    table, schema = mixed_table(60, task=task)
    for one in CANDIDATES.values():
        if task not in one.tasks:
            continue
        estimator = Builder(one, schema, LIMITS["quick"], 0).build((60, 4), table.target)
        assert can_be_kept(estimator) == (one.kind in KINDS), one.name
