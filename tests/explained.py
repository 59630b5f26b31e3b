"""Models whose explanations are compared with those of ``shap``: fitted alike in its environment and ours."""

from __future__ import annotations

from typing import Any

import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.tree import DecisionTreeRegressor

ROWS = 5
"""Rows that are explained."""
MODELS: dict[str, tuple[Any, Any, int]] = {
    "ridge": (load_diabetes, Ridge(), 0),
    "logistic": (load_breast_cancer, LogisticRegression(solver="newton-cholesky"), 0),
    "logistic-multiclass": (load_iris, LogisticRegression(max_iter=500), 2),
    "tree": (load_diabetes, DecisionTreeRegressor(max_depth=12, random_state=0), 0),
    "forest": (load_diabetes, RandomForestRegressor(20, random_state=0), 0),
    "forest-classes": (load_iris, RandomForestClassifier(20, random_state=0), 1),
    "extra-trees-classes": (load_breast_cancer, ExtraTreesClassifier(20, random_state=0), 1),
    "gradient": (load_diabetes, GradientBoostingRegressor(n_estimators=60, random_state=0), 0),
    "gradient-classes": (load_breast_cancer, GradientBoostingClassifier(n_estimators=40, random_state=0), 0),
    "histogram": (load_diabetes, HistGradientBoostingRegressor(max_iter=60, random_state=0), 0),
    "histogram-classes": (load_breast_cancer, HistGradientBoostingClassifier(max_iter=60, random_state=0), 0),
}
"""By name: data, estimator, and which output is explained. Fits are the same on one machine and versions."""


def fitted(name: str) -> tuple[Any, pd.DataFrame, Any]:
    """Return the fitted estimator, its table and target; one value in ten is missing for histograms."""
    load, estimator, _ = MODELS[name]
    data = load()
    frame = pd.DataFrame(data.data, columns=[f"x{j}" for j in range(data.data.shape[1])])
    if name.startswith("histogram"):
        holes = (frame.index.to_numpy()[:, None] * 7 + range(frame.shape[1])) % 10 == 0
        frame = frame.mask(holes)
    return estimator.fit(frame, data.target), frame, data.target
