"""Ensembles: which candidates answer together, with which weights, and how their answer is calibrated.

The members are chosen greedily and with replacement on their out-of-fold predictions [1]_: each step adds
the candidate that makes the mean of all that were added best, and how often one was added is its weight. The
calibration is chosen by log loss: each method learns from all folds but one and is judged on that one [2]_.

References
----------
.. [1] R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble selection from libraries of models",
   ICML 2004.
.. [2] A. Niculescu-Mizil, R. Caruana, "Predicting good probabilities with supervised learning", ICML 2005.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.preprocessing import LabelEncoder

from millrace.contracts import Schema
from millrace.features.candidates import Family, candidate
from millrace.features.limits import Limits
from millrace.training.metrics import REGISTRY, log_losses, score
from millrace.training.newton import set_weights
from millrace.training.pipeline import Encoded, Learner, Rows, joined
from millrace.training.splits import Split
from millrace.training.turns import Fits

__all__ = [
    "Calibration",
    "Group",
    "Method",
    "calibration",
    "choose",
    "families_of",
    "fit_ensemble",
    "together",
]

Floats = NDArray[np.float64]
Method = Literal["none", "sigmoid", "isotonic", "temperature"]

STEPS = 30
"""Additions; a weight is a multiple of one part in as many at most."""
LEAST_WEIGHT = 0.05
"""A member with less weight costs more than it gives."""
CHOICE_ROWS = 40_000
"""Most rows that weights and calibration are chosen on, evenly spread."""
ISOTONIC_ROWS = 1_000
"""Fewest rows of each class for a calibration that learns a curve."""
FEWEST_CLASS_ROWS = 10
"""Fewest rows of each class for any calibration."""


def choose(
    metric: str, truth: NDArray[Any], predictions: Mapping[str, Floats], *, most: int
) -> dict[str, float]:
    """Return the members of the ensemble and their weights.

    Parameters
    ----------
    metric : str
        What is to become best. Between classifications that are equally right, log loss decides.
    truth : ndarray of shape (n,)
        Class codes or values.
    predictions : mapping of str to ndarray
        By name, shape (n, classes) or (n,); a row with a NaN is left out. The order decides ties.
    most : int
        Members at most.

    Returns
    -------
    dict of str to float
        Weights that add up to 1, the heaviest first.
    """
    names = list(predictions)
    there = np.ones(len(truth), dtype=bool)
    for values in predictions.values():
        there &= np.isfinite(values.reshape(len(truth), -1)).all(axis=1)
    rows = np.flatnonzero(there)
    rows = rows[:: -(-len(rows) // CHOICE_ROWS)]
    truth = truth[rows]
    known = {name: predictions[name][rows] for name in names}
    sign = -1.0 if REGISTRY[metric].greater_is_better else 1.0
    classify = known[names[0]].ndim == 2

    def loss(prediction: Floats) -> tuple[float, float]:
        first = sign * score(metric, truth, prediction)
        return (first, score("log_loss", truth, prediction) if classify else 0.0)

    total = np.zeros_like(known[names[0]])
    added: list[str] = []
    best: tuple[tuple[float, float], int] | None = None
    for step in range(STEPS if most > 1 else 1):
        allowed = names if len(set(added)) < most else [name for name in names if name in added]
        losses = [(loss((total + known[name]) / (step + 1)), i, name) for i, name in enumerate(allowed)]
        found, _, name = min(losses)
        total = total + known[name]
        added.append(name)
        if best is None or found < best[0]:
            best = found, len(added)
    assert best is not None
    added = added[: best[1]]
    counts = {name: added.count(name) for name in names if name in added}
    kept = {name: n for name, n in counts.items() if n >= LEAST_WEIGHT * len(added)}
    whole = sum(kept.values())
    return {name: n / whole for name, n in sorted(kept.items(), key=lambda item: -item[1])}


@dataclass(frozen=True)
class Calibration:
    """How probabilities are calibrated.

    Attributes
    ----------
    method : Method
        The method of the least log loss, unless it is within its error of none.
    log_loss : mapping of str to float
        By method that was tried, in nats.
    calibrators : tuple
        Fitted scikit-learn calibrators; empty for ``"none"``.
    """

    method: Method = "none"
    log_loss: Mapping[str, float] = field(default_factory=dict)
    calibrators: tuple[Any, ...] = ()

    def arrays(self) -> dict[str, Floats]:
        """Return the calibrators as arrays, by number and name."""
        return {
            f"{i}-{name}": np.atleast_1d(np.asarray(getattr(one, name), dtype=np.float64))
            for i, one in enumerate(self.calibrators)
            for name in _CALIBRATORS[self.method]
        }

    @classmethod
    def of(cls, method: Method, log_loss: Mapping[str, float], arrays: Mapping[str, Floats]) -> Calibration:
        """Return the calibration of which :meth:`arrays` returned these."""
        numbers = sorted({int(name.partition("-")[0]) for name in arrays})
        found = []
        for i in numbers:
            values = [arrays[f"{i}-{name}"] for name in _CALIBRATORS[method]]
            if method == "isotonic":
                # Of points that ascend, the fit is these points.
                found.append(IsotonicRegression(out_of_bounds="clip").fit(*values))
                continue
            shell = _calibrated(np.full((4, 2), 0.5), np.array([0, 1, 0, 1]), method)
            one = shell.calibrated_classifiers_[0].calibrators[0]
            for name, value in zip(_CALIBRATORS[method], values, strict=True):
                setattr(one, name, float(value[0]))
            found.append(one)
        return cls(method, log_loss, tuple(found))


def calibration(truth: NDArray[Any], probabilities: Floats, folds: Sequence[Split]) -> Calibration:
    """Choose a calibration for out-of-fold probabilities.

    Parameters
    ----------
    truth : ndarray of shape (n,)
        Class codes.
    probabilities : ndarray of shape (n, classes)
        Out-of-fold; NaN for a row that no fold validated.
    folds : sequence of Split
        Which rows each fold validated.

    Notes
    -----
    With ordered folds a method is judged on a fold by what it learned from the others, later ones too: a
    calibration has one to a few numbers, which hold no memory of rows.
    """
    parts = [part.validation for part in folds]
    rows = np.concatenate(parts)
    smallest = np.bincount(truth[rows].astype(np.intp), minlength=probabilities.shape[1]).min()
    if smallest < FEWEST_CLASS_ROWS or len(parts) < 2:
        return Calibration()
    every = -(-len(rows) // CHOICE_ROWS)
    parts = [part[::every] for part in parts]
    rows = np.concatenate(parts)
    methods: list[Method] = ["sigmoid", "temperature"]
    if smallest >= ISOTONIC_ROWS:
        methods.append("isotonic")
    of_row = {"none": log_losses(truth[rows], probabilities[rows])}
    for method in methods:
        losses = []
        for i, part in enumerate(parts):
            others = np.concatenate([other for j, other in enumerate(parts) if j != i])
            if np.unique(truth[others]).size < probabilities.shape[1]:
                return Calibration()
            learned = _calibrated(probabilities[others], truth[others], method)
            losses.append(log_losses(truth[part], learned.predict_proba(probabilities[part])))
        of_row[method] = np.concatenate(losses)
    mean = {method: float(losses.mean()) for method, losses in of_row.items()}
    best = min(methods, key=lambda method: mean[method])
    gain = of_row["none"] - of_row[best]
    if gain.mean() <= gain.std() / len(gain) ** 0.5:
        return Calibration(log_loss=mean)
    fitted = _calibrated(probabilities[rows], truth[rows], best)
    return Calibration(best, mean, tuple(fitted.calibrated_classifiers_[0].calibrators))


_CALIBRATORS: Mapping[Method, tuple[str, ...]] = {
    "none": (),
    "sigmoid": ("a_", "b_"),
    "temperature": ("beta_",),
    "isotonic": ("X_thresholds_", "y_thresholds_"),
}
"""What a calibrator of scikit-learn has learned."""


class _Known(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose rows are its answers: out-of-fold probabilities for a calibration to learn from."""

    def fit(self, X: Floats, y: NDArray[Any]) -> Self:
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Floats) -> Floats:
        return X

    def predict(self, X: Floats) -> NDArray[Any]:
        chosen: NDArray[Any] = self.classes_[X.argmax(axis=1)]
        return chosen


def _calibrated(probabilities: Floats, truth: NDArray[Any], method: str) -> CalibratedClassifierCV:
    rows = np.arange(len(truth))
    known = FrozenEstimator(_Known().fit(probabilities, truth))
    return CalibratedClassifierCV(known, method=method, cv=[(rows, rows)], ensemble=False).fit(
        probabilities, truth
    )


def fit_ensemble(
    weights: Mapping[str, float],
    rounds: Mapping[str, int | None],
    rows: Rows,
    schema: Schema,
    limits: Limits,
    *,
    seed: int,
    calibration: Calibration | None = None,
    exact: Mapping[str, Floats] | None = None,
    fits: Fits | None = None,
    keep: Callable[[Encoded, Mapping[str, Any]], None] | None = None,
) -> Any:
    """Fit the members to all rows and put them together.

    Members of one family share their features: they are fitted, stored and computed once. So an ensemble is
    a mean over families of pipelines that end in a mean over members.

    Parameters
    ----------
    weights : mapping of str to float
        By candidate; a single one is the model itself.
    rounds : mapping of str to int or None
        Boosting rounds, by candidate.
    rows : Rows
        What to fit to.
    schema : Schema
        Columns and task.
    limits : Limits
        Bounds of the budget.
    seed : int
        Seed of everything random.
    calibration : Calibration, optional
        Put around the whole.
    exact : mapping of str to ndarray of shape (outputs, columns + 1), optional
        Weights, the intercept last, of members that were fitted to more rows than these.
    fits : Fits, optional
        What earlier invocations fitted of this, by name, and the time of this one.
    keep : callable, optional
        Is given the rows that each family's members were fitted to, and these by name.

    Returns
    -------
    estimator
        Fitted, over frames; the compiler covers it.

    Raises
    ------
    NotDone
        There is no time left, and the next invocation goes on with ``fits``.
    """
    groups: list[Group] = []
    for family, names in families_of(weights).items():
        encoded = Encoded.of(rows, schema, family, seed=seed, watched=False)
        members = {}
        for name in names:
            learner = Learner(name, schema, limits, seed)
            fitted = learner.fit(encoded, rows.target, rounds=rounds[name], fits=fits, place=name)
            members[name] = fitted.estimator
        groups.append(Group(encoded.features, members))
        if keep is not None:
            keep(encoded, members)
    for group in groups:
        for name, estimator in group.members.items():
            if exact and name in exact:
                set_weights(estimator, exact[name])
    return together(groups, weights, schema, calibration)


@dataclass(frozen=True)
class Group:
    """The fitted members of one family, by name, and their features."""

    features: ColumnTransformer
    members: Mapping[str, Any]


def families_of(names: Iterable[str]) -> dict[Family, list[str]]:
    """Return candidates by family, in the order of their first ones."""
    found: dict[Family, list[str]] = {}
    for name in names:
        found.setdefault(candidate(name).family, []).append(name)
    return found


def together(
    groups: Sequence[Group], weights: Mapping[str, float], schema: Schema, calibration: Calibration | None
) -> Any:
    """Return the weighted mean of fitted members, with the calibration around it, as :func:`fit_ensemble`."""
    pipelines: list[tuple[str, Any]] = []
    shares: list[float] = []
    for group in groups:
        members = list(group.members.items())
        inside = members[0][1]
        if len(members) > 1:
            inside = _mean(members, [weights[name] for name, _ in members], schema)
        pipelines.append((candidate(members[0][0]).family, joined(group.features, inside)))
        shares.append(sum(weights[name] for name, _ in members))
    model = pipelines[0][1] if len(pipelines) == 1 else _mean(pipelines, shares, schema)
    if calibration is None or calibration.method == "none":
        return model
    if hasattr(model, "decision_function"):
        # A calibration would prefer it to the probabilities; a mean of one has these alone.
        model = _mean([("all", model)], [1.0], schema)
    return _around(model, calibration)


def _mean(members: Sequence[tuple[str, Any]], weights: Sequence[float], schema: Schema) -> Any:
    """Return the weighted mean of fitted estimators."""
    total = sum(weights)
    shares = [weight / total for weight in weights]
    fitted = [estimator for _, estimator in members]
    if schema.task == "regression":
        mean = VotingRegressor(list(members), weights=shares)
    else:
        mean = VotingClassifier(list(members), voting="soft", weights=shares)
        mean.classes_ = fitted[0].classes_
        mean.le_ = LabelEncoder().fit(mean.classes_)
    mean.estimators_ = fitted
    if hasattr(fitted[0], "feature_names_in_"):
        mean.feature_names_in_ = fitted[0].feature_names_in_
    return mean


def _around(model: Any, calibration: Calibration) -> Any:
    """Return the model with its calibration."""
    count = len(model.classes_)
    even = np.full((2 * count, count), 1.0 / count)
    shell = _calibrated(even, np.tile(model.classes_, 2), calibration.method)
    pair = shell.calibrated_classifiers_[0]
    pair.estimator, pair.calibrators = model, list(calibration.calibrators)
    shell.estimator = FrozenEstimator(model)
    shell.feature_names_in_ = model.feature_names_in_
    return shell
