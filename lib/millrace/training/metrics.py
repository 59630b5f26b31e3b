"""Metrics: how good predictions are, over all classes of the schema, defined on any rows.

Written out in numpy rather than called in scikit-learn because a fold or a hold-out may lack a class:
here every metric takes codes into the schema's classes and probabilities over all of them. The tests
compare each with scikit-learn's where scikit-learn defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import DEVIANCES, LOWER_IS_BETTER, METRICS, PINBALL, TWEEDIE_POWER, Task
from millrace.errors import BadInput

__all__ = [
    "REGISTRY",
    "Metric",
    "Scorer",
    "best_first",
    "evaluate",
    "log_losses",
    "metric_for",
    "names_of",
    "score",
]

Floats = NDArray[np.float64]
Scorer = Callable[[Floats | None], float]


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    Attributes
    ----------
    name : str
        As in :data:`millrace.contracts.METRICS`.
    prepare : callable
        ``(truth, prediction) -> scorer``. Classification: codes of shape (n,) and probabilities of shape
        (n, classes). Regression: two arrays of shape (n,). The scorer takes weights of shape (n,) or None,
        and returns the metric, NaN where it is not defined: what does not depend on the weights is computed
        once for many of them.
    """

    name: str
    prepare: Callable[[NDArray[np.generic], Floats], Scorer]

    def compute(self, truth: NDArray[np.generic], prediction: Floats) -> float:
        """Return the metric of rows that count alike."""
        return self.prepare(truth, prediction)(None)

    @property
    def greater_is_better(self) -> bool:
        """Direction."""
        return self.name not in LOWER_IS_BETTER


def names_of(task: Task, metric: str | None = None) -> tuple[str, ...]:
    """Return the metrics of a task, and the one that the model was chosen by where it is another one."""
    return METRICS[task] if metric is None or metric in METRICS[task] else (metric, *METRICS[task])


def evaluate(
    task: Task, truth: NDArray[np.generic], prediction: Floats, metric: str | None = None
) -> dict[str, float | None]:
    """Return every metric of the task; ``None`` where a metric is not defined on these rows.

    Parameters
    ----------
    task : Task
        Decides the metrics.
    truth : ndarray of shape (n,)
        Codes into the schema's classes, or the target's values.
    prediction : ndarray of shape (n, classes) or (n,)
        Probabilities, or predicted values.
    metric : str, optional
        One more, of the loss that was asked for.
    """
    result: dict[str, float | None] = {}
    for name in names_of(task, metric):
        value = REGISTRY[name].compute(truth, prediction)
        result[name] = value if np.isfinite(value) else None
    return result


def score(metric: str, truth: NDArray[np.generic], prediction: Floats) -> float:
    """Return one metric, NaN where it is not defined; shapes as in :func:`evaluate`."""
    return REGISTRY[metric].compute(truth, prediction)


def metric_for(task: Task, wanted: str, truth: NDArray[np.generic]) -> str:
    """Return the metric to choose by: the wanted one, or one that is defined on ``truth``.

    The area under the curve needs two classes with rows, the coefficient of determination a target
    that varies. Without that, log loss or the root mean squared error decides.

    Raises
    ------
    BadInput
        The task has no metric of that name.
    """
    of_loss = task == "regression" and (wanted in DEVIANCES or wanted.startswith(PINBALL))
    if wanted not in METRICS[task] and not of_loss:
        raise BadInput(
            f"The metric {wanted!r} does not fit a {task} task",
            code="metric-unknown",
            where="spec.json, field 'metric'",
            remedy=f"Use one of {', '.join(METRICS[task])}.",
        )
    if wanted in ("poisson_deviance", "tweedie_deviance") and not np.asarray(truth).any():
        return "rmse"
    if wanted in ("roc_auc", "r2") and np.unique(truth).size < 2:
        return "rmse" if task == "regression" else "log_loss"
    return wanted


def best_first(metric: str, scores: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names ordered from the best score to the worst; equal scores keep their order."""
    sign = -1.0 if REGISTRY[metric].greater_is_better else 1.0
    return tuple(sorted(scores, key=lambda name: sign * scores[name]))


def _mean(values: NDArray[Any], weight: Floats | None) -> float:
    return float(np.mean(values)) if weight is None else float(values @ weight / weight.sum())


def _confusion(truth: NDArray[np.generic], probabilities: Floats) -> Callable[[Floats | None], Floats]:
    """Return what counts the rows by actual and answered class."""
    classes = probabilities.shape[1]
    cells = truth.astype(np.int64) * classes + probabilities.argmax(axis=1)

    def count(weight: Floats | None) -> Floats:
        flat = np.bincount(cells, weight, minlength=classes * classes)
        return flat.reshape(classes, classes).astype(np.float64)

    return count


def _accuracy(truth: NDArray[np.generic], probabilities: Floats) -> Scorer:
    right = probabilities.argmax(axis=1) == truth
    return lambda weight: _mean(right, weight)


def _balanced_accuracy(truth: NDArray[np.generic], probabilities: Floats) -> Scorer:
    confusion = _confusion(truth, probabilities)

    def compute(weight: Floats | None) -> float:
        matrix = confusion(weight)
        rows = matrix.sum(axis=1)
        present = rows > 0
        return float(np.mean(np.diag(matrix)[present] / rows[present]))

    return compute


def _f1_macro(truth: NDArray[np.generic], probabilities: Floats) -> Scorer:
    """Take the mean over the classes that were seen or predicted, as scikit-learn's ``f1_score`` does."""
    confusion = _confusion(truth, probabilities)

    def compute(weight: Floats | None) -> float:
        matrix = confusion(weight)
        both = matrix.sum(axis=0) + matrix.sum(axis=1)
        present = both > 0
        return float(np.mean(2.0 * np.diag(matrix)[present] / both[present]))

    return compute


def log_losses(truth: NDArray[np.generic], probabilities: Floats) -> Floats:
    """Return each row's negative log-likelihood in nats, clipped at the float's epsilon as scikit-learn's."""
    epsilon = np.finfo(np.float64).eps
    chosen = probabilities[np.arange(len(truth)), truth.astype(np.intp)]
    return -np.log(np.clip(chosen, epsilon, 1.0 - epsilon))


def _log_loss(truth: NDArray[np.generic], probabilities: Floats) -> Scorer:
    losses = log_losses(truth, probabilities)
    return lambda weight: _mean(losses, weight)


def _brier(truth: NDArray[np.generic], probabilities: Floats) -> Scorer:
    """Take the mean squared error of the probabilities (G. W. Brier, 1950).

    Summed over the classes, but of two classes that of one alone, 0 to 1, as scikit-learn's
    ``brier_score_loss`` has it.
    """
    chosen = probabilities[np.arange(len(truth)), truth.astype(np.intp)]
    if probabilities.shape[1] == 2:
        squares = (1.0 - chosen) ** 2
    else:
        squares = np.einsum("ij,ij->i", probabilities, probabilities) - 2.0 * chosen + 1.0
    return lambda weight: _mean(squares, weight)


def _auc(positive: NDArray[np.bool_], values: Floats) -> Scorer:
    """Take the area under the ROC curve: how often a positive row's value is above a negative one's.

    A tie counts half (Mann and Whitney, 1947).
    """
    different, place = np.unique(values, return_inverse=True)
    is_positive = positive.astype(np.float64)

    def compute(weight: Floats | None) -> float:
        rows = np.bincount(place, weight, minlength=len(different))
        hits = np.bincount(place, is_positive if weight is None else is_positive * weight, len(different))
        misses = rows - hits
        pairs = float(hits.sum()) * float(misses.sum())
        if pairs <= 0.0:
            return float("nan")
        below = np.cumsum(misses) - misses
        return float(hits @ (below + misses / 2.0)) / pairs

    return compute


def _roc_auc(truth: NDArray[np.generic], probabilities: Floats) -> Scorer:
    """Take the area for two classes, else the mean of one class against the rest over present classes."""
    classes = probabilities.shape[1]
    if classes == 2:
        return _auc(truth == 1, probabilities[:, 1])
    areas = [_auc(truth == code, probabilities[:, code]) for code in range(classes)]

    def compute(weight: Floats | None) -> float:
        defined = [area for area in (of_class(weight) for of_class in areas) if np.isfinite(area)]
        return float(np.mean(defined)) if defined else float("nan")

    return compute


def _rmse(truth: NDArray[np.generic], predicted: Floats) -> Scorer:
    squares = (predicted - truth.astype(np.float64)) ** 2
    return lambda weight: float(np.sqrt(_mean(squares, weight)))


def _mae(truth: NDArray[np.generic], predicted: Floats) -> Scorer:
    errors = np.abs(predicted - truth.astype(np.float64))
    return lambda weight: _mean(errors, weight)


def _r2(truth: NDArray[np.generic], predicted: Floats) -> Scorer:
    values = truth.astype(np.float64)
    squares = (predicted - values) ** 2

    def compute(weight: Floats | None) -> float:
        total = _mean((values - _mean(values, weight)) ** 2, weight)
        return 1.0 - _mean(squares, weight) / total if total > 0.0 else float("nan")

    return compute


def _deviance(power: float) -> Callable[[NDArray[np.generic], Floats], Scorer]:
    """Return the mean deviance of a Tweedie distribution, NaN where the target is none of its values.

    The unit deviance of B. Jørgensen, "Exponential dispersion models", 1987: power 1 is Poisson, 2 gamma.
    Predictions are clipped at the float's epsilon, so that one of 0 or below is very bad, not infinitely.
    """

    def prepare(truth: NDArray[np.generic], predicted: Floats) -> Scorer:
        y, mean = truth.astype(np.float64), np.maximum(predicted, np.finfo(np.float64).eps)
        if y.min(initial=0.0) < 0.0 or (power >= 2.0 and (y <= 0.0).any()):
            return lambda weight: float("nan")
        if power == 1.0:
            logs = np.log(np.where(y > 0.0, y, 1.0)) - np.log(mean)
            units = 2.0 * (np.where(y > 0.0, y * logs, 0.0) - y + mean)
        elif power == 2.0:
            units = 2.0 * (np.log(mean) - np.log(y) + y / mean - 1.0)
        else:
            one, two = 1.0 - power, 2.0 - power
            units = 2.0 * (y**two / (one * two) - y * mean**one / one + mean**two / two)
        return lambda weight: _mean(units, weight)

    return prepare


def _pinball(share: float) -> Callable[[NDArray[np.generic], Floats], Scorer]:
    """Return the loss that a quantile makes least (R. Koenker and G. Bassett, 1978)."""

    def prepare(truth: NDArray[np.generic], predicted: Floats) -> Scorer:
        over = truth.astype(np.float64) - predicted
        losses = np.maximum(share * over, (share - 1.0) * over)
        return lambda weight: _mean(losses, weight)

    return prepare


class _Registry(dict[str, Metric]):
    """Metrics by name; those of quantiles are made when they are asked for."""

    def __missing__(self, name: str) -> Metric:
        if not name.startswith(PINBALL):
            raise KeyError(name)
        return Metric(name, _pinball(float(name.removeprefix(PINBALL))))


REGISTRY: Mapping[str, Metric] = _Registry(
    {
        metric.name: metric
        for metric in (
            Metric("roc_auc", _roc_auc),
            Metric("log_loss", _log_loss),
            Metric("brier", _brier),
            Metric("accuracy", _accuracy),
            Metric("balanced_accuracy", _balanced_accuracy),
            Metric("f1_macro", _f1_macro),
            Metric("rmse", _rmse),
            Metric("mae", _mae),
            Metric("r2", _r2),
            *map(Metric, DEVIANCES, map(_deviance, (1.0, 2.0, TWEEDIE_POWER))),
        )
    }
)
"""Every metric by name."""
