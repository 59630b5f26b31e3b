"""Metrics: how good predictions are, over all classes of the schema, defined on any rows.

Written out in numpy rather than called in scikit-learn because a fold or a hold-out may lack a class:
here every metric takes codes into the schema's classes and probabilities over all of them. The tests
compare each with scikit-learn's where scikit-learn defines it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.contracts import LOWER_IS_BETTER, METRICS, Task
from millrace.errors import BadInput

__all__ = ["REGISTRY", "Metric", "best_first", "evaluate", "metric_for", "score"]

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Metric:
    """One figure of merit.

    Attributes
    ----------
    name : str
        As in :data:`millrace.contracts.METRICS`.
    compute : callable
        ``(truth, prediction) -> float``. Classification: codes of shape (n,) and probabilities of shape
        (n, classes). Regression: two arrays of shape (n,). NaN where it is not defined.
    """

    name: str
    compute: Callable[[NDArray[np.generic], Floats], float]

    @property
    def greater_is_better(self) -> bool:
        """Direction."""
        return self.name not in LOWER_IS_BETTER


def evaluate(task: Task, truth: NDArray[np.generic], prediction: Floats) -> dict[str, float | None]:
    """Return every metric of the task; ``None`` where a metric is not defined on these rows.

    Parameters
    ----------
    task : Task
        Decides the metrics.
    truth : ndarray of shape (n,)
        Codes into the schema's classes, or the target's values.
    prediction : ndarray of shape (n, classes) or (n,)
        Probabilities, or predicted values.
    """
    result: dict[str, float | None] = {}
    for name in METRICS[task]:
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
    if wanted not in METRICS[task]:
        raise BadInput(
            f"The metric {wanted!r} does not fit a {task} task",
            code="metric-unknown",
            where="spec.json, field 'metric'",
            remedy=f"Use one of {', '.join(METRICS[task])}.",
        )
    if wanted in ("roc_auc", "r2") and np.unique(truth).size < 2:
        return "rmse" if task == "regression" else "log_loss"
    return wanted


def best_first(metric: str, scores: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names ordered from the best score to the worst; equal scores keep their order."""
    sign = -1.0 if REGISTRY[metric].greater_is_better else 1.0
    return tuple(sorted(scores, key=lambda name: sign * scores[name]))


def _confusion(truth: NDArray[np.generic], probabilities: Floats) -> NDArray[np.int64]:
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    flat = np.bincount(truth.astype(np.int64) * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def _accuracy(truth: NDArray[np.generic], probabilities: Floats) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == truth))


def _balanced_accuracy(truth: NDArray[np.generic], probabilities: Floats) -> float:
    matrix = _confusion(truth, probabilities)
    rows = matrix.sum(axis=1)
    present = rows > 0
    return float(np.mean(np.diag(matrix)[present] / rows[present]))


def _f1_macro(truth: NDArray[np.generic], probabilities: Floats) -> float:
    """Return the mean over the classes that were seen or predicted, as scikit-learn's ``f1_score`` does."""
    matrix = _confusion(truth, probabilities)
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    present = both > 0
    return float(np.mean(2.0 * np.diag(matrix)[present] / both[present]))


def _log_loss(truth: NDArray[np.generic], probabilities: Floats) -> float:
    """Return the mean negative log-likelihood in nats, clipped at the float's epsilon as scikit-learn's."""
    epsilon = np.finfo(np.float64).eps
    chosen = probabilities[np.arange(len(truth)), truth.astype(np.intp)]
    return float(-np.mean(np.log(np.clip(chosen, epsilon, 1.0 - epsilon))))


def _brier(truth: NDArray[np.generic], probabilities: Floats) -> float:
    """Return the mean squared error of the probabilities (G. W. Brier, 1950).

    Summed over the classes, but of two classes that of one alone, 0 to 1, as scikit-learn's
    ``brier_score_loss`` has it.
    """
    chosen = probabilities[np.arange(len(truth)), truth.astype(np.intp)]
    if probabilities.shape[1] == 2:
        return float(np.mean((1.0 - chosen) ** 2))
    squares = np.einsum("ij,ij->i", probabilities, probabilities)
    return float(np.mean(squares - 2.0 * chosen + 1.0))


def _auc(positive: NDArray[np.bool_], values: Floats) -> float:
    """Return the area under the ROC curve by the rank sum (Mann and Whitney, 1947); ties share a rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    rank_sum = float(ranks[positive].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2.0) / (n_positive * n_negative)


def _roc_auc(truth: NDArray[np.generic], probabilities: Floats) -> float:
    """Return the area for two classes, else the mean of one class against the rest over present classes."""
    classes = probabilities.shape[1]
    if classes == 2:
        return _auc(truth == 1, probabilities[:, 1])
    areas = [_auc(truth == code, probabilities[:, code]) for code in range(classes)]
    defined = [area for area in areas if np.isfinite(area)]
    return float(np.mean(defined)) if defined else float("nan")


def _rmse(truth: NDArray[np.generic], predicted: Floats) -> float:
    return float(np.sqrt(np.mean((predicted - truth.astype(np.float64)) ** 2)))


def _mae(truth: NDArray[np.generic], predicted: Floats) -> float:
    return float(np.mean(np.abs(predicted - truth.astype(np.float64))))


def _r2(truth: NDArray[np.generic], predicted: Floats) -> float:
    values = truth.astype(np.float64)
    total = float(np.sum((values - values.mean()) ** 2))
    return 1.0 - float(np.sum((predicted - values) ** 2)) / total if total > 0.0 else float("nan")


REGISTRY: Mapping[str, Metric] = types.MappingProxyType(
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
        )
    }
)
"""Every metric by name."""
