"""Pipelines: from a feature plan and a candidate's name to a fitted scikit-learn pipeline.

Every pipeline is ``Pipeline([("features", ColumnTransformer), ("estimator", …)])`` of the estimators
that the compiler covers, over the frame of :mod:`millrace.training.frame`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline

from millrace.contracts import Schema
from millrace.errors import BadInput
from millrace.features.candidates import candidate_family
from millrace.features.plan import feature_plan
from millrace.training.encoders import build_features, learnable
from millrace.training.limits import Limits, boosting_rounds, forest_size
from millrace.training.splits import Split, hold_out

__all__ = ["Fitted", "Learner", "predict"]

Floats = NDArray[np.float64]

EARLY_STOPPING_EVERY = 7
"""One row in seven tells a boosted model when to stop."""
SMALL_TABLE = 5_000
FOREST_FEATURES = 40
"""Most columns that a split of a regression forest looks at."""
PATIENCE = 20
"""Rounds without a better loss after which boosting stops."""


@dataclass(frozen=True)
class Fitted:
    """A fitted pipeline.

    Attributes
    ----------
    pipeline : Pipeline
        Features and estimator.
    rounds : int or None
        Boosting rounds after which its validation loss was best, when early stopping looked for them.
    """

    pipeline: Pipeline
    rounds: int | None = None


@dataclass(frozen=True)
class Learner:
    """One candidate on one schema: knows how to fit itself to any rows of the table.

    Attributes
    ----------
    name : str
        A key of :data:`millrace.features.candidates.CANDIDATES`.
    schema : Schema
        Columns and task.
    limits : Limits
        Bounds of the budget.
    seed : int
        Seed of everything random in it.
    """

    name: str
    schema: Schema
    limits: Limits
    seed: int

    def fit(
        self,
        frame: pd.DataFrame,
        target: NDArray[Any],
        record: NDArray[np.int64],
        *,
        time: Floats | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """Fit to all rows of ``frame``.

        Parameters
        ----------
        frame : DataFrame of shape (n, features)
            As :func:`millrace.training.frame.to_frame` makes it.
        target : ndarray of shape (n,)
            Class codes or values.
        record : ndarray of shape (n,)
            Record numbers, which place the rows that watch for early stopping.
        time : ndarray of shape (n,), optional
            Seconds; with it the latest rows watch.
        rounds : int, optional
            Boosting rounds. Without it a boosted model holds back one row of every seven to stop early.

        Notes
        -----
        Rows of a single class, which only an ordered split can bring, give the constant model of it.
        """
        family = candidate_family(self.name)
        classify = self.schema.task != "regression"
        watch = None
        if family == "boosted" and rounds is None:
            watch = _watching(record, target if classify else None, time, self.seed)
        seen = frame if watch is None else frame.iloc[watch.training]
        known = target if watch is None else target[watch.training]
        plan = learnable(feature_plan(self.schema, family), seen, known, len(self.schema.classes))
        features = build_features(plan, classify=classify, seed=self.seed)
        matrix = features.fit_transform(frame, target)
        if classify and np.unique(target).size < 2:
            return Fitted(_joined(features, DummyClassifier(strategy="prior").fit(matrix, target)))
        if family != "boosted":
            estimator = self._linear() if family == "linear" else self._forest(matrix.shape)
            with warnings.catch_warnings():
                # The solver's iterations are bounded on purpose; cross-validation judges the outcome.
                warnings.simplefilter("ignore", ConvergenceWarning)
                return Fitted(_joined(features, estimator.fit(matrix, target)))
        most = boosting_rounds(self.limits, matrix.shape[0], matrix.shape[1], self._outputs)
        booster = self._boosted(matrix.shape, len(plan.columns("native")), rounds or most)
        if watch is None:
            return Fitted(_joined(features, booster.fit(matrix, target)))
        booster.set_params(early_stopping=True, n_iter_no_change=PATIENCE).fit(
            matrix[watch.training],
            target[watch.training],
            X_val=matrix[watch.validation],
            y_val=target[watch.validation],
        )
        # Scores are negative losses, the first one before any round.
        best = int(np.argmax(booster.validation_score_))
        return Fitted(_joined(features, booster), max(1, best))

    @property
    def _outputs(self) -> int:
        return len(self.schema.classes) if self.schema.task == "multiclass" else 1

    def _linear(self) -> BaseEstimator:
        strong = self.name == "linear_strong"
        if self.schema.task == "regression":
            return Ridge(alpha=30.0 if strong else 1.0)
        return LogisticRegression(C=0.05 if strong else 1.0, max_iter=200)

    def _forest(self, shape: tuple[int, int]) -> BaseEstimator:
        rows, columns = shape
        regression = self.schema.task == "regression"
        looked_at = min(round(0.6 * columns), FOREST_FEATURES) if regression else round(columns**0.5)
        outputs = 1 if regression else len(self.schema.classes)
        trees, leaves = forest_size(self.limits, rows, max(1, looked_at), outputs)
        sampled = rows > self.limits.tree_rows
        settings: dict[str, Any] = {
            "n_estimators": trees,
            "max_leaf_nodes": leaves,
            "min_samples_leaf": 2,
            "max_features": max(1, looked_at),
            "max_samples": self.limits.tree_rows if sampled else None,
            "random_state": self.seed,
            "n_jobs": 1,
        }
        if self.name == "extra_trees":
            kind = ExtraTreesRegressor if regression else ExtraTreesClassifier
            return kind(bootstrap=sampled, **settings)
        kind = RandomForestRegressor if regression else RandomForestClassifier
        return kind(**settings)

    def _boosted(self, shape: tuple[int, int], native: int, rounds: int) -> BaseEstimator:
        rows, columns = shape
        small = rows < SMALL_TABLE
        # Small tables gain by small steps and shallow trees; large ones need neither and would pay for them.
        step = 0.05 if small and self._outputs == 1 else 0.1
        kind = (
            HistGradientBoostingRegressor
            if self.schema.task == "regression"
            else HistGradientBoostingClassifier
        )
        return kind(
            learning_rate=step / 3.0 if self.name == "boosted_trees_slow" else step,
            max_iter=rounds,
            max_leaf_nodes=15 if small else 31,
            min_samples_leaf=max(4, min(20, rows // 25)),
            l2_regularization=5.0 if small else 1.0,
            max_features=0.5,
            categorical_features=np.arange(columns) < native,
            early_stopping=False,
            random_state=self.seed,
        )


def _watching(
    record: NDArray[np.int64], codes: NDArray[np.int32] | None, time: Floats | None, seed: int
) -> Split | None:
    try:
        return hold_out(record, codes=codes, time=time, seed=seed + 1, every=EARLY_STOPPING_EVERY)
    except BadInput:  # too few rows to spare any: the bound on the rounds has to do
        return None


def _joined(features: ColumnTransformer, estimator: BaseEstimator) -> Pipeline:
    return Pipeline([("features", features), ("estimator", estimator)])


def predict(pipeline: Pipeline, frame: pd.DataFrame, schema: Schema) -> Floats:
    """Return predictions over all classes of the schema.

    Returns
    -------
    ndarray of shape (n, classes) or (n,)
        Probabilities in the order of ``schema.classes``, 0 for a class that the pipeline never saw;
        for regression the predicted values.
    """
    if schema.task == "regression":
        return np.asarray(pipeline.predict(frame), dtype=np.float64)
    aligned = np.zeros((len(frame), len(schema.classes)))
    aligned[:, pipeline.classes_.astype(np.intp)] = pipeline.predict_proba(frame)
    return aligned
