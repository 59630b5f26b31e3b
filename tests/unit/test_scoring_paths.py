"""Rows, kernel and numpy on one table of 2,000 rows: alike for trees, else within two of the last place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel, sigmoid_kernel
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVR

from millrace import compiler, plan
from millrace.compiler.certificate import answers
from millrace.contracts import Task
from tests import pipelines

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

ROWS = 2_000
EXACT: dict[str, Any] = {
    "boosted trees": HistGradientBoostingClassifier(max_iter=8, random_state=0),
    "small forest": RandomForestClassifier(6, max_depth=5, random_state=0),
    "large forest": ExtraTreesRegressor(6, random_state=0),
    "neighbours": KNeighborsRegressor(4, algorithm="kd_tree", weights="distance"),
}
ROUNDED: dict[str, Any] = {
    "least squares": Ridge(),
    "logistic": LogisticRegression(),
    "naive Bayes": GaussianNB(var_smoothing=1e-2),
    "sigmoid calibration": CalibratedClassifierCV(LogisticRegression(), method="sigmoid", cv=2),
    "isotonic calibration": CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2),
}
PLAIN: dict[str, Any] = {
    "tanh": MLPRegressor(hidden_layer_sizes=(20, 10), activation="tanh", max_iter=20, random_state=0),
    "relu": MLPRegressor(hidden_layer_sizes=(20, 10), max_iter=20, random_state=0),
    "rbf": SVR(C=100.0),
    "sigmoid": SVR(kernel="sigmoid", C=100.0, gamma=0.01),
}


def fitted(estimator: Any) -> tuple[Pipeline, dict[str, NDArray[np.float64]], pd.DataFrame]:
    """Return a fitted pipeline, and what each path says of the table."""
    task: Task = "multiclass" if hasattr(estimator, "predict_proba") else "regression"
    train, table = pipelines.table(200, 0), pipelines.table(ROWS, 5)
    features = clone(pipelines.ENCODERS["ColumnTransformer"]["mixed"])
    pipeline = Pipeline([("features", features), ("model", clone(estimator))])
    pipeline.fit(train, pipelines.target(train, task))
    data = compiler.compile(pipeline, schema=pipelines.schema(task), model="m")
    found = {path: np.asarray(answer) for path, answer in answers(plan.read(data), table).items()}
    assert set(found) == {"rows", "blocks", "kernel"}
    assert len(found["rows"]) == ROWS
    return pipeline, found, table


def units(found: dict[str, NDArray[np.float64]], scale: NDArray[np.float64] | None = None) -> float:
    """Return the largest distance from the row path, in units in the last place of its results or a scale."""
    expected = found["rows"]
    place = np.spacing(np.abs(expected if scale is None else scale))
    return max(float(np.max(np.abs(found[path] - expected) / place)) for path in ("blocks", "kernel"))


@pytest.mark.parametrize("name", EXACT)
def test_trees_and_comparisons_agree_to_the_last_bit(name: str) -> None:
    _, found, _ = fitted(EXACT[name])
    if name == "boosted trees":  # an exponential stands behind them
        assert units(found) <= 2.0
    else:
        assert units(found) == 0.0


@pytest.mark.parametrize("name", ROUNDED)
def test_sums_exponentials_and_logarithms_agree_within_two_units(name: str) -> None:
    _, found, _ = fitted(ROUNDED[name])
    assert units(found) <= 2.0


@pytest.mark.parametrize("name", PLAIN)
def test_plain_sums_agree_within_two_units_of_what_is_summed(name: str) -> None:
    # The terms cancel, so a result may be far smaller than they are, and its last place with it.
    pipeline, found, table = fitted(PLAIN[name])
    model, matrix = pipeline[-1], pipeline[:-1].transform(table)
    if isinstance(model, MLPRegressor):
        # An error of a hidden unit is at most as large behind its activation as before it.
        scale = np.abs(matrix)
        for weights, bias in zip(model.coefs_, model.intercepts_, strict=True):
            scale = scale @ np.abs(weights) + np.abs(bias)
    else:
        kernel = rbf_kernel if name == "rbf" else sigmoid_kernel
        gamma = {"gamma": model._gamma} | ({} if name == "rbf" else {"coef0": model.coef0})
        values = kernel(matrix, model.support_vectors_, **gamma)
        scale = np.abs(values) @ np.abs(model.dual_coef_[0]) + np.abs(model.intercept_[0])
    assert units(found, scale.reshape(found["rows"].shape)) <= 2.0
