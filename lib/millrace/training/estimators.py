"""Estimators: what a candidate is in scikit-learn, bounded by the limits of a budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC

from millrace.contracts import TWEEDIE_POWER, Loss, Schema
from millrace.features.candidates import Candidate
from millrace.features.limits import Limits, boosting_rounds, forest_size, network_epochs, split_columns

__all__ = ["Builder", "fitted_network", "scale_of"]

Floats = NDArray[np.float64]

SMALL_TABLE = 5_000
QUANTILE_PENALTY = 0.001
BOOSTED_LOSS: Mapping[Loss, str] = {
    "squared": "squared_error",
    "absolute": "absolute_error",
    "quantile": "quantile",
    "poisson": "poisson",
    "gamma": "gamma",
    "tweedie": "poisson",
}
"""scikit-learn's names; it has no boosting for Tweedie, whose mean Poisson's loss finds as well."""
CLASS_POWER: Mapping[str, float] = {"balanced_accuracy": 1.0, "f1_macro": 0.5}
"""By metrics in which small classes count as much as large ones: the power of a class's rarity that weighs
its rows. Balanced accuracy is best at the first power; F1 trades it against the large classes' precision."""


@dataclass(frozen=True)
class Builder:
    """Makes the unfitted estimator of a candidate.

    Attributes
    ----------
    candidate : Candidate
        What to make.
    schema : Schema
        Task, classes and metric.
    limits : Limits
        Bounds of the budget.
    seed : int
        Seed of everything random in it.
    """

    candidate: Candidate
    schema: Schema
    limits: Limits
    seed: int

    def build(
        self, shape: tuple[int, int], target: NDArray[Any], *, native: int = 0, rounds: int | None = None
    ) -> BaseEstimator:
        """Return the estimator for a matrix of this shape.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns.
        target : ndarray of shape (rows,)
            Class codes, whose shares may weigh the classes, or values.
        native : int
            How many of the first columns boosted trees split as categories.
        rounds : int, optional
            Boosting rounds; as many as the limits allow without it.
        """
        kind = self.candidate.kind
        weights = self._class_weight(target)
        if kind == "linear":
            return self._linear(weights)
        if kind == "log_linear":
            return self._log_linear()
        if kind == "boosted":
            most = boosting_rounds(self.limits, shape[0], shape[1], self._outputs)
            return self._boosted(shape, native, rounds or most, weights)
        if kind == "network":
            return self._network(shape[0])
        if kind == "vectors":
            vectors = SVC(C=3.0, gamma="scale", class_weight=weights, random_state=self.seed)
            return CalibratedClassifierCV(vectors, method="sigmoid", cv=3, ensemble=False)
        return self._forest(shape, weights)

    @property
    def _outputs(self) -> int:
        return len(self.schema.classes) if self.schema.task == "multiclass" else 1

    def _setting(self, name: str, default: float) -> float:
        return self.candidate.settings.get(name, default)

    def _class_weight(self, target: NDArray[Any]) -> dict[int, float] | None:
        power = CLASS_POWER.get(self.schema.metric, 0.0)
        # Where the spec says how classes count, the rows' weights say it.
        if self.schema.task == "regression" or not power or self.schema.class_weight is not None:
            return None
        codes, counts = np.unique(target.astype(np.intp), return_counts=True)
        rarity = (len(target) / (len(codes) * counts)) ** power
        return dict(zip(codes.tolist(), rarity.tolist(), strict=True))

    def _linear(self, weights: dict[int, float] | None) -> BaseEstimator:
        penalty = self._setting("penalty", 1.0)
        if self.schema.loss == "quantile":
            return QuantileRegressor(quantile=self.schema.quantile, alpha=penalty * QUANTILE_PENALTY)
        if self.schema.task == "regression":
            return Ridge(alpha=penalty)
        return LogisticRegression(C=1.0 / penalty, max_iter=200, class_weight=weights)

    def _log_linear(self) -> BaseEstimator:
        settings = {"alpha": 0.01, "max_iter": 300}
        if self.schema.loss == "gamma":
            return GammaRegressor(**settings)
        if self.schema.loss == "tweedie":
            return TweedieRegressor(power=TWEEDIE_POWER, link="log", **settings)
        return PoissonRegressor(**settings)

    def _forest(self, shape: tuple[int, int], weights: dict[int, float] | None) -> BaseEstimator:
        rows, columns = shape
        regression = self.schema.task == "regression"
        looked_at = split_columns(columns, regression=regression, share=self._setting("columns", 1.0))
        outputs = 1 if regression else len(self.schema.classes)
        trees, leaves = forest_size(self.limits, rows, looked_at, outputs)
        sampled = rows > self.limits.tree_rows
        settings: dict[str, Any] = {
            "n_estimators": trees,
            "max_leaf_nodes": leaves,
            "min_samples_leaf": int(self._setting("fewest", 2)),
            "max_features": looked_at,
            "max_samples": self.limits.tree_rows if sampled else None,
            "random_state": self.seed,
            "n_jobs": 1,
        }
        if not regression:
            settings["class_weight"] = weights
        if self.candidate.kind == "extra_trees":
            kind = ExtraTreesRegressor if regression else ExtraTreesClassifier
            return kind(bootstrap=sampled, **settings)
        kind = RandomForestRegressor if regression else RandomForestClassifier
        return kind(**settings)

    def _boosted(
        self, shape: tuple[int, int], native: int, rounds: int, weights: dict[int, float] | None
    ) -> BaseEstimator:
        rows, columns = shape
        small = rows < SMALL_TABLE
        # Small tables gain by small steps and shallow trees; large ones need neither and would pay for them.
        step = self._setting("step", 0.05 if small and self._outputs == 1 else 0.1)
        leaves = int(self._setting("leaves", 31))
        settings: dict[str, Any] = {
            "learning_rate": step,
            "max_iter": rounds,
            "max_leaf_nodes": min(leaves, 15 if leaves <= 31 else 31) if small else leaves,
            "min_samples_leaf": max(4, min(int(self._setting("fewest", 20)), rows // 25)),
            "l2_regularization": 5.0 if small else 1.0,
            "max_features": self._setting("columns", 0.5),
            "categorical_features": np.arange(columns) < native,
            "early_stopping": False,
            "random_state": self.seed,
        }
        if self.schema.task == "regression":
            loss = BOOSTED_LOSS[self.schema.loss]
            if self._setting("log", 0) and loss in ("squared_error", "absolute_error"):
                loss = "poisson"
            return HistGradientBoostingRegressor(loss=loss, quantile=self.schema.quantile, **settings)
        return HistGradientBoostingClassifier(class_weight=weights, **settings)

    def _network(self, rows: int) -> BaseEstimator:
        width, second = int(self._setting("width", 64)), int(self._setting("second", 0))
        batch, epochs = network_epochs(rows)
        settings: dict[str, Any] = {
            "hidden_layer_sizes": (width, second) if second else (width,),
            "alpha": self._setting("penalty", 0.03),
            "learning_rate_init": 0.003,
            "batch_size": batch,
            "max_iter": epochs,
            "early_stopping": rows >= 1_000,
            "validation_fraction": 0.1,
            "random_state": self.seed,
        }
        kind = MLPRegressor if self.schema.task == "regression" else MLPClassifier
        return kind(**settings)


def scale_of(target: Floats) -> tuple[float, float]:
    """Return the mean and the scale that a network of regression learns a target by."""
    return float(np.mean(target)), float(np.std(target)) or 1.0


def fitted_network(
    network: MLPRegressor, matrix: Any, target: Floats, weight: Floats | None = None
) -> MLPRegressor:
    """Fit a network of regression to a target of any scale.

    A network learns a target of mean 0 and variance 1. The last layer is linear, so that the scale and the
    mean go into its weights afterwards, and the network predicts the target itself.
    """
    center, scale = scale_of(target)
    network.fit(matrix, (target - center) / scale, sample_weight=weight)
    network.coefs_[-1] = network.coefs_[-1] * scale
    network.intercepts_[-1] = network.intercepts_[-1] * scale + center
    return network
