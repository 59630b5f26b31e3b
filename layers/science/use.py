"""Use what the science layer carries as ``train`` and ``select`` do: each transformer and estimator."""

import importlib.metadata

import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, r2_score, roc_auc_score, roc_curve
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

rng = np.random.default_rng(0)
rows = 60
frame = pd.DataFrame(
    {
        "number": np.where(rng.random(rows) < 0.1, np.nan, rng.random(rows)),
        "category": pd.Series(rng.choice(["a", "b", "c"], rows), dtype=object),
        "text": pd.Series(rng.choice(["red wine", "white wine", "grape"], rows), dtype=object),
    }
)
labels = (rng.random(rows) < 0.5).astype(np.int32)
features = ColumnTransformer(
    [
        ("number", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["number"]),
        ("category", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2), ["category"]),
        ("code", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["category"]),
        ("text", TfidfVectorizer(max_features=10), "text"),
    ],
    sparse_threshold=0.0,
)
classifiers = (
    LogisticRegression(),
    RandomForestClassifier(5),
    ExtraTreesClassifier(5),
    HistGradientBoostingClassifier(max_iter=5),
    DummyClassifier(),
)
regressors = (Ridge(), RandomForestRegressor(5), HistGradientBoostingRegressor(max_iter=5), DummyRegressor())
for estimator in classifiers:
    pipeline = Pipeline([("features", features), ("estimator", estimator)])
    probability = cross_val_predict(
        pipeline, frame, labels, cv=StratifiedKFold(2, shuffle=True, random_state=0), method="predict_proba"
    )
    assert 0 <= roc_auc_score(labels, probability[:, 1]) <= 1 and log_loss(labels, probability) > 0
    assert len(roc_curve(labels, probability[:, 1])) == 3
    assert len(calibration_curve(labels, probability[:, 1], n_bins=3)) == 2
for estimator in regressors:
    pipeline = Pipeline([("features", features), ("estimator", estimator)])
    predicted = cross_val_predict(pipeline, frame, frame.index.to_numpy(dtype=float), cv=KFold(2))
    assert np.isfinite(r2_score(frame.index, predicted))
    pipeline.fit(frame, labels)
assert permutation_importance(pipeline, frame, labels, n_repeats=2, random_state=0).importances.shape == (
    3,
    2,
)
for name in ("scikit-learn", "pandas", "numpy", "scipy", "joblib"):
    assert importlib.metadata.version(name)
