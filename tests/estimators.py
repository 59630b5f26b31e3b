"""Estimators for the tests of the compiler: every covered class, in every covered way.

``ESTIMATORS`` is keyed by class name, like the compiler's own tables; a test holds the two side by side, so
that a class without a case here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    GammaRegressor,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    Perceptron,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
    TweedieRegressor,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Binarizer, KBinsDiscretizer, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

__all__ = ["ESTIMATORS", "MARGINS"]


def _numeric(estimator: Any) -> Pipeline:
    """Put an imputer before an estimator that takes no missing values."""
    return make_pipeline(SimpleImputer(keep_empty_features=True), estimator)


def _scaled(estimator: Any) -> Pipeline:
    """Put an imputer and a scaler before an estimator."""
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), estimator)


def _independent(estimator: Any) -> Pipeline:
    """Put a few inputs before an estimator whose weights grow without bound when inputs depend on others."""
    return make_pipeline(SimpleImputer(), StandardScaler(), SelectKBest(k=3), estimator)


def _counts(estimator: Any, encode: str = "ordinal") -> Pipeline:
    """Put before an estimator what makes whole numbers of a few sizes; with ``onehot`` a sparse matrix."""
    bins = KBinsDiscretizer(3, encode=encode, strategy="uniform")
    return make_pipeline(SimpleImputer(keep_empty_features=True), VarianceThreshold(), bins, estimator)


def _network(kind: Any, activation: str, **settings: Any) -> Pipeline:
    sizes = (7, 5) if activation == "relu" else (6,)
    return _scaled(
        kind(hidden_layer_sizes=sizes, activation=activation, max_iter=15, random_state=0, **settings)
    )


def _scaled_of(kind: Any) -> Pipeline:
    return _scaled(kind())


def _boosted(kind: Any, **settings: Any) -> Any:
    return kind(**{"max_iter": 5, "random_state": 0, "min_samples_leaf": 5} | settings)


def _trees(kind: Any, **settings: Any) -> Any:
    return kind(**{"n_estimators": 4, "random_state": 0} | settings)


def _classifiers() -> list[tuple[str, Any]]:
    """Members that come with their own features, and one that takes missing values."""
    linear = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=50))
    return [
        ("linear", linear),
        ("boosted", _boosted(HistGradientBoostingClassifier, max_iter=2)),
        ("forest", _trees(RandomForestClassifier, max_leaf_nodes=5)),
    ]


def _regressors() -> list[tuple[str, Any]]:
    return [
        ("linear", make_pipeline(SimpleImputer(), StandardScaler(), Ridge())),
        ("boosted", _boosted(HistGradientBoostingRegressor, max_iter=2)),
        ("forest", _trees(RandomForestRegressor, max_leaf_nodes=5)),
    ]


MARGINS: Mapping[str, Callable[[], Any]] = {
    "LinearSVC": lambda: LinearSVC(random_state=0, max_iter=50),
    "RidgeClassifier": RidgeClassifier,
    "RidgeClassifierCV": RidgeClassifierCV,
    "Perceptron": lambda: Perceptron(random_state=0),
    "SGDClassifier": lambda: SGDClassifier(random_state=0),
    "LogisticRegression": lambda: LogisticRegression(max_iter=20, C=0.1),
    "LogisticRegressionCV": lambda: LogisticRegressionCV(Cs=1, cv=2, max_iter=10),
    "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis,
    "AdaBoostClassifier": lambda: AdaBoostClassifier(n_estimators=3, random_state=0),
    "GradientBoostingClassifier": lambda: GradientBoostingClassifier(n_estimators=2, random_state=0),
    "HistGradientBoostingClassifier": lambda: _boosted(HistGradientBoostingClassifier),
    "StackingClassifier": lambda: StackingClassifier(_classifiers()[:1], LinearSVC(random_state=0), cv=2),
    "OneVsRestClassifier": lambda: OneVsRestClassifier(RidgeClassifier()),
    "SVC": SVC,
    "NuSVC": lambda: NuSVC(nu=0.2),
}
"""Makers of classifiers with a decision function, which a calibration of theirs stands on."""


def _calibrated(maker: Callable[[], Any], **settings: Any) -> Pipeline:
    return _scaled(CalibratedClassifierCV(maker(), **{"cv": 2} | settings))


_METHODS = ("sigmoid", "isotonic", "temperature")


ESTIMATORS: Mapping[str, Mapping[str, Callable[[], Any]]] = {
    "LogisticRegression": {
        "plain": lambda: _numeric(LogisticRegression(max_iter=50)),
        "no-intercept": lambda: _numeric(LogisticRegression(max_iter=50, fit_intercept=False)),
    },
    "Ridge": {
        "plain": lambda: _numeric(Ridge()),
        "no-intercept": lambda: _numeric(Ridge(fit_intercept=False)),
    },
    "RandomForestClassifier": {
        "plain": lambda: _trees(RandomForestClassifier),
        "best-first": lambda: _trees(RandomForestClassifier, max_leaf_nodes=9, class_weight="balanced"),
    },
    "RandomForestRegressor": {
        "plain": lambda: _trees(RandomForestRegressor),
        "best-first": lambda: _trees(RandomForestRegressor, max_leaf_nodes=9, criterion="absolute_error"),
    },
    "ExtraTreesClassifier": {"plain": lambda: _trees(ExtraTreesClassifier)},
    "ExtraTreesRegressor": {"plain": lambda: _trees(ExtraTreesRegressor)},
    "HistGradientBoostingClassifier": {
        "plain": lambda: _boosted(HistGradientBoostingClassifier),
        "long": lambda: _boosted(HistGradientBoostingClassifier, max_iter=20, max_leaf_nodes=None),
    },
    "HistGradientBoostingRegressor": {
        "plain": lambda: _boosted(HistGradientBoostingRegressor),
        "absolute": lambda: _boosted(HistGradientBoostingRegressor, loss="absolute_error"),
        "stump": lambda: _boosted(HistGradientBoostingRegressor, max_leaf_nodes=2, max_iter=1),
    },
    "LogisticRegressionCV": {"plain": lambda: _scaled(LogisticRegressionCV(Cs=2, cv=2, max_iter=20))},
    "LinearDiscriminantAnalysis": {"plain": lambda: _scaled(LinearDiscriminantAnalysis())},
    "SGDClassifier": {
        "log": lambda: _scaled(SGDClassifier(loss="log_loss", random_state=0)),
        "huber": lambda: _scaled(SGDClassifier(loss="modified_huber", alpha=0.1, random_state=0)),
        "average": lambda: _scaled(SGDClassifier(loss="log_loss", average=True, random_state=0)),
    },
    **{
        kind.__name__: {"plain": partial(_scaled_of, kind)}
        for kind in (
            *(RidgeCV, Lasso, LassoCV, ElasticNet, ElasticNetCV, LarsCV, LassoLars),
            *(LassoLarsCV, LassoLarsIC, OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV, LinearSVR),
            *(BayesianRidge, ARDRegression, HuberRegressor, QuantileRegressor),
        )
    },
    "LinearRegression": {
        "plain": lambda: _independent(LinearRegression()),
        "positive": lambda: _scaled(LinearRegression(positive=True)),
    },
    "Lars": {"plain": lambda: _independent(Lars())},
    "TheilSenRegressor": {
        "plain": lambda: _independent(TheilSenRegressor(max_subpopulation=20, random_state=0, max_iter=20))
    },
    "SGDRegressor": {
        "plain": lambda: _scaled(SGDRegressor(random_state=0)),
        "huber": lambda: _scaled(SGDRegressor(loss="huber", average=True, random_state=0)),
    },
    "RANSACRegressor": {
        "plain": lambda: _scaled(RANSACRegressor(Ridge(), min_samples=100, random_state=0)),
    },
    "PoissonRegressor": {"plain": lambda: _scaled(PoissonRegressor(max_iter=20))},
    "GammaRegressor": {"plain": lambda: _scaled(GammaRegressor(max_iter=20))},
    "TweedieRegressor": {
        "log": lambda: _scaled(TweedieRegressor(power=1.5, max_iter=20)),
        "identity": lambda: _scaled(TweedieRegressor(power=0, max_iter=20)),
    },
    "DecisionTreeClassifier": {
        "plain": lambda: DecisionTreeClassifier(random_state=0),
        "weights": lambda: DecisionTreeClassifier(
            class_weight="balanced", max_leaf_nodes=7, ccp_alpha=0.001, random_state=0
        ),
    },
    "DecisionTreeRegressor": {
        "plain": lambda: DecisionTreeRegressor(random_state=0),
        "absolute": lambda: DecisionTreeRegressor(criterion="absolute_error", max_depth=4, random_state=0),
    },
    "ExtraTreeClassifier": {"plain": lambda: ExtraTreeClassifier(random_state=0)},
    "ExtraTreeRegressor": {"plain": lambda: ExtraTreeRegressor(random_state=0)},
    "AdaBoostClassifier": {
        "stumps": lambda: _numeric(AdaBoostClassifier(n_estimators=5, random_state=0)),
        "trees": lambda: _numeric(
            AdaBoostClassifier(
                ExtraTreeClassifier(max_depth=3), n_estimators=4, learning_rate=0.5, random_state=0
            )
        ),
    },
    "GradientBoostingClassifier": {
        "plain": lambda: _numeric(GradientBoostingClassifier(n_estimators=4, random_state=0)),
        "zero": lambda: _numeric(
            GradientBoostingClassifier(n_estimators=4, init="zero", subsample=0.7, random_state=0)
        ),
        "stopped": lambda: _numeric(
            GradientBoostingClassifier(
                n_estimators=30, max_leaf_nodes=4, n_iter_no_change=2, random_state=0, learning_rate=1.0
            )
        ),
    },
    "GradientBoostingRegressor": {
        "plain": lambda: _numeric(GradientBoostingRegressor(n_estimators=4, random_state=0)),
        "zero": lambda: _numeric(GradientBoostingRegressor(n_estimators=4, init="zero", random_state=0)),
        "absolute": lambda: _numeric(
            GradientBoostingRegressor(n_estimators=4, loss="absolute_error", random_state=0)
        ),
        "huber": lambda: _numeric(GradientBoostingRegressor(n_estimators=4, loss="huber", random_state=0)),
        "quantile": lambda: _numeric(
            GradientBoostingRegressor(n_estimators=4, loss="quantile", alpha=0.2, random_state=0)
        ),
    },
    "BaggingClassifier": {
        "trees": lambda: BaggingClassifier(n_estimators=4, max_features=0.5, random_state=0),
        "few-rows": lambda: BaggingClassifier(n_estimators=5, max_samples=4, bootstrap=False, random_state=0),
        "linear": lambda: _scaled(
            BaggingClassifier(
                LogisticRegression(max_iter=20), n_estimators=3, max_features=0.7, random_state=0
            )
        ),
        "some-classes": lambda: BaggingClassifier(
            _classifiers()[1][1], n_estimators=5, max_samples=12, bootstrap=False, random_state=1
        ),
    },
    "BaggingRegressor": {
        "trees": lambda: BaggingRegressor(
            n_estimators=4, max_features=0.5, bootstrap_features=True, random_state=0
        ),
        "linear": lambda: _scaled(BaggingRegressor(Ridge(), n_estimators=3, max_samples=0.5, random_state=0)),
    },
    "OneVsRestClassifier": {
        "linear": lambda: _scaled(OneVsRestClassifier(LogisticRegression(solver="liblinear"))),
        "trees": lambda: OneVsRestClassifier(DecisionTreeClassifier(max_depth=3, random_state=0)),
    },
    "CalibratedClassifierCV": {
        **{
            f"{name}-isotonic": partial(_calibrated, maker, method="isotonic")
            for name, maker in MARGINS.items()
        },
        "SVC-sparse": lambda: _counts(CalibratedClassifierCV(SVC(), cv=2), "onehot"),
        **{
            f"margins-{method}-{ensemble}": partial(
                _calibrated, MARGINS["LinearSVC"], method=method, ensemble=ensemble
            )
            for method in _METHODS
            for ensemble in (True, False)
        },
        **{
            f"svc-{kernel}": partial(_calibrated, lambda kernel=kernel: SVC(kernel=kernel, coef0=0.5))
            for kernel in ("linear", "poly", "sigmoid")
        },
        "svc-auto": partial(_calibrated, lambda: SVC(gamma="auto", class_weight="balanced", break_ties=True)),
        **{
            f"forest-{method}": partial(
                _calibrated, lambda: _trees(RandomForestClassifier, max_depth=5), method=method
            )
            for method in _METHODS
        },
    },
    "TransformedTargetRegressor": {
        "plain": lambda: _scaled(TransformedTargetRegressor(Ridge())),
        "log1p": lambda: _scaled(TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)),
        "sqrt": lambda: TransformedTargetRegressor(
            _boosted(HistGradientBoostingRegressor, loss="poisson"), func=np.sqrt, inverse_func=np.square
        ),
        "log-trees": lambda: TransformedTargetRegressor(
            _trees(ExtraTreesRegressor, max_depth=4), func=np.log, inverse_func=np.exp
        ),
    },
    "SVR": {
        "rbf": lambda: _scaled(SVR(C=10.0)),
        "linear": lambda: _scaled(SVR(kernel="linear")),
        "poly": lambda: _scaled(SVR(kernel="poly", degree=2, coef0=1.0, gamma=0.01)),
        "sigmoid": lambda: _scaled(SVR(kernel="sigmoid", gamma="auto")),
        "sparse": lambda: _counts(SVR(), "onehot"),
        "sparse-linear": lambda: _counts(SVR(kernel="linear"), "onehot"),
    },
    "NuSVR": {"rbf": lambda: _scaled(NuSVR(gamma=0.05))},
    "GaussianNB": {
        "plain": lambda: _scaled(GaussianNB()),
        "raw": lambda: _numeric(GaussianNB(var_smoothing=1e-6)),
    },
    "BernoulliNB": {
        "plain": lambda: _scaled(BernoulliNB()),
        "half": lambda: _scaled(BernoulliNB(binarize=0.5, fit_prior=False)),
        "binary": lambda: make_pipeline(SimpleImputer(), Binarizer(), BernoulliNB(binarize=None)),
    },
    "MultinomialNB": {"plain": lambda: _counts(MultinomialNB())},
    "ComplementNB": {
        "plain": lambda: _counts(ComplementNB()),
        "norm": lambda: _counts(ComplementNB(norm=True, alpha=0.5)),
    },
    "KNeighborsClassifier": {
        "plain": lambda: _scaled(KNeighborsClassifier(algorithm="kd_tree")),
        "distance": lambda: _scaled(KNeighborsClassifier(7, weights="distance", algorithm="kd_tree", p=1)),
        "ties": lambda: _counts(KNeighborsClassifier(3, algorithm="kd_tree", leaf_size=5)),
        "one": lambda: _scaled(KNeighborsClassifier(1, algorithm="kd_tree", metric="chebyshev")),
    },
    "KNeighborsRegressor": {
        "plain": lambda: _scaled(KNeighborsRegressor(algorithm="kd_tree")),
        "distance": lambda: _scaled(KNeighborsRegressor(12, weights="distance", algorithm="kd_tree")),
        "ties": lambda: _counts(KNeighborsRegressor(4, algorithm="kd_tree", leaf_size=2, p=1)),
        "chebyshev": lambda: _counts(
            KNeighborsRegressor(4, algorithm="kd_tree", p=np.inf, weights="distance")
        ),
    },
    "MLPClassifier": {
        activation: partial(_network, MLPClassifier, activation)
        for activation in ("relu", "identity", "logistic", "tanh")
    },
    "MLPRegressor": {
        **{
            activation: partial(_network, MLPRegressor, activation)
            for activation in ("relu", "identity", "logistic", "tanh")
        },
        "poisson": partial(_network, MLPRegressor, "tanh", loss="poisson"),
    },
    "VotingClassifier": {
        "soft": lambda: VotingClassifier(_classifiers(), voting="soft"),
        "weights": lambda: VotingClassifier(_classifiers(), voting="soft", weights=[2, 0.3, 1]),
        "drop": lambda: VotingClassifier(
            [*_classifiers(), ("out", "drop")], voting="soft", weights=[1, 2, 3, 4]
        ),
    },
    "VotingRegressor": {
        "plain": lambda: VotingRegressor(_regressors()),
        "weights": lambda: VotingRegressor([("out", "drop"), *_regressors()], weights=[4, 1, 2, 3]),
    },
    "StackingClassifier": {
        "plain": lambda: StackingClassifier(_classifiers(), LogisticRegression(), cv=2),
        "margins": lambda: StackingClassifier(
            _classifiers()[:1], LogisticRegression(), cv=2, stack_method="decision_function"
        ),
        "trees": lambda: StackingClassifier(
            _classifiers(), _boosted(HistGradientBoostingClassifier), cv=2, passthrough=True
        ),
        "in-itself": lambda: StackingClassifier(
            [
                ("one", StackingClassifier(_classifiers()[:2], LogisticRegression(), cv=2)),
                ("two", DummyClassifier()),
            ],
            LogisticRegression(C=0.5),
            cv=2,
        ),
    },
    "StackingRegressor": {
        "plain": lambda: StackingRegressor(_regressors(), Ridge(), cv=2),
        "trees": lambda: StackingRegressor(
            _regressors(), _trees(ExtraTreesRegressor), cv=2, passthrough=True
        ),
    },
    "DummyClassifier": {
        "prior": lambda: DummyClassifier(),
        "most-frequent": lambda: DummyClassifier(strategy="most_frequent"),
        "constant": lambda: DummyClassifier(strategy="constant", constant=1),
    },
    "DummyRegressor": {
        "mean": lambda: DummyRegressor(),
        "median": lambda: DummyRegressor(strategy="median"),
    },
}
"""Makers of unfitted estimators; a pipeline where one needs an imputer."""
