"""Evaluate: what the held-out rows say of a model, beside a naive one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from millrace.contracts import Schema
from millrace.training.metrics import REGISTRY, score
from millrace.training.pipeline import predict
from millrace.training.splits import sample, shuffled

__all__ = ["MOST_POINTS", "curves", "importance", "naive_prediction"]

Floats = NDArray[np.float64]

MOST_POINTS = 1000
"""Most points of one curve: the report draws them all."""
MOST_LABELS = 31
"""Classes of the confusion matrix: their square is below ``MOST_POINTS``."""
CALIBRATION_BINS = 10
IMPORTANCE_ROWS = 1000
FEWEST_IMPORTANCE_ROWS = 20
IMPORTANCE_REPEATS = 5
IMPORTANCE_CELLS = 80_000_000
"""Most cells that permutation importance sends through the pipeline, a few seconds' worth."""
IMPORTANCE_BLOCK = 20_000
"""Rows a call: shuffled copies of few rows go through the pipeline together."""


def naive_prediction(schema: Schema, training: NDArray[Any], rows: int) -> Floats:
    """Return what somebody who has seen only the training target predicts for ``rows`` rows.

    Returns
    -------
    ndarray of shape (rows, classes) or (rows,)
        The shares of the classes, or the mean.
    """
    if schema.task == "regression":
        return np.full(rows, float(np.mean(training)))
    shares = np.bincount(training.astype(np.int64), minlength=len(schema.classes)) / len(training)
    return np.tile(shares, (rows, 1))


def curves(
    schema: Schema, truth: NDArray[Any], prediction: Floats, record: NDArray[np.int64], *, seed: int
) -> dict[str, Any]:
    """Return the points that the report draws; at most ``MOST_POINTS`` a curve.

    Parameters
    ----------
    schema : Schema
        Task, classes and positive class (the last class where none is set).
    truth, prediction : ndarray
        As for :func:`millrace.training.metrics.evaluate`.
    record : ndarray of shape (n,)
        Record numbers, which choose the points of a large scatter plot.
    seed : int
        The run's seed.

    Returns
    -------
    dict
        ``residuals`` for regression; ``confusion``, and for binary tasks ``roc`` and ``calibration``,
        for classification. A curve that is not defined on these rows is absent.
    """
    if schema.task == "regression":
        rows = sample(record, MOST_POINTS, seed=seed)
        return {"residuals": {"predicted": prediction[rows].tolist(), "actual": truth[rows].tolist()}}
    result: dict[str, Any] = {"confusion": _confusion(schema, truth, prediction)}
    if schema.task == "binary":
        code = schema.classes.index(schema.positive_class) if schema.positive_class else 1
        positive, probability = truth == code, prediction[:, code]
        result["calibration"] = _calibration(positive, probability)
        if positive.any() and not positive.all():
            result["roc"] = _roc(positive, probability)
    return result


def importance(
    pipeline: Pipeline,
    frame: pd.DataFrame,
    truth: NDArray[Any],
    record: NDArray[np.int64],
    schema: Schema,
    *,
    metric: str,
    seed: int,
) -> list[dict[str, Any]]:
    """Return how much the metric worsens when a column's values are shuffled among the rows.

    Permutation importance (Breiman, "Random Forests", 2001) of input columns, not of encoded ones, on at
    most ``IMPORTANCE_ROWS`` rows, fewer rows and repeats for wide tables.

    Returns
    -------
    list of dict
        ``column``, ``mean`` and ``std`` over the repeats, the most important first; empty when the table
        is too wide for the bound, or when the metric is not defined on these rows.
    """
    columns = list(frame.columns)
    affordable = IMPORTANCE_CELLS // len(columns) ** 2
    classes = None if schema.task == "regression" else truth.astype(np.int32)
    size = min(IMPORTANCE_ROWS, affordable)
    if size < min(FEWEST_IMPORTANCE_ROWS, len(frame)):
        return []
    rows = sample(record, size, codes=classes, seed=seed)
    frame, truth = frame.iloc[rows].reset_index(drop=True), truth[rows]
    repeats = max(1, min(IMPORTANCE_REPEATS, affordable // len(rows)))
    untouched = score(metric, truth, predict(pipeline, frame, schema))
    if not np.isfinite(untouched):
        return []
    worse = 1.0 if REGISTRY[metric].greater_is_better else -1.0
    together = max(1, IMPORTANCE_BLOCK // len(rows))
    losses = np.empty((repeats, len(columns)))
    for repeat in range(repeats):
        order = shuffled(np.arange(len(rows)), seed + repeat)
        for start in range(0, len(columns), together):
            group = columns[start : start + together]
            predicted = predict(pipeline, _shuffled_copies(frame, group, order), schema)
            for offset, part in enumerate(np.split(predicted, len(group))):
                losses[repeat, start + offset] = worse * (untouched - score(metric, truth, part))
    ranked = np.argsort(-losses.mean(axis=0), kind="stable")
    return [
        {"column": columns[j], "mean": float(losses[:, j].mean()), "std": float(losses[:, j].std())}
        for j in ranked
    ]


def _shuffled_copies(frame: pd.DataFrame, columns: list[str], order: NDArray[np.intp]) -> pd.DataFrame:
    """Return one copy of ``frame`` for each of ``columns``, in which that column is shuffled."""
    n = len(frame)
    copies = pd.concat([frame] * len(columns), ignore_index=True)
    for offset, column in enumerate(columns):
        values = copies[column].to_numpy(copy=True)
        values[offset * n : (offset + 1) * n] = frame[column].to_numpy()[order]
        copies[column] = pd.Series(values, dtype=frame[column].dtype)
    return copies


def _confusion(schema: Schema, truth: NDArray[Any], probabilities: Floats) -> dict[str, Any]:
    """Return the matrix (rows: actual) of the most frequent classes, in the schema's order."""
    classes = len(schema.classes)
    predicted = probabilities.argmax(axis=1)
    flat = np.bincount(truth.astype(np.int64) * classes + predicted, minlength=classes * classes)
    matrix = flat.reshape(classes, classes)
    shown = np.sort(np.argsort(-matrix.sum(axis=1), kind="stable")[:MOST_LABELS])
    return {
        "labels": [schema.classes[code] for code in shown],
        "matrix": matrix[np.ix_(shown, shown)].tolist(),
    }


def _roc(positive: NDArray[np.bool_], probability: Floats) -> dict[str, Any]:
    order = np.argsort(-probability, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)
    hits = np.cumsum(positive[order])[last_of_ties]
    misses = last_of_ties + 1 - hits
    tpr = np.concatenate([[0.0], hits / hits[-1]])
    fpr = np.concatenate([[0.0], misses / misses[-1]])
    kept = np.unique(np.linspace(0, len(tpr) - 1, min(len(tpr), MOST_POINTS // 2)).round().astype(np.intp))
    return {"fpr": fpr[kept].tolist(), "tpr": tpr[kept].tolist()}


def _calibration(positive: NDArray[np.bool_], probability: Floats) -> dict[str, Any]:
    """Return the reliability curve in bins of equal width; bins without a row are absent."""
    bins = np.minimum((probability * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    count = np.bincount(bins, minlength=CALIBRATION_BINS)
    filled = count > 0
    predicted = np.bincount(bins, weights=probability, minlength=CALIBRATION_BINS)[filled] / count[filled]
    observed = np.bincount(bins, weights=positive, minlength=CALIBRATION_BINS)[filled] / count[filled]
    return {
        "predicted": predicted.tolist(),
        "observed": observed.tolist(),
        "count": count[filled].tolist(),
    }
