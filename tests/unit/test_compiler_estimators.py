"""Every parameter of every covered estimator is expressed in the plan, done with after the fit, or refused.

A release of scikit-learn that brings a new parameter fails here, until somebody has looked at what it does.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeRegressor

from millrace import compiler, plan
from millrace.compiler.common import Arrays
from millrace.compiler.estimators import ESTIMATORS, MARGINS, compile_estimator, compile_margin
from millrace.errors import BadInput
from millrace.scoring.rows import Node
from tests import estimators, pipelines

EXPRESSED = {
    "TweedieRegressor": "power link",
    "RANSACRegressor": "estimator",
    "SGDClassifier": "loss",
    "DummyClassifier": "strategy constant",
    "DummyRegressor": "strategy constant quantile",
    "AdaBoostClassifier": "estimator",
    "GradientBoostingClassifier": "loss learning_rate init",
    "GradientBoostingRegressor": "loss learning_rate init",
    "HistGradientBoostingClassifier": "loss categorical_features",
    "HistGradientBoostingRegressor": "loss categorical_features",
    "SVC": "kernel degree gamma coef0 decision_function_shape",
    "NuSVC": "kernel degree gamma coef0 decision_function_shape",
    "SVR": "kernel degree gamma coef0",
    "NuSVR": "kernel degree gamma coef0",
    "BernoulliNB": "binarize",
    "KNeighborsClassifier": "n_neighbors weights algorithm metric metric_params p",
    "KNeighborsRegressor": "n_neighbors weights algorithm metric metric_params p",
    "MLPClassifier": "activation",
    "MLPRegressor": "activation loss",
    "VotingClassifier": "estimators voting weights",
    "VotingRegressor": "estimators weights",
    "StackingClassifier": "estimators final_estimator stack_method passthrough",
    "StackingRegressor": "estimators final_estimator passthrough",
    "CalibratedClassifierCV": "estimator method",
    "OneVsRestClassifier": "estimator",
    "BaggingClassifier": "estimator",
    "BaggingRegressor": "estimator",
    "TransformedTargetRegressor": "regressor transformer func inverse_func",
}
"""What the plan says of a parameter's value, or refuses; nothing for what ``AFTER_FIT`` names alone."""
AFTER_FIT = {
    # Objective, penalty and priors: the weights hold them.
    *[
        "C",
        "Cs",
        "alpha",
        "alpha_1",
        "alpha_2",
        "alpha_init",
        "alpha_per_target",
        "alphas",
        "class_prior",
        "class_weight",
    ],
    *["covariance_estimator", "dual", "epsilon", "fit_intercept", "fit_prior", "force_alpha", "gcv_mode"],
    *[
        "intercept_scaling",
        "l1_ratio",
        "l1_ratios",
        "l2_regularization",
        "lambda_1",
        "lambda_2",
        "lambda_init",
        "loss",
    ],
    *[
        "multi_class",
        "norm",
        "nu",
        "penalty",
        "positive",
        "power_t",
        "priors",
        "quantile",
        "shrinkage",
        "threshold_lambda",
    ],
    *["var_smoothing", "noise_variance", "criterion"],
    # How the fit goes on, and when it ends.
    *[
        "average",
        "batch_size",
        "beta_1",
        "beta_2",
        "bootstrap",
        "bootstrap_features",
        "cv",
        "early_stopping",
        "ensemble",
        "eps",
    ],
    *[
        "eta0",
        "fit_path",
        "is_data_valid",
        "is_model_valid",
        "jitter",
        "learning_rate",
        "learning_rate_init",
        "max_fun",
    ],
    *[
        "max_iter",
        "max_n_alphas",
        "max_samples",
        "max_skips",
        "max_subpopulation",
        "max_trials",
        "min_samples",
        "momentum",
    ],
    *[
        "n_components",
        "n_estimators",
        "n_iter_no_change",
        "n_nonzero_coefs",
        "n_subsamples",
        "nesterovs_momentum",
    ],
    *[
        "precompute",
        "random_state",
        "refit",
        "residual_threshold",
        "scoring",
        "selection",
        "shrinking",
        "shuffle",
        "solver",
    ],
    *["solver_options", "splitter", "stop_n_inliers", "stop_probability", "stop_score", "subsample", "tol"],
    *["validation_fraction", "warm_start", "hidden_layer_sizes", "probability"],
    # The shape of trees.
    *[
        "ccp_alpha",
        "interaction_cst",
        "max_bins",
        "max_depth",
        "max_features",
        "max_leaf_nodes",
        "min_impurity_decrease",
    ],
    *["min_samples_leaf", "min_samples_split", "min_weight_fraction_leaf", "monotonic_cst", "leaf_size"],
    # What is kept, shown or said besides, and what only predict's labels depend on.
    *[
        "break_ties",
        "cache_size",
        "check_inverse",
        "compute_score",
        "copy",
        "copy_X",
        "flatten_transform",
        "n_jobs",
    ],
    *["oob_score", "store_covariance", "store_cv_results", "use_legacy_attributes", "verbose"],
}
"""What makes no difference to the probabilities, decisions or values of an estimator that has been fitted."""


def kind_of(name: str) -> type:
    first = {name: next(iter(cases.values())) for name, cases in estimators.ESTIMATORS.items()}
    made = {**estimators.MARGINS, **first}[name]()
    return type(made.steps[-1][1] if isinstance(made, Pipeline) else made)


@pytest.mark.parametrize("name", sorted({**ESTIMATORS, **MARGINS}))
def test_every_parameter_is_expressed_or_done_with_after_the_fit(name: str) -> None:
    kind = kind_of(name)
    assert kind.__name__ == name
    parameters = set(inspect.signature(kind).parameters)
    expressed = set(EXPRESSED.get(name, "").split())
    assert expressed <= parameters
    assert parameters - expressed <= AFTER_FIT


def test_the_tables_name_no_other_class() -> None:
    assert set(EXPRESSED) <= set(ESTIMATORS) | set(MARGINS)
    assert set(estimators.MARGINS) == set(MARGINS)


X = pipelines.table(120, 0)[["small"]].assign(other=np.linspace(-1.0, 1.0, 120)).to_numpy()
BINARY = pipelines.target(pipelines.table(120, 0), "binary")
MANY = pipelines.target(pipelines.table(120, 0), "multiclass")
VALUES = pipelines.target(pipelines.table(120, 0), "regression")
TWO = [("a", LogisticRegression()), ("b", GaussianNB())]

REFUSED: dict[str, tuple[Any, Any, str]] = {
    "hard": (VotingClassifier(TWO), BINARY, r"VotingClassifier\(voting='hard'\)"),
    "hinge": (SGDClassifier(), BINARY, r"SGDClassifier\(loss='hinge'\) has no probabilities"),
    "linear-svc": (LinearSVC(), BINARY, "LinearSVC has no probabilities"),
    "svc": (SVC(), BINARY, "SVC has no probabilities"),
    "ridge-classifier": (RidgeClassifier(), MANY, "RidgeClassifier has no probabilities"),
    "perceptron": (Perceptron(), MANY, "Perceptron has no probabilities"),
    "ovo": (
        CalibratedClassifierCV(SVC(decision_function_shape="ovo"), cv=2),
        np.minimum(MANY, 2),
        r"SVC\(decision_function_shape='ovo'\)",
    ),
    "kernel": (SVR(kernel=lambda a, b: a @ b.T), VALUES, r"SVR\(kernel=<function"),
    "ball-tree": (KNeighborsClassifier(algorithm="ball_tree"), BINARY, "'ball_tree'"),
    "brute": (KNeighborsRegressor(algorithm="brute"), VALUES, "'brute'"),
    "p": (KNeighborsClassifier(algorithm="kd_tree", p=3), BINARY, r"metric='minkowski', p=3"),
    "weights": (KNeighborsClassifier(weights=np.abs, algorithm="kd_tree"), BINARY, "weights=<ufunc"),
    "init": (GradientBoostingRegressor(init=Ridge(), n_estimators=1), VALUES, r"\(init=Ridge\(\)\)"),
    "targets": (MLPRegressor(max_iter=2), np.column_stack([VALUES] * 2), "several targets"),
    "neighbors-targets": (
        KNeighborsRegressor(algorithm="kd_tree"),
        np.column_stack([VALUES] * 2),
        "several targets",
    ),
    "tree-targets": (DecisionTreeRegressor(), np.column_stack([VALUES] * 2), "several targets"),
    "func": (
        TransformedTargetRegressor(func=np.cbrt, inverse_func=np.exp, check_inverse=False),
        VALUES,
        "expm1",
    ),
    "transformer": (TransformedTargetRegressor(transformer=StandardScaler()), VALUES, "expm1"),
    "labels": (StackingClassifier(TWO, stack_method="predict", cv=2), BINARY, "over labels"),
    "votes": (BaggingClassifier(LinearSVC(), n_estimators=2), BINARY, "BaggingClassifier over LinearSVC"),
    "boosted": (
        AdaBoostClassifier(GaussianNB(), n_estimators=2),
        BINARY,
        "AdaBoostClassifier over GaussianNB",
    ),
    "inside": (
        VotingClassifier([("a", DummyClassifier(strategy="uniform"))], voting="soft"),
        BINARY,
        "uniform",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::Warning")
def test_what_plans_do_not_express_is_refused_by_name(case: str) -> None:
    estimator, y, message = REFUSED[case]
    with pytest.raises(BadInput, match=message) as refusal:
        compile_estimator(estimator.fit(X, y), Arrays())
    assert refusal.value.code == "estimator-not-covered"
    assert refusal.value.remedy


def test_who_only_decides_is_told_to_calibrate() -> None:
    with pytest.raises(BadInput) as refusal:
        compile_estimator(LinearSVC().fit(X, BINARY), Arrays())
    assert "CalibratedClassifierCV" in refusal.value.remedy
    assert compile_margin(LinearSVC().fit(X, BINARY), Arrays())["link"] == "identity"


def test_a_frozen_member_is_looked_into() -> None:
    frozen = FrozenEstimator(RandomForestClassifier(3, random_state=0).fit(X, BINARY))
    node = compile_estimator(CalibratedClassifierCV(frozen, cv=2, ensemble=False).fit(X, BINARY), Arrays())
    assert node["kind"] == "platt"
    assert node["steps"][0]["members"][0]["kind"] == "trees"


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_native_categories_of_texts(task: Any) -> None:
    frame = pipelines.table(200, 0)[["small", "colour", "shop"]]
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    model = kind(max_iter=5, min_samples_leaf=3, categorical_features=["colour", "shop"], random_state=0)
    model.fit(frame, pipelines.target(pipelines.table(200, 0), task))
    data = compiler.compile(model, schema=pipelines.schema(task), model="m")
    assert plan.read(data).header["estimator"]["masks"] is not None
    outcome = compiler.parity(model, data, pipelines.held_out()[["small", "colour", "shop"]])
    assert outcome.max_difference <= 1e-15


def test_trees_say_how_many_rows_passed_each_node() -> None:
    model = RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, BINARY)
    arrays = Arrays()
    node = compile_estimator(model, arrays)
    cover = arrays.items[node["cover"]].astype(float)
    roots, skip = arrays.items[node["roots"]], arrays.items[node["skip"]]
    assert (cover[roots] == 120.0).all()
    inner = np.flatnonzero(skip)
    np.testing.assert_array_equal(cover[inner], cover[inner + 1] + cover[inner + skip[inner]])


def test_neighbors_that_are_equally_far_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 3, (400, 3)).astype(float)
    values = rng.permutation(400).astype(float)
    rows = np.vstack([rng.integers(0, 3, (60, 3)), rng.integers(0, 7, (60, 3)) / 2.0]).astype(float)
    for p in (1, 2, np.inf):
        for leaf_size in (1, 7, 30):
            model = KNeighborsRegressor(6, algorithm="kd_tree", p=p, leaf_size=leaf_size).fit(grid, values)
            arrays = Arrays()
            node = compile_estimator(model, arrays)
            made = Node(node, [memoryview(item) for item in arrays.items])
            found = [made(row)[0] for row in rows.tolist()]
            np.testing.assert_allclose(found, model.predict(rows), rtol=1e-14)


def test_the_page_of_estimators_names_every_class() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/estimators.md").read_text("utf-8")
    missing = [name for name in {**ESTIMATORS, **MARGINS} if f"`{name}`" not in page]
    assert not missing
