"""Pipelines: from a feature plan and a candidate's name to a fitted scikit-learn pipeline.

Every pipeline is ``Pipeline([("features", ColumnTransformer), ("estimator", …)])`` of the estimators
that the compiler covers, over the frame of :mod:`millrace.training.frame`.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline

from millrace.contracts import Schema
from millrace.errors import BadInput
from millrace.features.candidates import Candidate, Family, candidate
from millrace.features.limits import Limits
from millrace.features.plan import feature_plan
from millrace.training.encoders import build_features, learnable
from millrace.training.estimators import Builder, fitted_network
from millrace.training.splits import Split, hold_out
from millrace.training.turns import Fits

__all__ = ["Encoded", "Fitted", "Learner", "Rows", "joined", "predict"]

Floats = NDArray[np.float64]

EARLY_STOPPING_EVERY = 7
"""One row in seven tells a boosted model when to stop."""
PATIENCE = 20
"""Rounds without a better loss after which boosting stops."""


@dataclass(frozen=True)
class Rows:
    """Rows to fit to.

    Attributes
    ----------
    frame : DataFrame of shape (n, features)
        As :func:`millrace.training.frame.to_frame` makes it.
    target : ndarray of shape (n,)
        Class codes or values.
    record : ndarray of shape (n,)
        Record numbers, which place the rows that watch for early stopping.
    time : ndarray of shape (n,), optional
        Seconds; with it the latest rows watch.
    group : ndarray of shape (n,), optional
        Numbers of groups, none of which both learns and watches.
    weight : ndarray of shape (n,), optional
        How much each row counts; alike without it.
    """

    frame: pd.DataFrame
    target: NDArray[Any]
    record: NDArray[np.int64]
    time: Floats | None = None
    group: NDArray[np.int64] | None = None
    weight: Floats | None = None

    def take(self, positions: NDArray[np.intp]) -> Rows:
        """Return the rows at these positions."""
        return Rows(
            self.frame.iloc[positions],
            self.target[positions],
            self.record[positions],
            time=None if self.time is None else self.time[positions],
            group=None if self.group is None else self.group[positions],
            weight=None if self.weight is None else self.weight[positions],
        )


@dataclass(frozen=True)
class Encoded:
    """What the features of one family make of rows: estimators of that family are fitted to it.

    Attributes
    ----------
    features : ColumnTransformer
        Fitted.
    matrix : ndarray or sparse matrix of shape (n, columns)
        The encoded rows.
    native : int
        How many of the first columns hold categories that boosted trees split as sets.
    watch : Split or None
        Rows that learn and rows that watch for early stopping; None when all of them learn.
    weight : ndarray of shape (n,), optional
        How much each row counts.
    """

    features: ColumnTransformer
    matrix: Any
    native: int
    watch: Split | None = None
    weight: Floats | None = None

    @classmethod
    def of(cls, rows: Rows, schema: Schema, family: Family, *, seed: int, watched: bool) -> Encoded:
        """Fit the features of a family.

        Parameters
        ----------
        rows : Rows
            What to fit to.
        schema : Schema
            Columns and task.
        family : Family
            Whose features.
        seed : int
            Chooses the rows that watch.
        watched : bool
            Whether boosted trees hold back one row of every seven to stop early.
        """
        watch = None
        if watched and family == "boosted":
            watch = _watching(rows, schema, seed)
        seen = rows.frame if watch is None else rows.frame.iloc[watch.training]
        known = rows.target if watch is None else rows.target[watch.training]
        plan = learnable(feature_plan(schema, family), seen, known, len(schema.classes))
        features = build_features(plan, classify=schema.task != "regression", seed=seed)
        matrix = features.fit_transform(rows.frame, rows.target)
        return cls(features, matrix, len(plan.columns("native")), watch, rows.weight)


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator.

    Attributes
    ----------
    estimator : BaseEstimator
        Takes the encoded rows.
    rounds : int or None
        Boosting rounds after which its validation loss was best, when early stopping looked for them.
    """

    estimator: BaseEstimator
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

    @property
    def candidate(self) -> Candidate:
        """What the name stands for."""
        return candidate(self.name)

    def fit(
        self,
        encoded: Encoded,
        target: NDArray[Any],
        *,
        rounds: int | None = None,
        fits: Fits | None = None,
        place: str = "",
    ) -> Fitted:
        """Fit to encoded rows.

        Parameters
        ----------
        encoded : Encoded
            Rows under the features of the candidate's family.
        target : ndarray of shape (n,)
            Class codes or values.
        rounds : int, optional
            Boosting rounds. Without it a boosted model stops early, where there are rows that watch.
        fits : Fits, optional
            Of which this is one: what earlier invocations fitted is not fitted again; boosting stops when
            there is no time left, and the next invocation goes on.
        place : str
            Which of them it is.

        Raises
        ------
        NotDone
            The next invocation goes on.

        Notes
        -----
        Rows of a single class, which only an ordered split can bring, give the constant model of it.
        """
        matrix, watch, weight = encoded.matrix, encoded.watch, encoded.weight
        if self.schema.task != "regression" and np.unique(target).size < 2:
            return Fitted(DummyClassifier(strategy="prior").fit(matrix, target, weight))
        builder = Builder(self.candidate, self.schema, self.limits, self.seed)
        estimator = builder.build(matrix.shape, target, native=encoded.native, rounds=rounds)
        fits = fits or Fits()
        if self.candidate.kind != "boosted":
            if not fits.restored(place, estimator, matrix, target):
                began = time.perf_counter()
                _fit(estimator, matrix, target, weight)
                fits.hold(place, estimator, time.perf_counter() - began)
            return Fitted(estimator)
        if watch is None or rounds is not None:
            fits.fit(place, estimator, matrix, target, sample_weight=weight)
            return Fitted(estimator)
        fits.fit(
            place,
            estimator.set_params(early_stopping=True, n_iter_no_change=PATIENCE),
            matrix[watch.training],
            target[watch.training],
            sample_weight=None if weight is None else weight[watch.training],
            sample_weight_val=None if weight is None else weight[watch.validation],
            X_val=matrix[watch.validation],
            y_val=target[watch.validation],
        )
        # Scores are negative losses, the first one before any round.
        return Fitted(estimator, max(1, int(np.argmax(estimator.validation_score_))))

    def pipeline(self, rows: Rows, *, rounds: int | None = None) -> Pipeline:
        """Fit features and estimator to rows; ``rounds`` as in :meth:`fit`."""
        watched = rounds is None
        encoded = Encoded.of(rows, self.schema, self.candidate.family, seed=self.seed, watched=watched)
        return joined(encoded.features, self.fit(encoded, rows.target, rounds=rounds).estimator)


def _fit(estimator: Any, matrix: Any, target: NDArray[Any], weight: Floats | None) -> None:
    with warnings.catch_warnings():
        # The solver's iterations are bounded on purpose; cross-validation judges the outcome.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if isinstance(estimator, MLPRegressor):
            fitted_network(estimator, matrix, target, weight)
        else:
            estimator.fit(matrix, target, sample_weight=weight)


def _watching(rows: Rows, schema: Schema, seed: int) -> Split | None:
    codes = None if schema.task == "regression" else rows.target
    try:
        return hold_out(
            rows.record,
            codes=codes,
            time=rows.time,
            group=rows.group,
            seed=seed + 1,
            every=EARLY_STOPPING_EVERY,
        )
    except BadInput:  # too few rows to spare any: the bound on the rounds has to do
        return None


def joined(features: ColumnTransformer, estimator: BaseEstimator) -> Pipeline:
    """Return the fitted pipeline of features and an estimator."""
    return Pipeline([("features", features), ("estimator", estimator)])


def predict(model: Any, rows: Any, schema: Schema) -> Floats:
    """Return predictions over all classes of the schema.

    Parameters
    ----------
    model : estimator
        A pipeline over frames, or an estimator over encoded rows.
    rows : DataFrame or matrix
        What the model takes.
    schema : Schema
        Task and classes.

    Returns
    -------
    ndarray of shape (n, classes) or (n,)
        Probabilities in the order of ``schema.classes``, 0 for a class that the model never saw;
        for regression the predicted values.
    """
    if schema.task == "regression":
        return np.asarray(model.predict(rows), dtype=np.float64)
    aligned = np.zeros((rows.shape[0], len(schema.classes)))
    aligned[:, model.classes_.astype(np.intp)] = model.predict_proba(rows)
    return aligned
